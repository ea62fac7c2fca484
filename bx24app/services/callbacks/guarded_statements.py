"""The statements of the guarded write: one for PostgreSQL, a few for SQLite; each is built and compiled once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    CTE,
    BindParameter,
    ColumnElement,
    Date,
    Double,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from bx24app.database import Base, is_postgresql
from bx24app.database.compiled import CompiledStatement
from bx24app.models import BudgetDay, Callback, Decision, DecoyRequest, TokenBucket, WebsiteRequest
from bx24app.services.callbacks.conditions import CONDITIONS, KEY_UNUSED, NUMBER_NOT_IN_HAND, in_hand_clause
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

Values = dict[str, Any]
BUCKET_COLUMNS = {"digest": String, "tokens": Double, "size": Double, "refill": Double, "at": Double, "full_at": Double}

_PREFIXES = {"callback": "c", "ghost": "g", "website_request": "r", "decision": "d"}
# These columns share a parameter with an equal value, because psycopg parses a statement with more than 50
# parameters again each time.
_SHARED_PARAMETERS = {
    "r_callback_id": "c_id",
    "r_form_id": "c_form_id",
    "r_number_digest": "number_digest",
    "r_created_at": "c_created_at",
    "d_callback_id": "c_id",
}


@dataclass(frozen=True)
class Shape:
    """All that makes statements differ: the tables and columns written, the conditions, and what is taken."""

    table: type[Base]
    columns: tuple[str, ...]
    website_request: tuple[str, ...]
    decision: tuple[str, ...]
    conditions: tuple[str, ...]
    takes_tokens: bool
    counts_call: bool
    has_deliveries: bool

    @property
    def takes_something(self) -> bool:
        """Tell whether something has to be given back when the callback is not inserted."""
        return self.takes_tokens or self.counts_call


def values_of(row: Base) -> Values:
    """Return the columns that were set, and the defaults of others; the database fills the rest."""
    attributes, values = row.__dict__, {}
    for key, name, default in _columns(type(row)):
        if key in attributes:
            values[name] = attributes[key]
        elif default is not None:
            values[name] = default.arg(None) if default.is_callable else default.arg
    return values


@cache
def _columns(model: type[Base]) -> list[tuple[str, str, Any]]:
    """List the key of each column, its name as a parameter, and its default."""
    table = cast("Table", model.__table__)
    return [(column.key, _name(table, column.key), column.default) for column in table.columns]


def _name(table: Table, key: str) -> str:
    name = f"{_PREFIXES[table.name]}_{key}"
    return _SHARED_PARAMETERS.get(name, name)


def _insert(model: type[Base]) -> Any:
    return (postgresql if is_postgresql() else sqlite).insert(cast("Table", model.__table__))


def _parameters_of(model: type[Base], names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    table = cast("Table", model.__table__)
    return {
        column.key: bindparam(_name(table, column.key), type_=column.type)
        for column in table.columns
        if _name(table, column.key) in names
    }


def _inserting(model: type[Base], names: tuple[str, ...], after: CTE | None = None) -> Any:
    """Insert a row of parameters; with ``after`` only where that statement has inserted a row."""
    parameters = _parameters_of(model, names)
    if after is None:
        return _insert(model).values(parameters)
    return _insert(model).from_select(list(parameters), select(*parameters.values()).select_from(after))


def _inserting_first(shape: Shape, more: list[ColumnElement[bool]]) -> Any:
    """Insert the callback or its decoy, if every condition of the shape and of ``more`` holds."""
    parameters = _parameters_of(shape.table, shape.columns)
    holds = and_(*_clauses(shape), *more) if shape.conditions or more else literal_column("1 = 1")
    insert = _insert(shape.table).from_select(list(parameters), select(*parameters.values()).where(holds))
    return insert.on_conflict_do_nothing().returning(*cast("Table", shape.table.__table__).primary_key)


def _clauses(shape: Shape) -> Iterator[ColumnElement[bool]]:
    is_decoy = shape.table is DecoyRequest
    for condition in CONDITIONS:
        if condition.name not in shape.conditions or condition.clause is None:
            continue
        if is_decoy and condition.name == NUMBER_NOT_IN_HAND:
            yield in_hand_clause()
        elif is_decoy and condition.name == KEY_UNUSED:
            key = bindparam("c_idempotency_key", type_=String)
            yield not_(exists().where(Callback.portal_id == bindparam("c_portal_id"), Callback.idempotency_key == key))
        else:
            yield condition.clause()


def _counting_call() -> Any:
    """Count one more request of the day, unless the budget is used up or others were counted since money was read."""
    table = cast("Table", BudgetDay.__table__)
    calls = bindparam("budget_calls", type_=Integer)
    seen = bindparam("budget_seen", type_=Integer)
    columns: list[Any] = [bindparam("budget_form_id", type_=Integer), bindparam("budget_day", type_=Date)]
    row: Select[Any] = select(*columns, literal_column("1"))
    insert = _insert(BudgetDay).from_select(["form_id", "day", "calls"], row.where(calls >= 1))
    return insert.on_conflict_do_update(
        index_elements=[table.c.form_id, table.c.day],
        set_={"calls": table.c.calls + 1},
        where=and_(table.c.calls < calls, or_(seen < 0, table.c.calls == seen)),
    ).returning(table.c.calls)


@cache
def whole_statement(shape: Shape) -> CompiledStatement:
    """Return the one statement for PostgreSQL; it answers how many callbacks or decoys were inserted.

    Where tokens or calls were taken and nothing was inserted, it fails by a division by zero, which gives them back.
    """
    return CompiledStatement(lambda: _whole(shape))


def _whole(shape: Shape) -> Select[Any]:
    taken: list[CTE] = []
    more: list[ColumnElement[bool]] = []
    if shape.takes_tokens:
        taken.append(_taking_all().cte("taken"))
        more.append(select(func.count()).select_from(taken[-1]).scalar_subquery() == bindparam("bucket_count"))
    if shape.counts_call:
        taken.append(_counting_call().cte("counted"))
        more.append(select(literal_column("1")).select_from(taken[-1]).exists())
    inserted = _inserting_first(shape, more).cte("inserted")
    related = [
        _inserting(model, names, inserted).cte(name)
        for model, names, name in (
            (WebsiteRequest, shape.website_request, "inserted_website_request"),
            (Decision, shape.decision, "inserted_decision"),
        )
        if names
    ]
    if shape.has_deliveries:
        related.append(outbox.inserting_deliveries(inserted).cte("inserted_deliveries"))
    count = literal_column("1 / count(*)") if shape.takes_something else func.count()
    return select(count).select_from(inserted).add_cte(*taken, *related)


def _taking_all() -> Any:
    arrays = [bindparam(f"bucket_{name}", type_=ARRAY(kind())) for name, kind in BUCKET_COLUMNS.items()]
    given = func.unnest(*arrays).table_valued(*BUCKET_COLUMNS).render_derived(name="given")
    return rate_limit.upsert_tokens(_insert(TokenBucket).from_select(list(BUCKET_COLUMNS), select(*given.c)))


@cache
def step_statement(name: str, shape: Shape) -> CompiledStatement:
    """Return one statement of SQLite's transaction; ``name`` is a key of ``_MAKERS``."""
    return CompiledStatement(lambda: _MAKERS[name](shape))


def _taking_one(_: Shape) -> Any:
    values = {name: bindparam(name, type_=kind()) for name, kind in BUCKET_COLUMNS.items()}
    return rate_limit.upsert_tokens(_insert(TokenBucket).values(values))


_MAKERS: dict[str, Callable[[Shape], Any]] = {
    "token": _taking_one,
    "call": lambda _: _counting_call(),
    "callback_or_decoy": lambda shape: _inserting_first(shape, []),
    "website_request": lambda shape: _inserting(WebsiteRequest, shape.website_request),
    "decision": lambda shape: _inserting(Decision, shape.decision),
    "deliveries": lambda _: outbox.inserting_deliveries(),
}

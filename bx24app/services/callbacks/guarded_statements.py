"""The statements of the guarded write: one for PostgreSQL, a few for SQLite; each is built and compiled once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
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
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from bx24app.database import Base, given_rows, is_postgresql
from bx24app.database.compiled import CompiledStatement
from bx24app.models import BudgetDay, Callback, Decision, DecoyRequest, Rejection, TokenBucket, WebsiteRequest
from bx24app.services.callbacks.conditions import CONDITIONS, NOT_LISTED
from bx24app.services.callbacks.entries import marks
from bx24app.services.callbacks.listing import list_marks
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

Values = dict[str, Any]
BUCKET_COLUMNS = {"digest": String, "tokens": Double, "size": Double, "refill": Double, "at": Double, "full_at": Double}

_PREFIXES = {"callback": "c", "ghost": "g", "website_request": "r", "decision": "d", "refusal": "n"}
# These columns share a parameter with an equal value, because psycopg parses a statement with more than 50
# parameters again each time.
_SHARED_PARAMETERS = {
    "r_callback_id": "c_id",
    "r_form_id": "c_form_id",
    "r_number_digest": "number_digest",
    "r_created_at": "c_created_at",
    "d_callback_id": "c_id",
    "n_portal_id": "c_portal_id",
    "n_form_id": "c_form_id",
    "n_made_at": "c_created_at",
    # A decoy is what the callback would have been.
    **{
        f"g_{name}": f"c_{name}"
        for name in ("id", "form_id", "idempotency_key", "request_digest", "scheduled_at", "due_at", "created_at")
    },
}


@dataclass(frozen=True)
class Shape:
    """All that makes statements differ: the columns written, by table, the conditions, and what is taken."""

    callback: tuple[str, ...]
    website_request: tuple[str, ...]
    decision: tuple[str, ...]
    decoy: tuple[str, ...]
    rejection: tuple[str, ...]
    conditions: tuple[str, ...]
    takes_tokens: bool
    counts_call: bool
    has_deliveries: bool
    has_words: bool
    has_entry: bool

    @property
    def steps(self) -> list[str]:
        """The statements of SQLite's transaction."""
        possible = {"tokens": self.takes_tokens, "call": self.counts_call, "callback": True}
        possible |= {"decoy": bool(self.decoy), "rejection": bool(self.decoy)}
        return [*(name for name, is_there in possible.items() if is_there), *self.related]

    @property
    def related(self) -> list[str]:
        """Those that write what belongs to the callback, once it is there."""
        possible = {
            "website_request": self.website_request,
            "decision": self.decision,
            "deliveries": self.has_deliveries,
            "entry": self.has_entry,
            "words": self.has_words,
            "follow_ups": True,
        }
        return [name for name, is_there in possible.items() if is_there]

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


def _inserting(
    model: type[Base], names: tuple[str, ...], after: CTE | None = None, holds: ColumnElement[bool] | None = None
) -> Any:
    """Insert a row of parameters: once for each row of ``after``, and only where ``holds``."""
    parameters = _parameters_of(model, names)
    row = select(*parameters.values())
    row = row if after is None else row.select_from(after)
    return _insert(model).from_select(list(parameters), row if holds is None else row.where(holds))


def _inserting_first(model: type[Base], names: tuple[str, ...], after: CTE | None, holds: ColumnElement[bool]) -> Any:
    """Insert the callback or its decoy; nothing is inserted where another request was faster."""
    return _inserting(model, names, after, holds).on_conflict_do_nothing()


def _clauses(shape: Shape, *, hidden: bool, but: str = "") -> Iterator[ColumnElement[bool]]:
    for condition in CONDITIONS:
        is_wanted = condition.name in shape.conditions and condition.name != but and condition.hidden == hidden
        if is_wanted and condition.clause is not None:
            yield condition.clause()


def _all(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(*conditions) if conditions else literal_column("1 = 1")


def _open_conditions(shape: Shape, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    return _all(*_clauses(shape, hidden=False), *more)


def _hidden_conditions(shape: Shape) -> ColumnElement[bool]:
    return _all(*_clauses(shape, hidden=True))


def _is_unlisted() -> ColumnElement[bool]:
    [unlisted] = (condition.clause for condition in CONDITIONS if condition.name == NOT_LISTED)
    assert unlisted is not None
    return unlisted()


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
    )


@cache
def whole_statement(shape: Shape) -> CompiledStatement:
    """Return the one statement for PostgreSQL; it answers how many callbacks, and whether anything, was inserted.

    Where tokens or calls were taken and nothing was inserted, it fails by a division by zero, which gives them back.
    """
    return CompiledStatement(lambda: _whole(shape))


def _whole(shape: Shape) -> Select[Any]:
    taken: list[CTE] = []
    more: list[ColumnElement[bool]] = []
    if shape.takes_tokens:
        taken.append(_told(_taking_tokens(), "taken"))
        more.append(_count(taken[-1]) == bindparam("bucket_count"))
    if shape.counts_call:
        taken.append(_told(_counting_call(), "counted"))
        more.append(select(literal_column("1")).select_from(taken[-1]).exists())
    # A callback and its decoy are decided about by one row, and so in the same time; the list is looked into once.
    others = _all(*_clauses(shape, hidden=True, but=NOT_LISTED))
    decided = (
        select(others.label("is_free"), _is_unlisted().label("is_unlisted"))
        .where(_open_conditions(shape, *more))
        .cte("decided")
        if shape.decoy
        else None
    )
    if decided is None:
        holds = _open_conditions(shape, *_clauses(shape, hidden=True), *more)
        inserted = _told(_inserting_first(Callback, shape.callback, None, holds), "inserted")
        stored, decoys = _count(inserted), []
    else:
        holds = and_(decided.c.is_free, decided.c.is_unlisted)
        inserted = _told(_inserting_first(Callback, shape.callback, decided, holds), "inserted")
        decoy = _told(_inserting_first(DecoyRequest, shape.decoy, decided, not_(holds)), "decoy")
        rejection = _inserting(Rejection, shape.rejection, decided, not_(decided.c.is_unlisted)).cte("rejection")
        stored, decoys = _count(inserted) + _count(decoy), [decoy, rejection]
    answer = literal_column("1", Integer) // stored if shape.takes_something else stored
    return select(_count(inserted), answer).add_cte(*taken, *decoys, *_related(shape, inserted))


def _told(insert: Any, name: str) -> CTE:
    """A part of the one statement, of which other parts see which rows it has written."""
    table = insert.table
    return cast("CTE", insert.returning(*table.primary_key).cte(name))


def _count(of: CTE) -> Any:
    return select(func.count()).select_from(of).scalar_subquery()


def _related(shape: Shape, inserted: CTE) -> Iterator[CTE]:
    """Make what is inserted together with the callback."""
    if shape.website_request:
        yield _inserting(WebsiteRequest, shape.website_request, inserted).cte("request")
    if shape.decision:
        yield _inserting(Decision, shape.decision, inserted).cte("decision")
    if shape.has_deliveries:
        yield outbox.inserting_deliveries(inserted).cte("deliveries")
    if shape.has_words:
        yield list_marks.inserting_words(inserted).cte("words")
    if shape.has_entry:
        yield marks.inserting_entry(inserted).cte("entry")
    yield list_marks.ending_follow_ups(inserted).cte("followed")


def _taking_tokens() -> Any:
    given = given_rows(**{f"bucket_{name}": kind for name, kind in BUCKET_COLUMNS.items()})
    # SQLite would take the ON of an upsert for the condition of a join.
    rows = select(*given).where(literal_column("1 = 1"))
    return rate_limit.upsert_tokens(_insert(TokenBucket).from_select(list(BUCKET_COLUMNS), rows))


@cache
def step_statement(name: str, shape: Shape) -> CompiledStatement:
    """Return one statement of SQLite's transaction; ``name`` is a key of ``_MAKERS``."""
    return CompiledStatement(lambda: _MAKERS[name](shape))


def _callback_if_all_hold(shape: Shape) -> Any:
    holds = _open_conditions(shape, *_clauses(shape, hidden=True))
    return _inserting_first(Callback, shape.callback, None, holds)


def _decoy_if_a_hidden_one_does_not(shape: Shape) -> Any:
    holds = _open_conditions(shape, not_(_hidden_conditions(shape)))
    return _inserting_first(DecoyRequest, shape.decoy, None, holds)


_MAKERS: dict[str, Callable[[Shape], Any]] = {
    "tokens": lambda _: _taking_tokens(),
    "call": lambda _: _counting_call(),
    "callback": _callback_if_all_hold,
    "website_request": lambda shape: _inserting(WebsiteRequest, shape.website_request),
    "decision": lambda shape: _inserting(Decision, shape.decision),
    "deliveries": lambda _: outbox.inserting_deliveries(),
    "words": lambda _: list_marks.inserting_words(),
    "entry": lambda _: marks.inserting_entry(),
    "follow_ups": lambda _: list_marks.ending_follow_ups(),
    "decoy": _decoy_if_a_hidden_one_does_not,
    "rejection": lambda shape: _inserting(Rejection, shape.rejection, holds=not_(_is_unlisted())),
}

"""The guarded write: a callback, or its decoy, is inserted only where every condition holds.

On PostgreSQL it is one statement, on SQLite one short transaction. Where a condition does not hold nothing is done at
all: PostgreSQL has taken tokens by then, and a division by zero, which tells its log nothing, takes them back.
"""

from collections.abc import Callable, Iterator, Mapping
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
from sqlalchemy.exc import DataError, IntegrityError

from bx24app.database import Base, is_postgresql
from bx24app.database.compiled import CompiledStatement, compiled_writing
from bx24app.models import BudgetDay, Callback, Decision, DecoyRequest, TokenBucket, WebsiteRequest
from bx24app.services.callbacks.conditions import CONDITIONS, KEY_UNUSED, NUMBER_FREE, Candidate, in_hand_clause
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

Values = dict[str, Any]
DIVISION_BY_ZERO = "22012"
_ANY_NUMBER = 2**31 - 1
_BUCKET = {"digest": String, "tokens": Double, "size": Double, "refill": Double, "at": Double, "full_at": Double}
# Columns that have the same value as another parameter: the driver reads a statement of more than 50 anew each time.
_SAME = {
    "website_request_callback_id": "callback_id",
    "website_request_form_id": "callback_form_id",
    "website_request_number_digest": "number_digest",
    "website_request_created_at": "callback_created_at",
    "decision_callback_id": "callback_id",
}


class _NotAccepted(Exception):
    """A step of the transaction found that a condition does not hold."""


def write_callback(candidate: Candidate) -> bool:
    """Insert the callback with all that belongs to it, committed when this returns True; False: nothing was done."""
    return _write(candidate, candidate.callback)


def write_decoy(candidate: Candidate) -> bool:
    """Insert the decoy instead, where the number is in hand; it takes the same tokens. False: nothing was done."""
    assert candidate.decoy is not None
    return _write(candidate, candidate.decoy)


@dataclass(frozen=True)
class _Shape:
    """What tells one statement from another: the tables and columns written, the conditions, what is taken."""

    table: type[Base]
    columns: tuple[str, ...]
    website_request: tuple[str, ...]
    decision: tuple[str, ...]
    conditions: tuple[str, ...]
    takes_tokens: bool
    counts_call: bool
    is_told: bool

    @property
    def takes_something(self) -> bool:
        return self.takes_tokens or self.counts_call


def _write(candidate: Candidate, row: Callback | DecoyRequest) -> bool:
    budget = candidate.budget
    if budget is not None and (budget.overspent is not None or budget.calls == 0):
        return False
    shape, values = _described(candidate, row)
    try:
        with compiled_writing() as run:
            if is_postgresql():
                accepted = run(_statement(shape), values).fetchone()
                return bool(accepted and accepted[0])
            for step in _steps(shape, candidate, values):
                if step.needed and not run(step.statement, step.values).fetchall():
                    raise _NotAccepted
                if not step.needed:
                    run(step.statement, step.values)
    except (_NotAccepted, IntegrityError):
        return False
    except DataError as error:
        if getattr(error.orig, "sqlstate", None) != DIVISION_BY_ZERO:
            raise
        return False
    return True


def _described(candidate: Candidate, row: Callback | DecoyRequest) -> tuple[_Shape, Values]:
    """The shape of the statement and the values of all its parameters."""
    is_callback = isinstance(row, Callback)
    own = _values(row)
    beside = _values(candidate.website_request) if is_callback and candidate.website_request is not None else {}
    # Only one decision is made before a callback is accepted: that it repeats an earlier one.
    decision = _values(candidate.callback.decisions[0]) if is_callback and candidate.callback.decisions else {}
    told = outbox.delivery_values(candidate.callback, candidate.form_key) if is_callback and candidate.form_key else {}
    shape = _Shape(
        table=type(row),
        columns=tuple(own),
        website_request=tuple(beside),
        decision=tuple(decision),
        conditions=tuple(one.name for one in CONDITIONS if one.clause is not None and one.applies(candidate)),
        takes_tokens=bool(candidate.rate_limits),
        counts_call=candidate.budget is not None,
        is_told=bool(told),
    )
    named = _values(candidate.callback) | own | beside | decision | told
    return shape, named | _budget_values(candidate) | _bucket_values(candidate) | {
        "number_digest": candidate.number_digest
    }


def _values(row: Base) -> Values:
    """What was set, and the defaults of what was not; the rest is left to the database."""
    held, values = row.__dict__, {}
    for key, name, default in _columns(type(row)):
        if key in held:
            values[name] = held[key]
        elif default is not None:
            values[name] = default.arg(None) if default.is_callable else default.arg
    return values


@cache
def _columns(model: type[Base]) -> list[tuple[str, str, Any]]:
    """Each column's key, its name as a parameter, and its default."""
    table = cast("Table", model.__table__)
    return [(column.key, _name(table, column.key), column.default) for column in table.columns]


def _name(table: Table, key: str) -> str:
    name = f"{table.name}_{key}"
    return _SAME.get(name, name)


def _budget_values(candidate: Candidate) -> Values:
    budget = candidate.budget
    if budget is None:
        return {}
    return {
        "budget_form_id": budget.form_id,
        "budget_day": budget.day,
        "budget_calls": _ANY_NUMBER if budget.calls is None else budget.calls,
        "budget_seen": -1 if budget.seen is None else budget.seen,
    }


def _bucket_values(candidate: Candidate) -> Values:
    rows = _bucket_rows(candidate)
    if not rows or not is_postgresql():
        return {}
    return {f"bucket_{name}": [row[name] for row in rows] for name in _BUCKET} | {"bucket_count": len(rows)}


def _bucket_rows(candidate: Candidate) -> list[Values]:
    return rate_limit.bucket_rows(candidate.rate_limits, candidate.at.timestamp())


def _insert(model: type[Base]) -> Any:
    return (postgresql if is_postgresql() else sqlite).insert(cast("Table", model.__table__))


def _given(model: type[Base], names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    table = cast("Table", model.__table__)
    return {
        column.key: bindparam(_name(table, column.key), type_=column.type)
        for column in table.columns
        if _name(table, column.key) in names
    }


def _inserting(model: type[Base], names: tuple[str, ...], after: CTE | None = None) -> Any:
    """Insert a row of parameters; ``after``: only when that was inserted."""
    given = _given(model, names)
    if after is None:
        return _insert(model).values(given)
    return _insert(model).from_select(list(given), select(*given.values()).select_from(after))


def _inserting_first(shape: _Shape, more: list[ColumnElement[bool]]) -> Any:
    """Insert the callback or its decoy, where every condition of the shape and ``more`` hold."""
    given = _given(shape.table, shape.columns)
    holds = and_(*_clauses(shape), *more) if shape.conditions or more else literal_column("1 = 1")
    insert = _insert(shape.table).from_select(list(given), select(*given.values()).where(holds))
    return insert.on_conflict_do_nothing().returning(*cast("Table", shape.table.__table__).primary_key)


def _clauses(shape: _Shape) -> Iterator[ColumnElement[bool]]:
    is_decoy = shape.table is DecoyRequest
    for condition in CONDITIONS:
        if condition.name not in shape.conditions or condition.clause is None:
            continue
        if is_decoy and condition.name == NUMBER_FREE:
            yield in_hand_clause()
        elif is_decoy and condition.name == KEY_UNUSED:
            key = bindparam("callback_idempotency_key", type_=String)
            yield not_(
                exists().where(Callback.portal_id == bindparam("callback_portal_id"), Callback.idempotency_key == key)
            )
        else:
            yield condition.clause()


def _counting_call() -> Any:
    """Count one more request of the day, unless the day's are used up, or others were counted since money was seen."""
    table = cast("Table", BudgetDay.__table__)
    calls = bindparam("budget_calls", type_=Integer)
    seen = bindparam("budget_seen", type_=Integer)
    columns: list[Any] = [bindparam("budget_form_id", type_=Integer), bindparam("budget_day", type_=Date)]
    given: Select[Any] = select(*columns, literal_column("1"))
    insert = _insert(BudgetDay).from_select(["form_id", "day", "calls"], given.where(calls >= 1))
    return insert.on_conflict_do_update(
        index_elements=[table.c.form_id, table.c.day],
        set_={"calls": table.c.calls + 1},
        where=and_(table.c.calls < calls, or_(seen < 0, table.c.calls == seen)),
    ).returning(table.c.calls)


@cache
def _statement(shape: _Shape) -> CompiledStatement:
    return CompiledStatement(lambda: _whole(shape))


def _whole(shape: _Shape) -> Select[Any]:
    """Everything in one statement, for PostgreSQL."""
    taken: list[CTE] = []
    more: list[ColumnElement[bool]] = []
    if shape.takes_tokens:
        taken.append(_taking_all().cte("taken"))
        more.append(select(func.count()).select_from(taken[-1]).scalar_subquery() == bindparam("bucket_count"))
    if shape.counts_call:
        taken.append(_counting_call().cte("counted"))
        more.append(select(literal_column("1")).select_from(taken[-1]).exists())
    kept = _inserting_first(shape, more).cte("kept")
    beside = [
        _inserting(model, names, kept).cte(name)
        for model, names, name in (
            (WebsiteRequest, shape.website_request, "beside"),
            (Decision, shape.decision, "decided"),
        )
        if names
    ]
    if shape.is_told:
        beside.append(outbox.inserting_deliveries(kept).cte("told"))
    count = literal_column("1 / count(*)") if shape.takes_something else func.count()
    return select(count).select_from(kept).add_cte(*taken, *beside)


def _taking_all() -> Any:
    arrays = [bindparam(f"bucket_{name}", type_=ARRAY(kind())) for name, kind in _BUCKET.items()]
    given = func.unnest(*arrays).table_valued(*_BUCKET).render_derived(name="given")
    return rate_limit.upsert_tokens(_insert(TokenBucket).from_select(list(_BUCKET), select(*given.c)))


@dataclass(frozen=True)
class _Step:
    """One statement of SQLite's transaction; a ``needed`` one must return a row."""

    statement: CompiledStatement
    values: Mapping[str, Any]
    needed: bool = True


def _steps(shape: _Shape, candidate: Candidate, values: Values) -> Iterator[_Step]:
    for row in _bucket_rows(candidate):
        yield _Step(_compiled("token", shape), row)
    if shape.counts_call:
        yield _Step(_compiled("call", shape), values)
    yield _Step(_compiled("first", shape), values)
    for name, is_there in (
        ("beside", shape.website_request),
        ("decided", shape.decision),
        ("told", shape.is_told),
    ):
        if is_there:
            yield _Step(_compiled(name, shape), values, needed=False)


@cache
def _compiled(name: str, shape: _Shape) -> CompiledStatement:
    return CompiledStatement(lambda: _MAKERS[name](shape))


def _taking_one(_: _Shape) -> Any:
    values = {name: bindparam(name, type_=kind()) for name, kind in _BUCKET.items()}
    return rate_limit.upsert_tokens(_insert(TokenBucket).values(values))


_MAKERS: dict[str, Callable[[_Shape], Any]] = {
    "token": _taking_one,
    "call": lambda _: _counting_call(),
    "first": lambda shape: _inserting_first(shape, []),
    "beside": lambda shape: _inserting(WebsiteRequest, shape.website_request),
    "decided": lambda shape: _inserting(Decision, shape.decision),
    "told": lambda _: outbox.inserting_deliveries(),
}

"""The statements of the guarded write: one for PostgreSQL, a few for SQLite; each is built and compiled once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    CTE,
    ColumnElement,
    Date,
    Double,
    Integer,
    Select,
    String,
    Table,
    all_,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql

from bx24app.database import given_rows, is_postgresql
from bx24app.database.compiled import CompiledStatement
from bx24app.models import BudgetDay, Callback, Decision, TokenBucket, WebsiteRequest
from bx24app.services.callbacks.conditions import CONDITIONS, NOT_LISTED, NUMBER_NOT_IN_HAND
from bx24app.services.callbacks.entries import marks
from bx24app.services.callbacks.guarded.budget import CALLS_STAYING
from bx24app.services.callbacks.guarded.decoy_inserts import holder, inserting_decoy, inserting_rejection
from bx24app.services.callbacks.guarded.row_inserts import insert_of, inserting, inserting_first
from bx24app.services.callbacks.listing import list_marks
from bx24app.services.runtime import rate_limit
from bx24app.services.webhooks import outbox

BUCKET_COLUMNS = {"digest": String, "tokens": Double, "size": Double, "refill": Double, "at": Double, "full_at": Double}


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
    hides_tokens: bool
    # Some of the hidden tokens are taken before the others.
    has_first_tokens: bool
    counts_call: bool
    has_deliveries: bool
    has_words: bool
    has_entry: bool

    @property
    def steps(self) -> list[str]:
        """The statements of SQLite's transaction."""
        possible = {"tokens": self.takes_tokens, "first_tokens": self.has_first_tokens}
        possible |= {"number_tokens": self.hides_tokens, "call": self.counts_call}
        possible |= {"callback": True, "decoy": bool(self.decoy), "rejection": bool(self.decoy)}
        possible |= {"limited_decoy": self.hides_tokens, "limited_rejection": self.hides_tokens}
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
    def needs_free_number(self) -> bool:
        """Tell whether the number must be in no other callback's hand."""
        return NUMBER_NOT_IN_HAND in self.conditions

    @property
    def takes_something(self) -> bool:
        """Tell whether something has to be given back when the callback is not inserted."""
        return self.takes_tokens or self.counts_call


def _clauses(shape: Shape, *, hidden: bool) -> Iterator[ColumnElement[bool]]:
    for condition in CONDITIONS:
        is_wanted = condition.name in shape.conditions and condition.hidden == hidden
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
    """Count one more request for the day, unless its calls, or those for which there was money, are used up."""
    table = cast("Table", BudgetDay.__table__)
    calls, enough = (bindparam(name, type_=Integer) for name in ("budget_calls", "money_calls"))
    columns: list[Any] = [bindparam("budget_form_id", type_=Integer), bindparam("budget_day", type_=Date)]
    row: Select[Any] = select(*columns, literal_column("1"))
    insert = insert_of(BudgetDay).from_select(["form_id", "day", "calls"], row.where(calls >= 1, enough >= 1))
    return insert.on_conflict_do_update(
        index_elements=[table.c.form_id, table.c.day],
        set_={"calls": table.c.calls + 1},
        where=and_(calls > CALLS_STAYING, table.c.calls < enough),
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
    is_allowed: ColumnElement[bool] = literal_column("true")
    if shape.takes_tokens:
        first = _told(_taking_tokens("first"), "first") if shape.has_first_tokens else None
        tokens = _told(_taking_tokens(after=first), "paid")
        taken += [tokens] if first is None else [first, tokens]
        is_allowed = _count(tokens) == bindparam("bucket_count")
        more.append(_has_open_tokens(tokens) if shape.hides_tokens else is_allowed)
    if shape.counts_call:
        taken.append(_told(_counting_call(), "counted"))
        more.append(select(literal_column("1")).select_from(taken[-1]).exists())
    if not shape.decoy:
        holds = _open_conditions(shape, *_clauses(shape, hidden=True), *more)
        inserted = _told(inserting_first(Callback, shape.callback, None, holds), "made")
        stored, decoys = _count(inserted), []
    else:
        # A callback and its decoy are decided about by one row, and so in the same time. Whoever changes the holder
        # waits for this, or is waited for: then it may hold the number no more.
        held_by = select(holder().with_for_update(read=True).cte("held"))
        hidden = (not_(held_by.exists()).label("free"), _is_unlisted().label("open"), is_allowed.label("few"))
        decided = select(*hidden).where(_open_conditions(shape, *more)).cte("ok")
        is_free, is_unlisted, is_allowed = decided.c
        holds = and_(is_unlisted, is_allowed, *([is_free] if shape.needs_free_number else []))
        inserted = _told(inserting_first(Callback, shape.callback, decided, holds), "made")
        # Nothing rings for what is asked for too often.
        ringing = _ringing(shape, held_by.where(is_allowed))
        decoy = _told(inserting_decoy(shape.decoy, decided, not_(holds), ringing), "decoy")
        is_rejected = not_(and_(is_unlisted, is_allowed))
        decoys = [decoy, inserting_rejection(shape.rejection, decided, is_rejected, is_unlisted).cte("said")]
        stored = _count(inserted) + _count(decoy)
    answer = literal_column("1", Integer) // stored if shape.takes_something else stored
    return select(_count(inserted), answer).add_cte(*taken, *decoys, *_related(shape, inserted))


def _has_open_tokens(taken: CTE) -> ColumnElement[bool]:
    """Make the condition that every bucket gave a token of which the sender may know that it is empty."""
    hidden = _hidden_buckets()
    given = select(func.count()).select_from(taken).where(taken.c.digest != all_(hidden)).scalar_subquery()
    return given == bindparam("bucket_count") - func.cardinality(hidden)


def _hidden_buckets() -> ColumnElement[Any]:
    return bindparam("hidden_buckets", type_=postgresql.ARRAY(String()))


def _told(insert: Any, name: str) -> CTE:
    """A part of the one statement, of which other parts see which rows it has written."""
    table = insert.table
    return cast("CTE", insert.returning(*table.primary_key).cte(name))


def _count(of: CTE) -> Any:
    return select(func.count()).select_from(of).scalar_subquery()


def _related(shape: Shape, inserted: CTE) -> Iterator[CTE]:
    """Make what is inserted together with the callback."""
    if shape.website_request:
        yield inserting(WebsiteRequest, shape.website_request, inserted).cte("web")
    if shape.decision:
        yield inserting(Decision, shape.decision, inserted).cte("decision")
    if shape.has_deliveries:
        yield outbox.inserting_deliveries(inserted).cte("out")
    if shape.has_words:
        yield list_marks.inserting_words(inserted).cte("name")
    if shape.has_entry:
        yield marks.inserting_entry(inserted).cte("entry")
    yield list_marks.ending_follow_ups(inserted).cte("done")


def _taking_tokens(named: str = "bucket", *, after: CTE | None = None) -> Any:
    """Take from the buckets whose parameters are ``named`` so; from hidden ones only where ``after`` has taken."""
    digest, *others = given_rows(**{f"{named}_{name}": kind for name, kind in BUCKET_COLUMNS.items()})
    rows = select(digest, *others)
    if not is_postgresql():
        # SQLite would take the ON of an upsert for the condition of a join.
        rows = rows.where(literal_column("1 = 1"))
    if after is not None:
        rows = rows.where(or_(digest != all_(_hidden_buckets()), select(after.c.digest).exists()))
    return rate_limit.upsert_tokens(insert_of(TokenBucket).from_select(list(BUCKET_COLUMNS), rows))


@cache
def step_statement(name: str, shape: Shape) -> CompiledStatement:
    """Return one statement of SQLite's transaction; ``name`` is a key of ``_MAKERS``."""
    return CompiledStatement(lambda: _MAKERS[name](shape))


def _callback_if_all_hold(shape: Shape) -> Any:
    holds = _open_conditions(shape, *_clauses(shape, hidden=True))
    return inserting_first(Callback, shape.callback, None, holds)


def _decoy(shape: Shape, *, is_limited: bool) -> Any:
    """Insert the decoy where a hidden condition does not hold; ``is_limited``: the step of the tokens has found one."""
    hidden = () if is_limited else (not_(_hidden_conditions(shape)),)
    # Nothing rings for what is asked for too often.
    held_by = null() if is_limited else _ringing(shape, holder())
    return inserting_decoy(shape.decoy, None, _open_conditions(shape, *hidden), held_by)


def _ringing(shape: Shape, held_by: Select[Any]) -> Any:
    # What holds the number now does not ring at a time that somebody has chosen.
    return held_by.scalar_subquery() if shape.needs_free_number else null()


def _rejection(shape: Shape, *, is_limited: bool) -> Any:
    where = None if is_limited else not_(_is_unlisted())
    return inserting_rejection(shape.rejection, None, where, _is_unlisted())


_MAKERS: dict[str, Callable[[Shape], Any]] = {
    "tokens": lambda _: _taking_tokens(),
    "first_tokens": lambda _: _taking_tokens(),
    "number_tokens": lambda _: _taking_tokens(),
    "call": lambda _: _counting_call(),
    "callback": _callback_if_all_hold,
    "website_request": lambda shape: inserting(WebsiteRequest, shape.website_request),
    "decision": lambda shape: inserting(Decision, shape.decision),
    "deliveries": lambda _: outbox.inserting_deliveries(),
    "words": lambda _: list_marks.inserting_words(),
    "entry": lambda _: marks.inserting_entry(),
    "follow_ups": lambda _: list_marks.ending_follow_ups(),
    "decoy": lambda shape: _decoy(shape, is_limited=False),
    "rejection": lambda shape: _rejection(shape, is_limited=False),
    "limited_decoy": lambda shape: _decoy(shape, is_limited=True),
    "limited_rejection": lambda shape: _rejection(shape, is_limited=True),
}

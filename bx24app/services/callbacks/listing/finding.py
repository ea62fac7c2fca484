"""The callbacks of a list: found by the best driver, in a bounded number of steps.

A list looks at ``EFFORT`` callbacks at most, however many are stored. What the plain fields of a callback tell stands
in the indexes of lists, so that looking at one of theirs reads no row; its number is one read. Where each has to be
looked up elsewhere, a list looks at a few first, and ends where these fill the page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors

from bx24app.database import is_postgresql
from bx24app.models import Callback
from bx24app.services.callbacks.listing.cursors import Position
from bx24app.services.callbacks.listing.drivers import MOST_READ, Driver, Span, drivers_of, planned
from bx24app.services.callbacks.listing.filters import ListFilter, Order, Scope
from bx24app.services.callbacks.listing.matching import IN_INDEXES, parts_of

EFFORT = MOST_READ - 1
# So many are looked up before it is known that they do not fill the page.
FIRST_EFFORT = 200


@dataclass(frozen=True)
class Found:
    """Ids in order, one more than are shown where there are more; ``count`` is that of all that were counted.

    ``stopped_at``: reading ended behind that id.
    """

    ids: Sequence[UUID]
    count: int = 0
    stopped_at: Position | None = None


@dataclass(frozen=True)
class Most:
    """So many callbacks are read, and so many are counted as long as that costs nothing more."""

    shown: int
    counted: int


@dataclass(frozen=True)
class _Search:
    session: Session
    scope: Scope
    wanted: ListFilter
    order: Order


def find_ids(
    session: Session, scope: Scope, wanted: ListFilter, order: Order, at: Position | None, most: Most
) -> Found:
    """Find the callbacks of a list behind a place of it, or from its beginning, in the caller's transaction."""
    search = _Search(session, scope, wanted, order)
    if order is Order.DUE:
        return _find_planned(search, at, most)
    parts = parts_of(scope, wanted)
    if parts.keys() <= IN_INDEXES | {"number"}:
        return _find(search, parts, at, most, EFFORT)
    effort = min(FIRST_EFFORT, EFFORT)
    first = _find(search, parts, at, most, effort)
    if first.stopped_at is None or len(first.ids) >= most.shown or effort == EFFORT:
        return first
    still = Most(most.shown - len(first.ids), most.counted - first.count)
    more = _find(search, parts, first.stopped_at, still, EFFORT - effort)
    return Found([*first.ids, *more.ids], first.count + more.count, more.stopped_at)


def _find(
    search: _Search, parts: dict[str, ColumnElement[bool]], at: Position | None, most: Most, effort: int
) -> Found:
    order = search.order
    drivers = _drivers(search, at, max(effort, most.shown))
    if not all(driver.branches for driver in drivers):
        return Found([])
    driver, stopped_at = _choose(search.session, drivers, parts.keys(), order, effort)
    left = [condition for name, condition in parts.items() if name not in driver.covers]
    if not left:
        return _whole(search, at, most, drivers, driver)
    # Those of a driver without an order are few.
    found = _matching(driver, left, order, most.counted, effort if driver.is_ordered else EFFORT).subquery("found")
    ids, count = _ids_and_count(search.session, found, [_in_order(found.c[0], order)], most)
    return Found(ids, count, stopped_at if count < most.counted else None)


def _whole(search: _Search, at: Position | None, most: Most, drivers: list[Driver], driver: Driver) -> Found:
    """Find the first of a driver that leaves nothing, and count its callbacks, which need not be put in order."""
    session, order = search.session, search.order
    page = _first_of(driver, order, most.shown)
    is_simple = driver.of_callbacks or len(driver.branches) == 1
    if is_simple and most.counted > most.shown and is_postgresql() and len(driver.branches) > 1:
        # Twice as many branches take it longer to plan than to put some in order.
        whole = _first_of(driver, order, most.counted).subquery("found")
        return Found(*_ids_and_count(session, whole, [_in_order(whole.c[0], order)], most))
    if is_simple and most.counted > most.shown:
        found, count = page.subquery("page"), _count(driver, most.counted).scalar_subquery()
        rows = session.execute(select(found.c[0], count).order_by(_in_order(found.c[0], order))).all()
        return Found([row[0] for row in rows], rows[0][1] if rows else 0)
    ids = session.scalars(page).all()
    if is_simple or len(ids) < most.shown:
        return Found(ids, len(ids))
    # To put what somebody answered in order with what they asked for takes more than an index: only a page is.
    same = _drivers(search, at, most.counted)[next(place for place, one in enumerate(drivers) if one is driver)]
    return Found(ids, session.scalars(_count(same, most.counted)).one())


def _count(driver: Driver, most: int) -> Select[int]:
    return select(func.count()).select_from(any_of(driver, most).subquery("counted"))


def _drivers(search: _Search, at: Position | None, most: int) -> list[Driver]:
    span, is_newest = _span(search.wanted, search.order, at), search.order is Order.NEWEST
    return drivers_of(search.scope, search.wanted, span, newest_first=is_newest, most=most)


def _ids_and_count(session: Session, found: Subquery, order: list[Any], most: Most) -> tuple[list[UUID], int]:
    """Read the first ids, and how many there are: only these few leave the database."""
    rows = session.execute(select(found.c[0], func.count().over()).order_by(*order).limit(most.shown)).all()
    return [row[0] for row in rows], rows[0][1] if rows else 0


def _span(wanted: ListFilter, order: Order, at: Position | None) -> Span:
    span = Span.of(wanted)
    if at is None:
        return span
    return replace(span, end=at.id) if order is Order.NEWEST else replace(span, first=UUID(int=at.id.int + 1))


def _in_order(column: Any, order: Order) -> Any:
    return column.desc() if order is Order.NEWEST else column.asc()


def _first_of(driver: Driver, order: Order, most: int) -> Any:
    """The first rows of a driver in order."""
    ids = driver.ids
    if is_postgresql() and driver.is_ordered and len(driver.branches) > 1:
        # It reads and sorts whole branches unless each of them is limited.
        ids = union_all(*_limited(driver, order, most))
    return ids.order_by(_in_order(ids.selected_columns[0], order)).limit(most)


def any_of(driver: Driver, most: int) -> Any:
    """Any rows of a driver: its branches need not be merged.

    Each keeps its order: asked for any rows PostgreSQL may look for them through the whole table, and SQLite through
    another index.
    """
    if not driver.is_ordered:
        return driver.ids.limit(most)
    return union_all(*_limited(driver, Order.NEWEST, most)).limit(most)


def _limited(driver: Driver, order: Order, most: int) -> Iterator[Select[Any]]:
    for branch in driver.branches:
        first = branch.order_by(_in_order(branch.selected_columns[0], order)).limit(most)
        yield select(*first.subquery().c)


def _matching(driver: Driver, left: list[ColumnElement[bool]], order: Order, most: int, effort: int) -> Select[UUID]:
    """Select the first ids that fulfil what a driver has left."""
    found = looked_through(driver, left, lambda driver: _first_of(driver, order, effort))
    return found.order_by(_in_order(found.selected_columns[0], order)).limit(most)


def looked_through(driver: Driver, left: list[ColumnElement[bool]], choose: Callable[[Driver], Any]) -> Select[UUID]:
    """Select the ids that fulfil what a driver has left, among those of its rows that are chosen."""
    if not driver.of_callbacks:
        looked_at = choose(driver).subquery("looked_at")
        return select(Callback.id).join(looked_at, looked_at.c[0] == Callback.id).where(*left)
    columns = list(_columns_in(left))
    branches = tuple(branch.add_columns(*columns) for branch in driver.branches)
    looked_at = choose(replace(driver, branches=branches)).subquery("looked_at")
    return select(looked_at.c.id).where(*(_read_from(looked_at, condition) for condition in left))


def _columns_in(conditions: list[ColumnElement[bool]]) -> Iterator[Any]:
    """The columns of a callback, beside its id, that conditions look at."""
    table = Callback.__table__
    found: Iterator[Any] = (part for condition in conditions for part in visitors.iterate(condition))
    names = {part.key for part in found if getattr(part, "table", None) is table} - {"id"}
    yield from (table.c[name] for name in sorted(names))


def _read_from(looked_at: Subquery, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Let a condition look at what was read of a callback already, instead of its row."""

    def read(element: Any, **_: Any) -> Any:
        return looked_at.c[element.key] if getattr(element, "table", None) is Callback.__table__ else None

    return visitors.replacement_traverse(condition, {}, read)


def _choose(
    session: Session, drivers: list[Driver], parts: Any, order: Order, effort: int
) -> tuple[Driver, Position | None]:
    """Choose the driver that leaves nothing, else one with few callbacks, else the one that reaches furthest.

    Returns it with the place where reading ends, None where all of its callbacks are read.
    """
    for driver in drivers:
        if driver.is_ordered and parts <= driver.covers:
            return driver, None
    # The special ones stand behind, and are rather few. The first one has all callbacks of the states, so that one
    # with a part of these reaches further.
    special = drivers[:0:-1]
    reaches_further = any(driver.is_ordered and "states" in driver.covers for driver in special)
    tried = special if reaches_further else [*special, drivers[0]]
    ends = session.execute(select(*(_last_looked_at(driver, order, effort) for driver in tried))).one()
    best, furthest = drivers[0], None
    for driver, end in zip(tried, ends, strict=True):
        if end is None:
            return driver, None
        if driver.is_ordered and (furthest is None or _is_further(end, furthest, order)):
            best, furthest = driver, end
    return best, Position(furthest) if furthest else None


def _is_further(id: UUID, than: UUID, order: Order) -> bool:
    return id < than if order is Order.NEWEST else id > than


def _last_looked_at(driver: Driver, order: Order, effort: int) -> ColumnElement[Any]:
    """Find the last id that is read of a driver; of one without an order any id. None: there are fewer."""
    if driver.is_ordered:
        ids = _first_of(driver, order, effort)
        return ids.limit(1).offset(effort - 1).scalar_subquery()  # type: ignore[no-any-return]
    # Some may be counted twice; but not all of them have to be found first.
    ids = driver.whole[0] if len(driver.whole) == 1 else union_all(*driver.whole)
    return ids.limit(1).offset(EFFORT).scalar_subquery()


def _find_planned(search: _Search, at: Position | None, most: Most) -> Found:
    """Find planned callbacks, the next one first."""
    [waiting] = planned(search.scope).branches
    waiting = waiting.where(*Span.of(search.wanted).within(Callback.id))
    if at is not None:
        here = tuple_(literal(at.due_at, Callback.due_at.type), literal(at.id, Callback.id.type))
        waiting = waiting.where(tuple_(Callback.due_at, Callback.id) > here)
    parts = list(parts_of(search.scope, search.wanted).values())
    columns = (column for column in _columns_in(parts) if column.key != "due_at")
    waiting = waiting.add_columns(Callback.due_at, *columns).order_by(Callback.due_at, Callback.id).limit(EFFORT)
    looked_at = waiting.subquery("looked_at")
    met = select(looked_at.c.id, looked_at.c.due_at).where(*(_read_from(looked_at, one) for one in parts))
    found = met.order_by(looked_at.c.due_at, looked_at.c.id).limit(most.counted).subquery("found")
    ids, count = _ids_and_count(search.session, found, [found.c.due_at, found.c.id], most)
    if count >= most.counted:
        return Found(ids, count)
    end = search.session.execute(waiting.limit(1).offset(EFFORT - 1)).first()
    return Found(ids, count, Position(end.id, end.due_at) if end else None)

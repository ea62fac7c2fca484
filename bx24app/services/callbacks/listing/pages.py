"""A page of the list: found by the best driver, read in a bounded number of steps, with its total and its cursor.

A list reads at most ``EFFORT`` callbacks for a page, however many are stored. Where that was not enough, the page says
until when it has looked, and its cursor goes on from there: then the total is a lower bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Callback
from bx24app.services.callbacks.listing.cursors import Position, Total, read_cursor, sign_cursor
from bx24app.services.callbacks.listing.drivers import MOST_READ, Driver, Span, drivers_of, planned
from bx24app.services.callbacks.listing.filters import ListFilter, Order, Quick, Scope, order_of
from bx24app.services.callbacks.listing.matching import boundaries, parts_of
from bx24app.services.callbacks.queries import NamedCallback, name_callbacks, with_history

EFFORT = MOST_READ - 1
COUNTED_TO = 1000
MOST_COUNTED = 100


@dataclass(frozen=True)
class ListRequest:
    """What to list, in which order (None: the filter's own), and from where; ``limit`` callbacks at most."""

    wanted: ListFilter
    order: Order | None = None
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class ListPage:
    """A part of a list: ``first`` is the place of its first row, from 1.

    ``searched_to``: the page holds what was found up to this time, and the cursor goes on; None: it is whole.
    """

    callbacks: list[NamedCallback]
    total: Total
    first: int
    next_cursor: str | None = None
    searched_to: datetime | None = None


@dataclass(frozen=True)
class _Found:
    """Ids in order, one more than are shown where there are more; ``count`` is that of all that were counted.

    ``stopped_at``: reading ended behind that id.
    """

    ids: Sequence[UUID]
    count: int = 0
    stopped_at: Position | None = None


@dataclass(frozen=True)
class _Most:
    """So many callbacks are read, and so many are counted."""

    shown: int
    counted: int


def list_page(scope: Scope, request: ListRequest) -> ListPage:
    """Read a page of the list with history and names; raises ``ListRefused``, also for the cursor of another list."""
    order = order_of(request.wanted, request.order)
    at = read_cursor(request.cursor, scope, request.wanted, order) if request.cursor else None
    with reading() as session:
        # The total is counted once, with the first page, and then goes with the cursor.
        most = request.limit if at else max(request.limit, COUNTED_TO)
        find = _find_planned if order is Order.DUE else partial(_find, order=order)
        found = find(session, scope, request.wanted, at, _Most(request.limit + 1, most + 1))
        shown = found.ids[: request.limit]
        rows = _read(session, scope, shown)
    before = at.seen if at else 0
    seen, end = before + len(rows), _end_of(found, rows, request.limit)
    total = _total(at.total if at else _count(found), seen, is_last=end is None)
    if end is None:
        return ListPage(rows, total, before + 1)
    cursor = sign_cursor(replace(end, total=total, seen=seen), scope, request.wanted, order)
    searched_to = None if len(found.ids) > request.limit else _moment_of(end)
    return ListPage(rows, total, before + 1, cursor, searched_to)


def _count(found: _Found) -> Total:
    is_exact = found.count <= COUNTED_TO and found.stopped_at is None
    return Total(min(found.count, COUNTED_TO), is_exact=is_exact)


def _total(counted: Total, seen: int, *, is_last: bool) -> Total:
    """Return the total after another page: one that was only a lower bound grows, and at the end it is known."""
    if counted.is_exact:
        return counted
    count = min(seen if is_last else max(counted.count, seen), COUNTED_TO)
    return Total(count, is_exact=is_last and seen <= COUNTED_TO)


def _end_of(found: _Found, rows: list[NamedCallback], limit: int) -> Position | None:
    if len(found.ids) > limit:
        last = rows[-1].callback if rows else None
        return Position(found.ids[limit - 1], last.due_at if last else None)
    return found.stopped_at


def _moment_of(position: Position) -> datetime:
    """The time of a request, from its id."""
    return datetime.fromtimestamp((position.id.int >> 80) / 1000, UTC)


def _read(session: Session, scope: Scope, ids: Sequence[UUID]) -> list[NamedCallback]:
    """Read callbacks in the order of their ids as given; one that is gone meanwhile is left out."""
    if not ids:
        return []
    found = session.scalars(with_history().where(Callback.id.in_(ids), *boundaries(scope)))
    by_id = {callback.id: callback for callback in found}
    return name_callbacks(session, scope.portal_id, [by_id[id] for id in ids if id in by_id])


def _find(
    session: Session, scope: Scope, wanted: ListFilter, at: Position | None, most: _Most, *, order: Order
) -> _Found:
    drivers = drivers_of(scope, wanted, _span(wanted, order, at), newest_first=order is Order.NEWEST)
    if not all(driver.branches for driver in drivers):
        return _Found([])
    parts = parts_of(scope, wanted)
    driver, stopped_at = _choose(session, drivers, parts.keys(), order)
    left = [condition for name, condition in parts.items() if name not in driver.covers]
    found = _matching(driver, left, order, most.counted).subquery("found")
    ids, count = _ids_and_count(session, found, [_in_order(found.c[0], order)], most)
    return _Found(ids, count, stopped_at if left and count < most.counted else None)


def _ids_and_count(session: Session, found: Subquery, order: list[Any], most: _Most) -> tuple[list[UUID], int]:
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


def _first_of(driver: Driver, order: Order) -> Any:
    """The ids of a driver in order, as a statement that can be limited."""
    ids = driver.ids
    return ids.order_by(_in_order(ids.selected_columns[0], order))


def _matching(driver: Driver, left: list[ColumnElement[bool]], order: Order, most: int) -> Select[UUID]:
    """Select the ids that fulfil what a driver has left; with nothing left straight from its indexes."""
    if not left:
        first: Select[UUID] = _first_of(driver, order).limit(most)
        return first
    looked_at = _first_of(driver, order).limit(EFFORT).subquery("looked_at")
    found = select(Callback.id).join(looked_at, looked_at.c[0] == Callback.id).where(*left)
    return found.order_by(_in_order(Callback.id, order)).limit(most)


def _choose(session: Session, drivers: list[Driver], parts: Any, order: Order) -> tuple[Driver, Position | None]:
    """Choose the driver that leaves nothing, else one with few callbacks, else the one that reaches furthest.

    Returns it with the place where reading ends, None where all of its callbacks are read.
    """
    for driver in drivers:
        if driver.is_ordered and parts <= driver.covers:
            return driver, None
    # The special ones stand behind, and are rather few.
    tried = drivers[::-1]
    ends = session.execute(select(*(_last_looked_at(driver, order) for driver in tried))).one()
    best, furthest = drivers[0], None
    for driver, end in zip(tried, ends, strict=True):
        if end is None:
            return driver, None
        if driver.is_ordered and (furthest is None or _is_further(end, furthest, order)):
            best, furthest = driver, end
    return best, Position(furthest) if furthest else None


def _is_further(id: UUID, than: UUID, order: Order) -> bool:
    return id < than if order is Order.NEWEST else id > than


def _last_looked_at(driver: Driver, order: Order) -> ColumnElement[Any]:
    """Find the last id that is read of a driver; of one without an order any id. None: there are fewer."""
    if driver.is_ordered:
        ids = _first_of(driver, order)
        return ids.limit(1).offset(EFFORT - 1).scalar_subquery()  # type: ignore[no-any-return]
    # Some may be counted twice; but not all of them have to be found first.
    ids = driver.branches[0] if len(driver.branches) == 1 else union_all(*driver.branches)
    return ids.limit(1).offset(EFFORT).scalar_subquery()


def _find_planned(session: Session, scope: Scope, wanted: ListFilter, at: Position | None, most: _Most) -> _Found:
    """Find planned callbacks, the next one first."""
    [waiting] = planned(scope).branches
    waiting = waiting.add_columns(Callback.due_at).where(*Span.of(wanted).within(Callback.id))
    if at is not None:
        here = tuple_(literal(at.due_at, Callback.due_at.type), literal(at.id, Callback.id.type))
        waiting = waiting.where(tuple_(Callback.due_at, Callback.id) > here)
    looked_at = waiting.order_by(Callback.due_at, Callback.id).limit(EFFORT).subquery("looked_at")
    matching = select(Callback.id, Callback.due_at).join(looked_at, looked_at.c.id == Callback.id)
    matching = matching.where(*parts_of(scope, wanted).values()).order_by(Callback.due_at, Callback.id)
    found = matching.limit(most.counted).subquery("found")
    ids, count = _ids_and_count(session, found, [found.c.due_at, found.c.id], most)
    last = select(looked_at.c.id, looked_at.c.due_at).order_by(looked_at.c.due_at, looked_at.c.id)
    end = session.execute(last.limit(1).offset(EFFORT - 1)).one_or_none() if count < most.counted else None
    return _Found(ids, count, Position(end.id, end.due_at) if end else None)


def count_quick(scope: Scope, today: tuple[datetime, datetime]) -> dict[Quick, int]:
    """Count each quick filter for whoever asks, in one statement, up to ``MOST_COUNTED``: that many are "99+"."""
    wanted = {quick: ListFilter(quick=quick, today=today) for quick in Quick}
    counts = [_capped_count(scope, one).label(quick) for quick, one in wanted.items()]
    with reading() as session:
        found = session.execute(select(*counts)).one()
    return dict(zip(wanted, found, strict=True))


def _capped_count(scope: Scope, wanted: ListFilter) -> ColumnElement[int]:
    order, parts = order_of(wanted, None), parts_of(scope, wanted)
    order = Order.NEWEST if order is Order.DUE else order
    # The special ones stand behind.
    driver = drivers_of(scope, wanted, Span(), newest_first=order is Order.NEWEST)[-1]
    left = [condition for name, condition in parts.items() if name not in driver.covers]
    found = _matching(driver, left, order, MOST_COUNTED).subquery()
    return select(func.count()).select_from(found).scalar_subquery()

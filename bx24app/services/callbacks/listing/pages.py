"""A page of the list with its total and its cursor.

Where a bounded number of steps (``finding.py``) did not fill the page, it says until when it has looked, and its cursor
goes on from there. The total is a lower bound where no more was looked at than the page needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Callback
from bx24app.services.callbacks.listing.cursors import Position, Total, read_cursor, sign_cursor
from bx24app.services.callbacks.listing.filters import ListFilter, Order, Scope, order_of
from bx24app.services.callbacks.listing.finding import Found, Most, find_ids
from bx24app.services.callbacks.listing.matching import boundaries
from bx24app.services.callbacks.queries import NamedCallback, name_callbacks, with_history

COUNTED_TO = 1000


@dataclass(frozen=True)
class ListRequest:
    """What to list, in which order (None: the filter's own), and from where; ``limit`` callbacks at most."""

    wanted: ListFilter
    order: Order | None = None
    cursor: str | None = None
    limit: int = 50


class _Mark(Protocol):
    """What a page has to know of a callback that stands on it."""

    @property
    def id(self) -> UUID: ...

    @property
    def version(self) -> int: ...

    @property
    def due_at(self) -> datetime: ...


@dataclass(frozen=True)
class FoundPage:
    """Which callbacks a part of a list has, with their versions: ``first`` is the place of its first row, from 1.

    ``searched_to``: the page holds what was found up to this time, and the cursor goes on; None: it is whole.
    """

    versions: dict[UUID, int]
    total: Total
    first: int
    next_cursor: str | None = None
    searched_to: datetime | None = None


@dataclass(frozen=True)
class ListPage(FoundPage):
    """The same with the callbacks themselves."""

    callbacks: list[NamedCallback] = field(default_factory=list)


def list_page(scope: Scope, request: ListRequest) -> ListPage:
    """Read a page of the list with history and names; raises ``ListRefused``, also for the cursor of another list."""
    with reading() as session:
        return read_page(session, scope, request)


def read_page(session: Session, scope: Scope, request: ListRequest) -> ListPage:
    """The same inside the caller's transaction."""
    at, found = _look(session, scope, request)
    rows = _read(session, scope, found.ids[: request.limit])
    page = _page_of(scope, request, at, found, [row.callback for row in rows])
    return ListPage(page.versions, page.total, page.first, page.next_cursor, page.searched_to, rows)


def find_page(session: Session, scope: Scope, request: ListRequest) -> FoundPage:
    """Find what stands on a page, which takes a third of the time of reading it; raises ``ListRefused``."""
    at, found = _look(session, scope, request)
    return _page_of(scope, request, at, found, _read_marks(session, scope, found.ids[: request.limit]))


def read_found(session: Session, scope: Scope, page: FoundPage) -> ListPage:
    """Read the callbacks of a page that was found, in its order; one that is gone meanwhile is left out."""
    rows = _read(session, scope, list(page.versions))
    return ListPage(page.versions, page.total, page.first, page.next_cursor, page.searched_to, rows)


def _look(session: Session, scope: Scope, request: ListRequest) -> tuple[Position | None, Found]:
    """Look for the callbacks behind a cursor, or from the beginning."""
    order = order_of(request.wanted, request.order)
    at = read_cursor(request.cursor, scope, request.wanted, order) if request.cursor else None
    # The total is counted once, with the first page, and then goes with the cursor.
    most = request.limit if at else max(request.limit, COUNTED_TO)
    return at, find_ids(session, scope, request.wanted, order, at, Most(request.limit + 1, most + 1))


def _page_of(scope: Scope, request: ListRequest, at: Position | None, found: Found, rows: Sequence[_Mark]) -> FoundPage:
    shown = {row.id: row.version for row in rows}
    before = at.seen if at else 0
    seen, end = before + len(shown), end_of(found, rows[-1].due_at if rows else None, request.limit)
    total = _total(at.total if at else count_found(found), seen, is_last=end is None)
    if end is None:
        return FoundPage(shown, total, before + 1)
    order = order_of(request.wanted, request.order)
    cursor = sign_cursor(replace(end, total=total, seen=seen), scope, request.wanted, order)
    searched_to = None if len(found.ids) > request.limit else _moment_of(end)
    return FoundPage(shown, total, before + 1, cursor, searched_to)


def count_found(found: Found) -> Total:
    """The total of a list whose beginning was looked for."""
    is_exact = found.count <= COUNTED_TO and found.stopped_at is None
    return Total(min(found.count, COUNTED_TO), is_exact=is_exact)


def _total(counted: Total, seen: int, *, is_last: bool) -> Total:
    """Return the total after another page: one that was only a lower bound grows, and at the end it is known."""
    if counted.is_exact:
        return counted
    count = min(seen if is_last else max(counted.count, seen), COUNTED_TO)
    return Total(count, is_exact=is_last and seen <= COUNTED_TO)


def end_of(found: Found, last_due_at: datetime | None, limit: int) -> Position | None:
    """Where the next page begins, behind a last callback that is due then; None: there is none."""
    return Position(found.ids[limit - 1], last_due_at) if len(found.ids) > limit else found.stopped_at


def _moment_of(position: Position) -> datetime:
    """The time of a request, from its id."""
    return datetime.fromtimestamp((position.id.int >> 80) / 1000, UTC)


def _read_marks(session: Session, scope: Scope, ids: Sequence[UUID]) -> list[Row[UUID, int, datetime]]:
    """Read what a page has to know of callbacks, in the order of their ids; one that is gone meanwhile is left out."""
    if not ids:
        return []
    marks = select(Callback.id, Callback.version, Callback.due_at)
    by_id = {row.id: row for row in session.execute(marks.where(Callback.id.in_(ids), *boundaries(scope)))}
    return [by_id[id] for id in ids if id in by_id]


def _read(session: Session, scope: Scope, ids: Sequence[UUID]) -> list[NamedCallback]:
    """Read callbacks likewise."""
    if not ids:
        return []
    found = session.scalars(with_history().where(Callback.id.in_(ids), *boundaries(scope)))
    by_id = {callback.id: callback for callback in found}
    return name_callbacks(session, scope.portal_id, [by_id[id] for id in ids if id in by_id])

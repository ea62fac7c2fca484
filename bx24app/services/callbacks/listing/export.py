"""All callbacks of a list for a file, some at a time: no transaction and no more rows than these are held meanwhile.

A file has many rows, so it reads the columns that it writes, and makes no objects of the models.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import TooManyFiles
from bx24app.models import Attempt, Callback, Form
from bx24app.services.callbacks.listing.filters import Scope, order_of
from bx24app.services.callbacks.listing.finding import Most, find_ids
from bx24app.services.callbacks.listing.matching import boundaries
from bx24app.services.callbacks.listing.pages import ListRequest, end_of
from bx24app.services.callbacks.people import read_names
from bx24app.services.runtime.slots import Slots, turn

MOST_EXPORTED = 50_000
EXPORTED_AT_ONCE = 1000
# Of a process. A portal leaves some of them to others.
FILES_OF_PORTAL, FILES_AT_ONCE = 2, 6
RETRY_SECONDS = 5

_files = Slots[int](each=FILES_OF_PORTAL, in_all=FILES_AT_ONCE)


class InOrder:
    """A lock that goes to threads in the order in which they came; any other one to whoever gave it back just now."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = self._now = 0

    def __enter__(self) -> None:
        with self._changed:
            mine, self._next = self._next, self._next + 1
            self._changed.wait_for(lambda: self._now == mine)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._now += 1
            self._changed.notify_all()


# Files are written in turns, a batch each, so that however many there are, they take no more than one thread computes.
_turn = InOrder()


class ExportedAttempt(NamedTuple):
    """What a file tells of an attempt."""

    callback_id: UUID
    answered_by: int | None
    duration_seconds: int | None
    cost: Decimal | None
    cost_currency: str | None


class ExportedCallback(NamedTuple):
    """What a file tells of a callback."""

    id: UUID
    created_at: datetime
    customer_name: str | None
    to_number: str
    state: str
    reason: str | None
    words: str | None
    asks_since: datetime | None
    source: str
    form_id: int | None
    requested_by: int | None
    line_name: str
    scheduled_at: datetime | None
    due_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class ExportedBatch:
    """Some callbacks in order, their attempts by their ids, and the names of people and of the portal's forms."""

    callbacks: Sequence[ExportedCallback]
    attempts: dict[UUID, list[ExportedAttempt]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    forms: dict[int, str] = field(default_factory=dict)


_CALLBACK = tuple(getattr(Callback, name) for name in ExportedCallback._fields)
_ATTEMPT = tuple(getattr(Attempt, name) for name in ExportedAttempt._fields)


def file_slot(portal_id: int) -> AbstractContextManager[None]:
    """Hold room for a file of a portal while it is written; raises ``TooManyFiles`` where there is none."""
    return turn(_files, portal_id, RETRY_SECONDS, TooManyFiles)


def in_turns(parts: Iterator[str]) -> Iterator[str]:
    """Make the parts of a file, each while no other file of the process is at one; sending keeps nobody waiting."""
    while True:
        with _turn:
            part = next(parts, None)
        if part is None:
            return
        yield part


def exported(scope: Scope, request: ListRequest, ids: Sequence[UUID] = ()) -> Iterator[ExportedBatch]:
    """Read the callbacks of a list, ``MOST_EXPORTED`` at most, or those of ``ids``; raises ``ListRefused`` at once."""
    order_of(request.wanted, request.order)
    with reading() as session:
        forms = dict(session.execute(select(Form.id, Form.name).where(Form.portal_id == scope.portal_id)).all())
    return _chosen(scope, ids, forms) if ids else _batches(scope, request, forms)


def _chosen(scope: Scope, ids: Sequence[UUID], forms: dict[int, str]) -> Iterator[ExportedBatch]:
    with reading() as session:
        batch = _read_batch(session, scope, ids, forms)
    yield batch


def _batches(scope: Scope, request: ListRequest, forms: dict[int, str]) -> Iterator[ExportedBatch]:
    order, left, at = order_of(request.wanted, request.order), MOST_EXPORTED, None
    while left > 0:
        limit = min(left, EXPORTED_AT_ONCE)
        with reading() as session:
            found = find_ids(session, scope, request.wanted, order, at, Most(limit + 1, limit + 1))
            batch = _read_batch(session, scope, found.ids[:limit], forms)
        yield batch
        left -= len(batch.callbacks)
        at = end_of(found, batch.callbacks[-1].due_at if batch.callbacks else None, limit)
        if at is None:
            return


def _read_batch(session: Session, scope: Scope, ids: Sequence[UUID], forms: dict[int, str]) -> ExportedBatch:
    """Read callbacks in the order of their ids as given; one that is gone meanwhile is left out."""
    if not ids:
        return ExportedBatch([])
    rows = session.execute(select(*_CALLBACK).where(Callback.id.in_(ids), *boundaries(scope)))
    by_id = {row.id: row for row in map(ExportedCallback._make, rows)}
    attempts: dict[UUID, list[ExportedAttempt]] = {}
    made = select(*_ATTEMPT).where(Attempt.callback_id.in_(by_id)).order_by(Attempt.callback_id, Attempt.number)
    for attempt in map(ExportedAttempt._make, session.execute(made)):
        attempts.setdefault(attempt.callback_id, []).append(attempt)
    callbacks = [by_id[id] for id in ids if id in by_id]
    people = {callback.requested_by for callback in callbacks}
    people |= {made[-1].answered_by for made in attempts.values()}
    return ExportedBatch(callbacks, attempts, read_names(session, scope.portal_id, people), forms)

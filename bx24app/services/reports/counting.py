"""Keeping what the reports add up: a quarter of an hour is only ever counted anew, as a whole.

Every change of a callback raises its ``version``, in the same transaction. A callback whose ``counted_version`` is
another one waits to be counted; a job of the worker counts the quarter of an hour in which it was requested, and
notes the versions that it has read. What changes meanwhile differs again. Whoever deletes callbacks calls
``delete_counted``, which counts in the same transaction.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, astuple, replace
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import (
    IS_UNCOUNTED,
    QUARTER_SECONDS,
    SPAN_LENGTHS,
    Attempt,
    Callback,
    DecoyRequest,
    Portal,
    PortalSettings,
    ReportFigure,
    utcnow,
)
from bx24app.services.reports.tally import CountedAttempt, CountedCallback, Kind, Tally, counted_as, tallies_of

# How many callbacks one run looks at, and how many quarters of an hour one transaction counts.
COUNTED_AT_ONCE = 500
QUARTERS_AT_ONCE = 16
# All kinds by name: the key of the table begins with the kind.
KINDS = tuple(Kind)
_MILLISECONDS = QUARTER_SECONDS * 1000


def slot_of(callback_id: UUID) -> int:
    """The quarter of an hour in which a callback was requested: UUIDs of version 7 begin with the time."""
    return (callback_id.int >> 80) // _MILLISECONDS


def first_id_of(slot: int) -> UUID:
    """The smallest id that a callback of a quarter of an hour can have."""
    return UUID(int=slot * _MILLISECONDS << 80)


def changed_callbacks(_: datetime) -> Select[int, UUID]:
    """Select callbacks that have changed since they were counted, with their portals."""
    query = select(Callback.portal_id, Callback.id).where(IS_UNCOUNTED).order_by(Callback.counted_version, Callback.id)
    return query.limit(COUNTED_AT_ONCE)


def count_changed() -> int:
    """Count the quarters of an hour of callbacks that have changed; returns how many. Commits.

    Those of a portal that is locked at this moment are left for the next time.
    """
    with reading() as session:
        changed = session.execute(changed_callbacks(utcnow())).all()
    slots = sorted({(portal_id, slot_of(callback_id)) for portal_id, callback_id in changed})
    counted = 0
    for portal_id, group in groupby(slots, key=lambda one: one[0]):
        for few in _few([slot for _, slot in group]):
            with writing() as session:
                if _has_turn(session, portal_id):
                    _recount(session, portal_id, few)
                    counted += len(few)
    return counted


def _few(slots: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(slots), QUARTERS_AT_ONCE):
        yield slots[begin : begin + QUARTERS_AT_ONCE]


def delete_counted(condition: ColumnElement[bool], limit: int) -> int:
    """Delete at most ``limit`` callbacks that fulfil a condition, and count again without them; returns how many.

    Both happen in one transaction, for a few quarters of an hour at a time. What is locked at this moment stays.
    """
    with reading() as session:
        found = session.execute(select(Callback.portal_id, Callback.id).where(condition).limit(limit)).all()
    by_slot: dict[tuple[int, int], list[UUID]] = {}
    for portal_id, callback_id in found:
        by_slot.setdefault((portal_id, slot_of(callback_id)), []).append(callback_id)
    gone = 0
    for portal_id, group in groupby(sorted(by_slot), key=lambda one: one[0]):
        for few in _few([slot for _, slot in group]):
            ids = [callback_id for slot in few for callback_id in by_slot[portal_id, slot]]
            with writing() as session:
                if not _has_turn(session, portal_id):
                    continue
                free = session.scalars(_unlocked(Callback.id.in_(ids), condition)).all()
                session.execute(delete(Callback).where(Callback.id.in_(free)))
                # What their links showed, where they were left to others.
                session.execute(delete(DecoyRequest).where(DecoyRequest.id.in_(free)))
                gone += len(free)
                _recount(session, portal_id, few)
    return gone


def _has_turn(session: Session, portal_id: int) -> bool:
    """Take the portal's turn to count until the transaction ends; False: another has it, or the portal is gone.

    Counting waits for nobody, or it would be one half of a deadlock: others lock the portal and then its settings,
    and each figure that is written refers to the portal.
    """
    portal = select(Portal.id).where(Portal.id == portal_id)
    settings = select(PortalSettings.portal_id).where(PortalSettings.portal_id == portal_id)
    refers = portal.with_for_update(read=True, key_share=True, skip_locked=True)
    if session.scalar(refers) is None:
        return False
    return session.scalar(settings.with_for_update(key_share=True, skip_locked=True)) is not None


def _unlocked(*conditions: ColumnElement[bool]) -> Select[UUID]:
    """Select callbacks, and lock those that nobody else has locked."""
    return select(Callback.id).where(*conditions).with_for_update(skip_locked=True)


def _recount(session: Session, portal_id: int, slots: Collection[int]) -> None:
    """Replace what is kept of some quarters of an hour, and of longer spans, inside the caller's transaction."""
    rows: list[dict[str, Any]] = []
    for slot in slots:
        read = _read(session, portal_id, slot)
        _note_counted(session, _of_slot(portal_id, slot), read)
        rows += _rows(portal_id, 1, slot, tallies_of(callback for *_, callback in read))
    _replace(session, portal_id, SPAN_LENGTHS[0], slots, rows)
    for shorter, length in pairwise(SPAN_LENGTHS):
        begins = {slot - slot % length for slot in slots}
        sums = [(begin, _added_up(session, portal_id, shorter, range(begin, begin + length))) for begin in begins]
        rows = [row for begin, tallies in sums for row in _rows(portal_id, length, begin, tallies)]
        _replace(session, portal_id, length, begins, rows)


def _of_slot(portal_id: int, slot: int) -> tuple[ColumnElement[bool], ...]:
    return Callback.portal_id == portal_id, Callback.id >= first_id_of(slot), Callback.id < first_id_of(slot + 1)


def _read(session: Session, portal_id: int, slot: int) -> list[tuple[UUID, int, CountedCallback]]:
    """Read the callbacks of a quarter of an hour, first their versions: what changes in between counts again."""
    of_slot = _of_slot(portal_id, slot)
    callbacks = session.execute(_callback_columns().where(*of_slot)).all()
    attempts: dict[UUID, list[CountedAttempt]] = {}
    columns = _attempt_columns().join(Callback, Callback.id == Attempt.callback_id).where(*of_slot)
    for callback_id, *values in session.execute(columns.order_by(Attempt.number)):
        attempts.setdefault(callback_id, []).append(CountedAttempt(*values))
    return [
        (id, version, replace(CountedCallback(*values), attempts=attempts.get(id, ())))
        for id, version, *values in callbacks
    ]


def _callback_columns() -> Select[*tuple[Any, ...]]:
    counted = (Callback.state, Callback.reason, Callback.source, Callback.form_id, Callback.line_id)
    return select(
        Callback.id, Callback.version, *counted, Callback.requested_by, Callback.created_at, Callback.scheduled_at
    )


def _attempt_columns() -> Select[*tuple[Any, ...]]:
    answered = (Attempt.answered_by, Attempt.answered_at, Attempt.duration_seconds)
    return select(
        Attempt.callback_id, Attempt.outcome, Attempt.failed_code, *answered, Attempt.cost, Attempt.cost_currency
    )


def _rows(portal_id: int, quarters: int, slot: int, tallies: dict[tuple[Any, str], Tally]) -> Iterator[dict[str, Any]]:
    for (kind, key), tally in tallies.items():
        named = {"portal_id": portal_id, "quarters": quarters, "slot": slot, "kind": str(kind), "key": key}
        yield named | asdict(tally)


def _replace(
    session: Session, portal_id: int, quarters: int, slots: Collection[int], rows: Sequence[dict[str, Any]]
) -> None:
    old = delete(ReportFigure).where(
        ReportFigure.portal_id == portal_id,
        ReportFigure.quarters == quarters,
        ReportFigure.kind.in_(KINDS),
        ReportFigure.slot.in_(slots),
    )
    session.connection().execute(old)
    if rows:
        session.connection().execute(insert(ReportFigure), rows)


def _added_up(session: Session, portal_id: int, quarters: int, within: range) -> dict[tuple[Any, str], Tally]:
    """Add up the spans of one length that lie within a longer one."""
    shorter = select(ReportFigure).where(
        ReportFigure.portal_id == portal_id,
        ReportFigure.quarters == quarters,
        ReportFigure.kind.in_(KINDS),
        ReportFigure.slot >= within.start,
        ReportFigure.slot < within.stop,
    )
    found: dict[tuple[Any, str], Tally] = {}
    # Read anew: a row with the same key may have been written since this session read it.
    for row in session.scalars(shorter.execution_options(populate_existing=True)):
        found.setdefault((row.kind, row.key), Tally()).add(tally_of_row(row))
    return found


def tally_of_row(row: ReportFigure) -> Tally:
    """The counts of a stored row."""
    return Tally(**{name: getattr(row, name) for name in Tally.__dataclass_fields__})


def _note_counted(
    session: Session, of_slot: tuple[ColumnElement[bool], ...], read: Sequence[tuple[UUID, int, CountedCallback]]
) -> None:
    """Note the versions that were read, and as what; one that was changed meanwhile, or is locked, keeps waiting."""
    table = Callback.__table__
    names = ("outcome", "called", "picked_up", "wait", "person")
    noted = (
        update(Callback)
        .where(table.c.id == bindparam("read_id"), table.c.version == bindparam("read_version"))
        .values(counted_version=bindparam("read_version"), **{f"counted_{name}": bindparam(name) for name in names})
    )
    free = set(session.scalars(_unlocked(*of_slot, table.c.counted_version != table.c.version)))
    rows: list[dict[str, Any]] = [
        {"read_id": id, "read_version": version, **dict(zip(names, astuple(counted_as(callback)), strict=True))}
        for id, version, callback in read
        if id in free
    ]
    if rows:
        session.connection().execute(noted, rows)

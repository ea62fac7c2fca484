"""Keeping what the reports add up: a quarter of an hour is only ever counted anew, as a whole.

Every change of a callback raises its ``version``, in the same transaction. A callback whose ``counted_version`` is
another one waits to be counted; a job of the worker counts the quarter of an hour in which it was requested, and
notes the versions that it has read. What changes meanwhile differs again. Whoever deletes callbacks calls
``delete_counted``, after which the job counts those that are left.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, insert, or_, select, union_all, update
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import (
    IS_UNCOUNTED,
    SPAN_LENGTHS,
    Callback,
    DecoyRequest,
    Portal,
    PortalSettings,
    ReportFigure,
    utcnow,
)
from bx24app.services.reports.quarters import CallbacksRead, of_slot, read_slot, slot_of, versions_of
from bx24app.services.reports.tally import Kind, Tally, counted_as, tallies_of
from bx24app.services.runtime.apart import LEFT_ALONE_SECONDS, apart, is_left_alone
from bx24app.services.runtime.slots import Resting

# How many callbacks one look finds, how many looks a run has, and how many quarters of an hour one transaction counts.
COUNTED_AT_ONCE = 500
LOOKS_OF_A_RUN = 20
QUARTERS_AT_ONCE = 16
# All kinds by name: the key of the table begins with the kind.
KINDS = tuple(Kind)
_FIGURES = ReportFigure.__table__.c
_SPAN_KEY = (_FIGURES.quarters, _FIGURES.slot, _FIGURES.kind, _FIGURES.key)
_COUNTS = tuple(_FIGURES[field.name] for field in fields(Tally))
# A portal whose callbacks cannot be counted would fill each run, and one with more than so many in a quarter of an hour
# would have all of them read again for each change: these are counted once a minute.
MANY_CALLBACKS = 2000
_resting = Resting("count", LEFT_ALONE_SECONDS)
# What is counted of a span, by its length and its first quarter of an hour.
_Tallies = dict[tuple[Any, str], Tally]
_Spans = dict[tuple[int, int], _Tallies]


def changed_callbacks(_: datetime) -> Select[int, UUID]:
    """Select callbacks that have changed since they were counted, with their portals."""
    query = select(Callback.portal_id, Callback.id).where(IS_UNCOUNTED)
    return query.order_by(Callback.counted_version, Callback.id).limit(COUNTED_AT_ONCE)


def count_changed() -> int:
    """Count the quarters of an hour of callbacks that have changed; returns how many. Commits.

    Those of a portal that is locked at this moment are left for the next time. So is what changes meanwhile, but for
    a backlog: a callback changes a few times in a minute, and is counted with all that changed since.
    """
    counted = 0
    for _ in range(LOOKS_OF_A_RUN):
        changed = _look()
        counted += (now := _count_slots(changed))
        if len(changed) < COUNTED_AT_ONCE or not now:
            break
    return counted


def _look() -> Sequence[Row[int, UUID]]:
    query, resting = changed_callbacks(utcnow()), _resting.now()
    with reading() as session:
        return session.execute(query.where(Callback.portal_id.not_in(resting)) if resting else query).all()


def _count_slots(changed: Iterable[Row[int, UUID]]) -> int:
    slots = sorted({(portal_id, slot_of(callback_id)) for portal_id, callback_id in changed})
    counted = 0
    for portal_id, group in groupby(slots, key=lambda one: one[0]):
        for few in _few([slot for _, slot in group]):
            with apart("count", portal_id):
                counted += _count(portal_id, few)
            if is_left_alone("count", portal_id):
                _resting.add(portal_id)
    return counted


def _count(portal_id: int, slots: Sequence[int]) -> int:
    with reading() as session:
        within = or_(*(and_(*of_slot(portal_id, slot)) for slot in slots))
        are_many = session.scalar(select(Callback.id).where(within).limit(1).offset(MANY_CALLBACKS)) is not None
    if are_many:
        _resting.add(portal_id)
        return sum(_count_many(portal_id, slot) for slot in slots)
    with writing() as session:
        if not _has_turn(session, portal_id):
            return 0
        _recount(session, portal_id, slots)
        return len(slots)


def _count_many(portal_id: int, slot: int) -> bool:
    """Count a quarter of an hour with very many callbacks: they are read while others may write.

    What has changed meanwhile is left for the next time, which comes when that has come to rest.
    """
    with reading() as session:
        versions, read = versions_of(session, portal_id, slot), read_slot(session, portal_id, slot)
    with writing() as session:
        is_unchanged = _has_turn(session, portal_id) and versions_of(session, portal_id, slot) == versions
        if is_unchanged:
            _store(session, portal_id, {slot: read})
    return is_unchanged


def _few(slots: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(slots), QUARTERS_AT_ONCE):
        yield slots[begin : begin + QUARTERS_AT_ONCE]


def delete_counted(condition: ColumnElement[bool], limit: int) -> int:
    """Delete at most ``limit`` callbacks that fulfil a condition; returns how many. Commits a few at a time.

    What else is in their quarters of an hour may be very much, and is not read: one of each waits to be counted from
    then on, and the job counts the whole. Only a quarter in which nothing is left is forgotten at once. What is locked
    at this moment stays.
    """
    with reading() as session:
        found = session.execute(select(Callback.portal_id, Callback.id).where(condition).limit(limit)).all()
    by_slot: dict[tuple[int, int], list[UUID]] = {}
    for portal_id, callback_id in found:
        by_slot.setdefault((portal_id, slot_of(callback_id)), []).append(callback_id)
    gone = 0
    for portal_id, group in groupby(sorted(by_slot), key=lambda one: one[0]):
        for few in _few([slot for _, slot in group]):
            with writing() as session:
                if _has_turn(session, portal_id):
                    ids = {slot: by_slot[portal_id, slot] for slot in few}
                    gone += _delete_few(session, portal_id, ids, condition)
    return gone


def _delete_few(
    session: Session, portal_id: int, ids: Mapping[int, Collection[UUID]], condition: ColumnElement[bool]
) -> int:
    """Delete callbacks of some quarters of an hour, where the portal's turn is held; returns how many."""
    deleted = 0
    emptied = []
    for slot, theirs in ids.items():
        free = session.scalars(_unlocked(Callback.id.in_(theirs), condition)).all()
        others = and_(*of_slot(portal_id, slot), Callback.id.not_in(free))
        is_last = session.scalar(select(Callback.id).where(others).limit(1)) is None
        if not free or not (is_last or _counts_again(session, others)):
            continue
        session.execute(delete(Callback).where(Callback.id.in_(free)))
        # What their links showed, where they were left to others.
        session.execute(delete(DecoyRequest).where(DecoyRequest.id.in_(free)))
        deleted += len(free)
        if is_last:
            emptied.append(slot)
    if emptied:
        _recount(session, portal_id, emptied)
    return deleted


def _counts_again(session: Session, others: ColumnElement[bool]) -> bool:
    """Let one of the callbacks that stay wait to be counted; False: all of them are locked.

    Whoever counts holds the portal's turn as well: nobody who has read the deleted ones notes it as counted after this.
    """
    one = session.scalar(_unlocked(others).limit(1))
    if one is not None:
        table = Callback.__table__
        changed = update(Callback).where(table.c.id == one).values(counted_version=-table.c.version)
        session.connection().execute(changed)
    return one is not None


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
    _store(session, portal_id, {slot: read_slot(session, portal_id, slot) for slot in slots})


def _store(session: Session, portal_id: int, slots: Mapping[int, CallbacksRead]) -> None:
    spans: _Spans = {}
    for slot, read in slots.items():
        _note_counted(session, portal_id, slot, read)
        spans[SPAN_LENGTHS[0], slot] = tallies_of(callback for *_, callback in read)
    kept = _kept_within(session, portal_id, slots)
    for shorter, length in pairwise(SPAN_LENGTHS):
        for begin in _begins(slots, length):
            parts = ((shorter, slot) for slot in range(begin, begin + length, shorter))
            spans[length, begin] = _added_up(spans[part] if part in spans else kept.get(part, {}) for part in parts)
    _replace(session, portal_id, spans)


def _begins(slots: Collection[int], length: int) -> set[int]:
    """Where the spans of a length begin in which some quarters of an hour lie."""
    return {slot - slot % length for slot in slots}


def _added_up(parts: Iterable[_Tallies]) -> _Tallies:
    found: _Tallies = {}
    for part in parts:
        for key, tally in part.items():
            found.setdefault(key, Tally()).add(tally)
    return found


def _kept_within(session: Session, portal_id: int, slots: Collection[int]) -> _Spans:
    """Read what is kept of the spans that lie within the longer ones of some quarters of an hour; in one statement."""
    ranges = [
        (shorter, begin, length) for shorter, length in pairwise(SPAN_LENGTHS) for begin in _begins(slots, length)
    ]
    within = [
        select(*_SPAN_KEY, *_COUNTS).where(
            _FIGURES.portal_id == portal_id,
            _FIGURES.quarters == shorter,
            _FIGURES.kind.in_(KINDS),
            _FIGURES.slot >= begin,
            _FIGURES.slot < begin + length,
        )
        for shorter, begin, length in ranges
    ]
    found: _Spans = {}
    for quarters, slot, kind, key, *counts in session.connection().execute(union_all(*within)):
        found.setdefault((quarters, slot), {})[kind, key] = Tally(*counts)
    return found


def _replace(session: Session, portal_id: int, spans: _Spans) -> None:
    is_old = [
        and_(ReportFigure.quarters == length, ReportFigure.slot.in_([slot for other, slot in spans if other == length]))
        for length in SPAN_LENGTHS
    ]
    old = delete(ReportFigure).where(ReportFigure.portal_id == portal_id, ReportFigure.kind.in_(KINDS), or_(*is_old))
    session.connection().execute(old)
    rows = [
        {"portal_id": portal_id, "quarters": quarters, "slot": slot, "kind": str(kind), "key": key, **vars(tally)}
        for (quarters, slot), tallies in spans.items()
        for (kind, key), tally in tallies.items()
    ]
    if rows:
        session.connection().execute(insert(ReportFigure), rows)


def _note_counted(session: Session, portal_id: int, slot: int, read: CallbacksRead) -> None:
    """Note the versions that were read, and as what; one that was changed meanwhile, or is locked, keeps waiting."""
    table = Callback.__table__
    names = ("outcome", "called", "picked_up", "wait", "person")
    noted = (
        update(Callback)
        .where(table.c.id == bindparam("read_id"), table.c.version == bindparam("read_version"))
        .values(counted_version=bindparam("read_version"), **{f"counted_{name}": bindparam(name) for name in names})
    )
    free = set(session.scalars(_unlocked(*of_slot(portal_id, slot), table.c.counted_version != table.c.version)))
    rows: list[dict[str, Any]] = [
        {"read_id": id, "read_version": version, **dict(zip(names, astuple(counted_as(callback)), strict=True))}
        for id, version, callback in read
        if id in free
    ]
    if rows:
        session.connection().execute(noted, rows)

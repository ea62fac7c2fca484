"""Who dials next: leasing due callbacks, fairly between portals.

A decoy stands in the same queue, so that its link shows the wait of a callback: it is released where a callback in its
place would be leased, takes no place itself, and expires likewise.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select, union_all
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from bx24app.database import reading, writing
from bx24app.database.errors import concerns_all, is_duplicate, raise_for_all
from bx24app.models import (
    IS_WAITING,
    Callback,
    DecoyRequest,
    Form,
    Portal,
    PortalState,
    Source,
    State,
    Throttle,
    utcnow,
)
from bx24app.models.lease import is_lasting, is_over
from bx24app.models.portals.throttle import LONGEST_PAUSE
from bx24app.services.callbacks.number_holder import number_is_held
from bx24app.services.dialling import lines, waiting_decoys
from bx24app.services.dialling.expiry import expire
from bx24app.services.portals import throttle
from bx24app.services.runtime import slow_portals, wakeup
from bx24app.services.runtime.slots import Resting

log = structlog.get_logger(__name__)

# Longer than a whole dial (75 s, however slowly its answer comes) and recording it: a lease ends only when its worker
# is gone.
DIAL_LEASE = timedelta(seconds=90)
DIALS_PER_PORTAL = 2
# Of so many the next ones are chosen.
MOST_PORTALS = 500
# A portal whose due callbacks all have to wait is not looked at again before this time, unless something new is due or
# a call has ended: fifty of them that were looked at five times a second took a whole processor. One whose callbacks
# have waited for long rests for a tenth of that, and one that has so many that to go through them takes long for many
# times as long, for nobody else writes to SQLite meanwhile.
BUSY_PORTAL_PAUSE, LONGEST_BUSY_PAUSE = timedelta(seconds=1), timedelta(seconds=5)
BUSY_PAUSE_FACTOR, WAITED_DIVISOR = 20, 10
# A portal whose callbacks could not be leased would be the first again each time.
_failing = Resting("lease", 5.0)
# Made once: an alias of so wide a table takes longer to make than all the rest of a look at the queue.
_OTHER = aliased(Callback)


@dataclass(frozen=True)
class DialLease:
    """A waiting callback that only this worker may dial, as long as ``lease_fence`` is the callback's."""

    callback_id: UUID
    portal_id: int
    lease_fence: int


class _PortalTurn(NamedTuple):
    """A portal that may dial now: what ``due_portals`` selects of it."""

    portal_id: int
    has_decoys: bool
    due_since: datetime
    claimed_at: datetime | None


def is_leased(leased_until: InstrumentedAttribute[datetime | None], now: datetime) -> ColumnElement[bool]:
    """Make the condition that a worker holds a lease which has not ended."""
    return is_lasting(leased_until, now, DIAL_LEASE)


def is_free(now: datetime) -> ColumnElement[bool]:
    """Make the condition that no worker holds a lease on a callback."""
    return is_over(Callback.leased_until, now, DIAL_LEASE)


def due_callbacks(now: datetime) -> Select[Callback]:
    """Select due callbacks that no worker has leased."""
    return select(Callback).where(IS_WAITING, Callback.due_at <= now, is_free(now))


def due_portals(
    now: datetime, most: int = 1, besides: Collection[int] = ()
) -> Select[int, bool, datetime, datetime | None]:
    """Select portals that may dial now and have a due callback or decoy, the one whose turn was longest ago first.

    The other columns tell whether a decoy is among what is due, since when the first of that is due, and when a worker
    last looked at the portal.
    """
    of_form = waiting_decoys.due_decoys(now).join(Form, Form.id == DecoyRequest.form_id)
    due = union_all(
        due_callbacks(now).with_only_columns(
            Callback.portal_id, Callback.due_at, literal_column("0").label("is_decoy")
        ),
        of_form.with_only_columns(Form.portal_id, DecoyRequest.due_at, literal_column("1")),
    ).subquery()
    # A callback that a worker has leased is dialled in a moment, so it counts as a dial in flight.
    in_flight = (
        select(func.count())
        .select_from(_OTHER)
        .where(_OTHER.portal_id == due.c.portal_id, is_leased(_OTHER.leased_until, now))
        .correlate(due)
        .scalar_subquery()
    )
    # By our own count a portal waits that had nothing it may dial: what has become due since then may be dialled.
    is_new = Throttle.paused_for.is_(None) & (due.c.due_at > Throttle.claimed_at)
    may_dial = or_(is_over(Throttle.dial_at, now, LONGEST_PAUSE), is_new)
    return (
        select(
            due.c.portal_id,
            (func.max(due.c.is_decoy) > 0).label("has_decoys"),
            func.min(due.c.due_at).label("due_since"),
            Throttle.claimed_at,
        )
        .join(Throttle, Throttle.portal_id == due.c.portal_id)
        .join(Portal, Portal.id == due.c.portal_id)
        # Nothing fails for good while it is not known whether the app was removed.
        .where(due.c.portal_id.not_in(besides))
        .where(may_dial, Portal.removal_told_at.is_(None) | (Portal.state != PortalState.UNINSTALLED))
        .group_by(due.c.portal_id, Throttle.claimed_at)
        .having(in_flight < DIALS_PER_PORTAL)
        .order_by(Throttle.claimed_at.asc().nulls_first(), func.min(due.c.due_at))
        .limit(most)
    )


def lease_due(most: int = 1, slow_at_once: int = 1) -> list[DialLease]:
    """Lease at most ``most`` due callbacks; commits. A lease ends by itself when its worker dies.

    ``slow_at_once``: so many of this worker's dials may be those of slow portals (``slow_portals``).
    """
    slow = slow_portals.look(wakeup.DIAL, slow_at_once)
    with reading() as session:
        # Reading first takes no lock, and most of the time there is nothing to lease.
        due = session.execute(due_portals(utcnow(), MOST_PORTALS, slow.waiting | _failing.now()))
        turns = [_PortalTurn(*row) for row in due]
    leases: list[DialLease] = []
    # Among those that are alike the one whose turn was longest ago comes first.
    for turn in sorted(turns, key=lambda turn: slow.step(turn.portal_id)):
        portal_id = turn.portal_id
        given = slow.take(portal_id, most - len(leases))
        if not given:
            continue
        try:
            leases += (mine := _lease_for(turn, given))
            slow.give_back(portal_id, given - len(mine))
        except Exception as error:
            if concerns_all(error) and leases:
                break  # Nobody else dials what was leased before.
            raise_for_all(error)
            _failing.add(portal_id)
            log.exception("lease_failed", portal_id=portal_id, reason=type(error).__name__)
    for lease in leases:
        slow_portals.note_begin(wakeup.DIAL, lease.callback_id, lease.portal_id)
    return leases


def _lease_for(turn: _PortalTurn, most: int) -> list[DialLease]:
    try:
        with writing() as session:
            # This lock orders the leases of a portal: without it two workers could both see only one dial in flight.
            pace = throttle.lock_throttle(session, turn.portal_id)
            if pace is None or pace.claimed_at != turn.claimed_at:
                return []  # Another worker looks at it, or has just done so.
            return _lease(session, session.get_one(Portal, turn.portal_id), pace, most, turn)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        return []  # Another request for the same number was accepted meanwhile, so the scheduled one waits for its end.


def _lease(session: Session, portal: Portal, pace: Throttle, most: int, turn: _PortalTurn) -> list[DialLease]:
    now, limit, began = utcnow(), throttle.limit_of(portal), time.thread_time()
    # Its turn is over, whatever it has: portals with nothing that they may dial would be the first again each time.
    pace.claimed_at = now
    pace.wait_no_longer(now, limit)
    spare = DIALS_PER_PORTAL - _in_flight(session, portal.id, now)
    most = int(min(most, spare, pace.room(now, limit)))
    if most < 1:
        return []
    left = list(_take(session, portal, most, now, has_decoys=turn.has_decoys))
    leases = [one for one in left if isinstance(one, DialLease)]
    if leases:
        pace.resume_dialling()
        pace.count_requests(now, limit, len(leases))
    if not left:
        took, waited = timedelta(seconds=time.thread_time() - began), now - turn.due_since
        pause = max(BUSY_PORTAL_PAUSE, took * BUSY_PAUSE_FACTOR, waited / WAITED_DIVISOR)
        pace.wait(now, min(pause, LONGEST_BUSY_PAUSE))
    return leases


def _in_flight(session: Session, portal_id: int, now: datetime) -> int:
    query = select(func.count()).where(Callback.portal_id == portal_id, is_leased(Callback.leased_until, now))
    return session.scalar(query) or 0


def _take(
    session: Session, portal: Portal, most: int, now: datetime, *, has_decoys: bool
) -> Iterator[DialLease | DecoyRequest | Callback]:
    """Lease the portal's next callbacks, oldest first, and skip those of a full or stopped line.

    Decoys that come before the last one that there is room for are released, and yielded too, and so is what has
    expired: whoever waited behind it may take its place.
    """
    room = lines.room_on_lines(session, portal, is_leased(Callback.leased_until, now), now)
    of_free_line = most if portal.settings.line_cap is None else portal.settings.line_cap
    full = [line_id for line_id, count in room.items() if count <= 0]
    numbers: set[str] = set()
    taken = 0
    for waiting in _in_order(session, portal, full, most + lines.MAX_PASSED_OVER, now, has_decoys=has_decoys):
        if taken == most:
            return
        if waiting not in session:
            continue  # The decoy has become a callback since.
        has_room = room.get(waiting.line_id or "", 1) > 0
        if isinstance(waiting, DecoyRequest):
            if has_room:
                waiting_decoys.release(session, portal, waiting, now)
                yield waiting
        elif waiting.expires_at < now:
            expire(session, waiting, now)
            yield waiting
        elif waiting.to_number not in numbers and has_room:
            numbers.add(waiting.to_number)
            room[waiting.line_id] = room.get(waiting.line_id, of_free_line) - 1
            taken += 1
            if waiting.state == State.SCHEDULED:
                waiting.queue(now)
                session.flush()
            yield DialLease(waiting.id, portal.id, waiting.lease(now, DIAL_LEASE))
    if full and taken < most:
        lines.note_full(session, portal, full, due_callbacks(now), now)


def _in_order(
    session: Session, portal: Portal, full: list[str], most: int, now: datetime, *, has_decoys: bool
) -> Sequence[Callback | DecoyRequest]:
    """Lock at most so many of those that may be next, in order; no callback that stands before is left out.

    Employees come first: they wait by the phone, and for two minutes only. Then the oldest.
    """
    query = _claimable(portal.id, now).where(Callback.line_id.not_in(full))
    query = query.limit(most).with_for_update(skip_locked=True)
    callbacks = [*session.scalars(query)]
    if len(callbacks) == most:
        # Theirs may stand behind all of these; else they are among them.
        behind = Callback.id.not_in([one.id for one in callbacks])
        callbacks += session.scalars(query.where(Callback.source == Source.STAFF, behind))
    decoys = waiting_decoys.lock_oldest(session, portal.id, full, most, now) if has_decoys else []
    waiting: list[Callback | DecoyRequest] = [*callbacks, *decoys]
    return sorted(waiting, key=lambda one: (getattr(one, "source", None) != Source.STAFF, one.due_at))[:most]


def _claimable(portal_id: int, now: datetime) -> Select[Callback]:
    is_held = number_is_held(Callback.portal_id, Callback.to_number, _OTHER)
    held_by_another = select(_OTHER.id).where(is_held, _OTHER.id != Callback.id).exists()
    return due_callbacks(now).where(Callback.portal_id == portal_id, ~held_by_another).order_by(Callback.due_at)


def leased_callback(session: Session, lease: DialLease) -> Callback | None:
    """Lock and return the leased callback; None when the lease has ended or the callback is no longer queued."""
    callback = session.get(Callback, lease.callback_id, with_for_update=True)
    stands = callback is not None and callback.state == State.QUEUED and callback.holds(lease.lease_fence)
    return callback if stands else None

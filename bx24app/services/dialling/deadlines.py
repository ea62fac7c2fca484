"""When no call report can be awaited any more: the policy decides about unknown outcomes, calls without an end close.

A row of the history appears only after its call has ended, so that absence proves nothing before ring time and a long
talk have passed.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import RESTORED, Callback, Portal, PortalState, State, UnknownPolicy, utcnow
from bx24app.models.callbacks.attempt import CALL_LASTS, LONG_TALK, RING_TIME
from bx24app.services.callbacks.number_holder import keep_waiting, pass_on_unrung
from bx24app.services.callbacks.retry_policy import dials_left, retry_policy_of
from bx24app.services.runtime.apart import apart, is_left_alone

REPORTS_EXPECTED_WITHIN = RING_TIME + LONG_TALK
# Of all portals, and of one of them: a portal that loses many outcomes keeps those of no other waiting.
DEADLINES_AT_ONCE = 1000
DEADLINES_OF_PORTAL = 10


def apply_deadlines() -> int:
    """Decide about callbacks for which no call report can come any more; returns how many."""
    with reading() as session:
        rows = session.execute(_overdue_in_turns(utcnow())).all()
    decided = 0
    for callback_id, state, lost_at, portal in rows:
        is_early = state == State.UNKNOWN and not _is_told_all(portal, lost_at)
        if not is_early and not is_left_alone("deadline", callback_id):
            with apart("deadline", callback_id):
                decided += _apply_deadline(callback_id)
    return decided


def overdue_callbacks(now: datetime) -> Select[UUID]:
    """Select callbacks for which no call report can come any more.

    In both states ``updated_at`` is when the outcome was lost or the call was last heard of.
    """
    is_overdue = or_(
        (Callback.state == State.UNKNOWN) & (Callback.updated_at < now - REPORTS_EXPECTED_WITHIN),
        Callback.state.in_((State.STARTED, State.ANSWERED)) & (Callback.updated_at < now - CALL_LASTS),
    )
    return select(Callback.id).where(Callback.holds_number & is_overdue)


def _overdue_in_turns(now: datetime) -> Select[UUID, str, datetime, Portal]:
    """Select a few of each portal, those that wait longest; with what tells whether it is their time."""
    place = func.row_number().over(partition_by=Callback.portal_id, order_by=(Callback.updated_at, Callback.id))
    ranked = overdue_callbacks(now).add_columns(place.label("place")).subquery("ranked")
    return (
        select(Callback.id, Callback.state, Callback.updated_at, Portal)
        .join(ranked, ranked.c.id == Callback.id)
        .join(Portal, Portal.id == Callback.portal_id)
        .where(ranked.c.place <= DEADLINES_OF_PORTAL)
        .order_by(ranked.c.place, Callback.updated_at)
        .limit(DEADLINES_AT_ONCE)
    )


def _is_readable(portal: Portal) -> bool:
    return portal.state == PortalState.INSTALLED and portal.history_problem is None


def _is_told_all(portal: Portal, lost_at: datetime) -> bool:
    """Tell whether the history was read after the deadline, unless it cannot be read at all."""
    read_at = portal.history_read_at
    return not _is_readable(portal) or (read_at is not None and read_at >= lost_at + REPORTS_EXPECTED_WITHIN)


def _apply_deadline(callback_id: UUID) -> bool:
    with writing() as session:
        callback = session.get(Callback, callback_id, with_for_update=True)
        now = utcnow()
        if callback is None or not callback.holds_number or callback.updated_at > now - REPORTS_EXPECTED_WITHIN:
            return False
        if callback.state == State.UNKNOWN:
            return _decide_unknown(session, callback, now)
        if callback.state in (State.STARTED, State.ANSWERED):
            _close(session, callback, now)
            return True
    return False


def _decide_unknown(session: Session, callback: Callback, now: datetime) -> bool:
    portal = session.get_one(Portal, callback.portal_id)
    if not _is_told_all(portal, callback.updated_at):
        return False
    is_readable = _is_readable(portal)
    policy = retry_policy_of(session, portal, callback)
    inputs = {"history": "read" if is_readable else portal.history_problem or portal.state, "policy": policy.unknown}
    left = dials_left(policy, callback)
    is_restored = callback.reason == RESTORED
    if is_restored and is_readable and callback.due_at > now and callback.asks_since is None:
        return _wait_on(callback, now)
    # What was due before the database was restored may have been dialled, or withdrawn: a person decides.
    if not is_restored and policy.unknown == UnknownPolicy.DIAL_AGAIN and left > 0 and callback.asks_since is None:
        callback.decide("deadline_dials_again", now, left=left, **inputs)
        callback.dial_again(now, now + policy.expiry)
        keep_waiting(session, callback, now)
        return True
    callback.ask_person(now)
    callback.free_number(now)
    callback.decide("deadline_asks", now, **inputs)
    pass_on_unrung(session, callback, now)
    return True


def _wait_on(callback: Callback, now: datetime) -> bool:
    """Keep the planned time of a restored callback: the whole history since the backup shows no call of it."""
    callback.put_back(callback.attempts[-1], now, callback.due_at, RESTORED)
    callback.decide("deadline_waits_on", now)
    return True


def _close(session: Session, callback: Callback, now: datetime) -> None:
    """Close a call whose end the history never told. The app does not dial it again by itself.

    That somebody picked up was told by an event at the most, so it completes nothing: a person looks at what is missed.
    """
    attempt, state = callback.attempts[-1], callback.state
    attempt.give_up(now)
    callback.miss(now, "end_not_seen")
    callback.decide("closed_unseen", now, attempt=attempt.number, state=state)
    pass_on_unrung(session, callback, now)

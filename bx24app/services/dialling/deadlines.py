"""When no call report can be awaited any more: the policy decides about unknown outcomes, calls without an end close.

A row of the history appears only after its call has ended, so that absence proves nothing before ring time and a long
talk have passed.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import RESTORED, Callback, Portal, PortalState, State, UnknownPolicy, utcnow
from bx24app.services.callbacks.retry_policy import dials_left, retry_policy_of

RING_TIME = timedelta(minutes=2)
LONG_TALK = timedelta(hours=1)
REPORTS_EXPECTED_WITHIN = RING_TIME + LONG_TALK
# A call that is known to have begun is given up only when nobody can still be talking.
CALL_LASTS = timedelta(hours=4)
DEADLINES_AT_ONCE = 50


def apply_deadlines() -> int:
    """Decide about callbacks for which no call report can come any more; returns how many."""
    with reading() as session:
        ids = session.scalars(overdue_callbacks(utcnow())).all()
    return sum(_apply_deadline(callback_id) for callback_id in ids)


def overdue_callbacks(now: datetime) -> Select[UUID]:
    """Select callbacks for which no call report can come any more.

    In both states ``updated_at`` is when the outcome was lost or the call was last heard of.
    """
    is_overdue = or_(
        (Callback.state == State.UNKNOWN) & (Callback.updated_at < now - REPORTS_EXPECTED_WITHIN),
        Callback.state.in_((State.STARTED, State.ANSWERED)) & (Callback.updated_at < now - CALL_LASTS),
    )
    return select(Callback.id).where(Callback.holds_number & is_overdue).limit(DEADLINES_AT_ONCE)


def _apply_deadline(callback_id: UUID) -> bool:
    with writing() as session:
        callback = session.get(Callback, callback_id, with_for_update=True)
        now = utcnow()
        if callback is None or not callback.holds_number or callback.updated_at > now - REPORTS_EXPECTED_WITHIN:
            return False
        if callback.state == State.UNKNOWN:
            return _decide_unknown(session, callback, now)
        if callback.state in (State.STARTED, State.ANSWERED):
            _close(callback, now)
            return True
    return False


def _decide_unknown(session: Session, callback: Callback, now: datetime) -> bool:
    portal = session.get_one(Portal, callback.portal_id)
    lost_at = callback.updated_at
    read_at = portal.history_read_at
    # The history must have been read after the deadline, unless it cannot be read at all.
    is_readable = portal.state == PortalState.INSTALLED and portal.history_problem is None
    if is_readable and (read_at is None or read_at < lost_at + REPORTS_EXPECTED_WITHIN):
        return False
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
        return True
    callback.ask_person(now)
    callback.free_number(now)
    callback.decide("deadline_asks", now, **inputs)
    return True


def _wait_on(callback: Callback, now: datetime) -> bool:
    """Keep the planned time of a restored callback: the whole history since the backup shows no call of it."""
    callback.put_back(callback.attempts[-1], now, callback.due_at, RESTORED)
    callback.decide("deadline_waits_on", now)
    return True


def _close(callback: Callback, now: datetime) -> None:
    """Close a call whose end the history never told. The app does not dial it again by itself.

    That somebody picked up was told by an event at the most, so it completes nothing: a person looks at what is missed.
    """
    attempt, state = callback.attempts[-1], callback.state
    attempt.give_up(now)
    callback.miss(now, "end_not_seen")
    callback.decide("closed_unseen", now, attempt=attempt.number, state=state)

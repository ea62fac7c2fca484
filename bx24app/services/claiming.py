"""Who dials next: claiming due callbacks by lease, and giving up what nobody follows any more."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from bx24app.extensions import reading, writing
from bx24app.models import IN_HAND, WAITING, Callback, State, utcnow

# Longer than connecting (5 s) and reading (65 s) together: a lease ends only when its worker is gone.
LEASE = timedelta(seconds=90)
DIALS_PER_PORTAL = 2


@dataclass(frozen=True)
class Claim:
    """A waiting callback that this worker alone may dial, while the lease's number stands."""

    callback_id: UUID
    portal_id: int
    lease_fence: int


def _due(now: datetime) -> Select[Callback]:
    """Waiting callbacks of portals with a dial to spare, oldest first, each for one worker only."""
    other = aliased(Callback)
    # What a worker has claimed will be dialled in a moment, and counts.
    taken = and_(other.state == State.QUEUED, other.leased_until >= now)
    dialling = (
        select(func.count())
        .select_from(other)
        .where(other.portal_id == Callback.portal_id, or_(other.state == State.DIALLING, taken))
        .scalar_subquery()
    )
    number_in_hand = (
        select(other.id)
        .where(other.portal_id == Callback.portal_id, other.to_number == Callback.to_number)
        .where(other.state.in_(IN_HAND), other.id != Callback.id)
        .exists()
    )
    return (
        select(Callback)
        .where(Callback.state.in_(WAITING), Callback.due_at <= now)
        .where(or_(Callback.leased_until.is_(None), Callback.leased_until < now))
        .where(dialling < DIALS_PER_PORTAL, ~number_in_hand)
        .order_by(Callback.due_at)
        .limit(1)
    )


def claim() -> Claim | None:
    """Take the next due callback, or None. Commits; a claim that is not followed up ends with its lease."""
    with reading() as session:
        # Looking costs no lock: most of the time there is nothing to claim.
        if session.scalar(_due(utcnow()).with_only_columns(Callback.id)) is None:
            return None
    try:
        with writing() as session:
            return _claim(session, utcnow())
    except IntegrityError:
        return None  # A request for the same number was accepted in between: the scheduled one waits for it.


def _claim(session: Session, now: datetime) -> Claim | None:
    callback = session.scalar(_due(now).with_for_update(skip_locked=True))
    if callback is None:
        return None
    if callback.expires_at < now:
        _expire(callback, now)
        return None
    if callback.state == State.SCHEDULED:
        callback.queue(now)
    return Claim(callback.id, callback.portal_id, callback.lease(now, now + LEASE))


def _expire(callback: Callback, now: datetime) -> None:
    callback.expire(now)
    callback.decide("expired", now, expires_at=callback.expires_at.isoformat())


def claimed(session: Session, claim: Claim) -> Callback | None:
    """The claimed callback, locked, if the claim still stands."""
    callback = session.get(Callback, claim.callback_id, with_for_update=True)
    stands = callback is not None and callback.state == State.QUEUED and callback.lease_fence == claim.lease_fence
    return callback if stands else None


def sweep() -> int:
    """Give up attempts whose worker is gone, and waiting callbacks whose time is over; returns how many."""
    with writing() as session:
        now = utcnow()
        abandoned = session.scalars(
            select(Callback)
            .where(Callback.state == State.DIALLING, Callback.leased_until < now)
            .with_for_update(skip_locked=True)
        ).all()
        for callback in abandoned:
            callback.lose_sight(callback.attempts[-1], now, "dial_interrupted")
            callback.decide("abandoned", now, attempt=callback.attempts[-1].number)
        late = session.scalars(
            select(Callback)
            .where(Callback.state.in_(WAITING), Callback.expires_at < now)
            .where(or_(Callback.leased_until.is_(None), Callback.leased_until < now))
            .with_for_update(skip_locked=True)
        ).all()
        for callback in late:
            _expire(callback, now)
    return len(abandoned) + len(late)

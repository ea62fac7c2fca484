"""Ending what nobody dials any more: dials that a dead worker left behind, and what has waited too long."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, or_, select, true

from bx24app.database import reading, writing
from bx24app.models import IS_WAITING, Callback, State, utcnow
from bx24app.services.dialling import waiting_decoys
from bx24app.services.dialling.expiry import expire
from bx24app.services.dialling.queue import is_free, is_leased

# In one run, and in one transaction: whoever waits behind one of them is given its place in it.
MAX_EXPIRED, EXPIRED_TOGETHER = 500, 10


def _is_forsaken(now: datetime) -> ColumnElement[bool]:
    return and_(Callback.state == State.DIALLING, ~is_leased(Callback.leased_until, now))


def _is_late(now: datetime) -> ColumnElement[bool]:
    return and_(IS_WAITING, Callback.expires_at < now, Callback.due_at <= now, is_free(now))


def abandoned_callbacks(now: datetime) -> Select[bool]:
    """Select something, if a worker died while it dialled, or a callback or a decoy has waited too long."""
    callbacks = select(Callback.id).where(or_(_is_forsaken(now), _is_late(now)))
    return select(true()).where(callbacks.exists() | waiting_decoys.overdue_decoys(now).exists())


def expire_abandoned() -> int:
    """End attempts whose worker died, and expire what waited too long; returns how many callbacks ended."""
    with reading() as session:
        if session.scalar(abandoned_callbacks(utcnow())) is None:
            return 0
    with writing() as session:
        now = utcnow()
        forsaken = select(Callback).where(_is_forsaken(now))
        abandoned = session.scalars(forsaken.with_for_update(skip_locked=True)).all()
        for callback in abandoned:
            callback.mark_unknown(callback.attempts[-1], now, "dial_interrupted")
            callback.decide("abandoned", now, attempt=callback.attempts[-1].number)
        waiting_decoys.expire_overdue(session, now, MAX_EXPIRED)
    ended = len(abandoned)
    for _ in range(MAX_EXPIRED // EXPIRED_TOGETHER):
        expired = _expire_few()
        ended += expired
        if expired < EXPIRED_TOGETHER:
            break
    return ended


def _expire_few() -> int:
    with writing() as session:
        now = utcnow()
        late = select(Callback).where(_is_late(now)).limit(EXPIRED_TOGETHER)
        overdue = session.scalars(late.with_for_update(skip_locked=True)).all()
        for callback in overdue:
            expire(session, callback, now)
    return len(overdue)

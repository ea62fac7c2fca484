"""Ending what nobody dials any more: dials that a dead worker left behind, and what has waited too long."""

import time
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, or_, select, true

from bx24app.database import reading, writing
from bx24app.models import IS_WAITING, Callback, Portal, State, utcnow
from bx24app.services.dialling import waiting_decoys
from bx24app.services.dialling.expiry import expire
from bx24app.services.dialling.queue import is_free, is_leased
from bx24app.services.runtime.apart import apart, is_left_alone

# Of a portal in its turn, and in one transaction: whoever waits behind one of them is given its place in it.
EXPIRED_TOGETHER = 10
# A run begins each second, and takes a quarter of it where very many expire: others want to write as well, and what has
# waited too long meanwhile has its turn in the next run.
RUN_SECONDS = 0.25


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
    until = time.monotonic() + RUN_SECONDS
    ended = _end_forsaken()
    while waiting_decoys.expire_some() and time.monotonic() < until:
        pass
    return ended + _expire_in_turns(until)


def _end_forsaken() -> int:
    with writing() as session:
        now = utcnow()
        forsaken = select(Callback).where(_is_forsaken(now))
        abandoned = session.scalars(forsaken.with_for_update(skip_locked=True)).all()
        for callback in abandoned:
            callback.mark_unknown(callback.attempts[-1], now, "dial_interrupted")
            callback.decide("abandoned", now, attempt=callback.attempts[-1].number)
    return len(abandoned)


def _expire_in_turns(until: float) -> int:
    """Expire a few callbacks of each portal, again and again until that time (monotonic); returns how many."""
    with reading(single_statement=True) as session:
        portals = list(session.scalars(_portals_in_turn(utcnow())))
    ended = 0
    while portals:
        expired = {portal_id: _expire_apart(portal_id) for portal_id in portals}
        ended += sum(expired.values())
        portals = [portal_id for portal_id in portals if expired[portal_id] == EXPIRED_TOGETHER]
        # Only between rounds: within one it would be the same portals each time that have no turn.
        if time.monotonic() >= until:
            break
    return ended


def _portals_in_turn(now: datetime) -> Select[int]:
    """Select the portals of what has waited too long, the one that waits longest first.

    Portal by portal an index leads to the first ones; to rank all of them takes half a second where one portal has
    100,000, each time.
    """
    late = select(Callback.due_at).where(Callback.portal_id == Portal.id, _is_late(now))
    first = select(Portal.id, late.order_by(Callback.due_at).limit(1).scalar_subquery().label("due_at")).subquery()
    return select(first.c.id).where(first.c.due_at.is_not(None)).order_by(first.c.due_at)


def _expire_apart(portal_id: int) -> int:
    expired = 0
    if not is_left_alone("expiry", portal_id):
        with apart("expiry", portal_id):
            expired = _expire_few(portal_id)
    return expired


def _expire_few(portal_id: int) -> int:
    with writing() as session:
        now = utcnow()
        late = select(Callback).where(Callback.portal_id == portal_id, _is_late(now)).order_by(Callback.due_at)
        overdue = session.scalars(late.limit(EXPIRED_TOGETHER).with_for_update(skip_locked=True)).all()
        for callback in overdue:
            expire(session, callback, now)
    return len(overdue)

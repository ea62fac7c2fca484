"""Decoys that wait in the queue of callbacks (queue.py), which says when each of them leaves it."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from bx24app.database import writing
from bx24app.models import IS_UNRELEASED, DecoyRequest, Form, Portal, State, utcnow
from bx24app.services.portals import tokens

# By one statement: many of one portal take so little time that they need no turns.
EXPIRED_AT_ONCE = 500


def due_decoys(now: datetime) -> Select[DecoyRequest]:
    """Select decoys that are due and not released."""
    return select(DecoyRequest).where(IS_UNRELEASED, DecoyRequest.due_at <= now)


def overdue_decoys(now: datetime) -> Select[DecoyRequest]:
    """Select decoys that have waited for longer than a callback may."""
    return due_decoys(now).where(DecoyRequest.expires_at < now)


def lock_oldest(
    session: Session, portal_id: int, full: Collection[str], most: int, now: datetime
) -> Sequence[DecoyRequest]:
    """Lock at most so many due decoys of a portal, oldest first, without those of ``full`` lines."""
    of_portal = DecoyRequest.form_id.in_(select(Form.id).where(Form.portal_id == portal_id))
    unreleased = due_decoys(now).where(of_portal, DecoyRequest.line_id.not_in(full))
    oldest = unreleased.order_by(DecoyRequest.due_at).limit(most)
    return session.scalars(oldest.with_for_update(skip_locked=True)).all()


def release(session: Session, portal: Portal, decoy: DecoyRequest, now: datetime) -> None:
    """Let a decoy leave the queue, to what a callback that is leased now would come to."""
    if decoy.expires_at is not None and decoy.expires_at < now:
        decoy.release(now, State.EXPIRED)
    elif not tokens.is_served(session, portal):
        decoy.release(now, State.FAILED)
    else:
        decoy.release(now)


def expire_some() -> bool:
    """End some decoys that have waited too long, whosever they are; commits. Tells whether there may be more."""
    with writing() as session:
        now = utcnow()
        overdue = overdue_decoys(now).with_only_columns(DecoyRequest.id).limit(EXPIRED_AT_ONCE)
        ids = session.scalars(overdue.with_for_update(skip_locked=True)).all()
        if ids:
            ended = {"released_at": now, "ended_as": State.EXPIRED}
            session.execute(update(DecoyRequest).where(DecoyRequest.id.in_(ids)).values(ended))
    return len(ids) == EXPIRED_AT_ONCE

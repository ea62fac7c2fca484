"""A callback that could not be dialled in time: its end, and what becomes of those who waited behind it."""

from datetime import datetime

from sqlalchemy.orm import Session

from bx24app.models import Callback
from bx24app.services.callbacks.number_holder import pass_on_unrung


def expire(session: Session, callback: Callback, now: datetime) -> None:
    """End a locked callback inside the caller's transaction."""
    callback.expire(now)
    callback.decide("expired", now, expires_at=callback.expires_at.isoformat())
    pass_on_unrung(session, callback, now)

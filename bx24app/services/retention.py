"""Forgetting callbacks that ended long ago, with their attempts, decisions and events."""

from datetime import timedelta

from sqlalchemy import delete, select

from bx24app.extensions import reading, writing
from bx24app.models import FINAL, Callback, utcnow
from bx24app.settings import settings

AT_ONCE = 500


def forget_old_callbacks() -> int:
    """Delete some of the callbacks that are older than the operator keeps them; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    old = select(Callback.id).where(Callback.state.in_(FINAL), Callback.due_at < limit, Callback.updated_at < limit)
    with reading() as session:
        ids = session.scalars(old.limit(AT_ONCE)).all()
    if not ids:
        return 0
    with writing() as session:
        session.execute(delete(Callback).where(Callback.id.in_(ids)))
    return len(ids)

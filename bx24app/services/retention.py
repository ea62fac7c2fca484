"""Purging what is older than it may be kept: callbacks with all that belongs to them, and what came with requests."""

from datetime import timedelta

from sqlalchemy import delete, select, update

from bx24app.database import reading, writing
from bx24app.models import (
    FINAL,
    Callback,
    WebsiteRequest,
    utcnow,
)
from bx24app.services.runtime import rate_limit
from bx24app.services.websites import budgets, rejections, status_page
from bx24app.settings import settings

PURGED_AT_ONCE = 500


def purge_callbacks() -> int:
    """Delete some of the callbacks that are older than the operator keeps them; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    old = select(Callback.id).where(Callback.state.in_(FINAL), Callback.due_at < limit, Callback.updated_at < limit)
    with reading() as session:
        ids = session.scalars(old.limit(PURGED_AT_ONCE)).all()
    if not ids:
        return 0
    with writing() as session:
        session.execute(delete(Callback).where(Callback.id.in_(ids)))
    return len(ids)


def purge_public() -> int:
    """Delete full buckets and spent proofs, old refusals, ghosts, counts and addresses; returns how many rows."""
    return (
        rate_limit.purge_full_buckets()
        + rejections.purge_rejections()
        + status_page.purge_decoys()
        + budgets.purge_budget_days()
        + purge_addresses()
    )


def purge_addresses() -> int:
    """Erase the visitors' addresses from requests older than the operator keeps callbacks; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    old = update(WebsiteRequest).where(WebsiteRequest.created_at < limit, WebsiteRequest.address.is_not(None))
    with writing() as session:
        return len(session.execute(old.values(address=None).returning(WebsiteRequest.id)).all())

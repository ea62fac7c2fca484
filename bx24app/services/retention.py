"""Purging what is older than it may be kept: callbacks with all that belongs to them, and what came with requests."""

from datetime import timedelta

from sqlalchemy import select

from bx24app.database import change_many, purge
from bx24app.models import FINAL, Callback, Form, JournalEntry, WebsiteRequest, utcnow
from bx24app.services.reports import counting
from bx24app.services.runtime import rate_limit
from bx24app.services.websites import budgets, rejections, status_page
from bx24app.settings import settings

PURGED_AT_ONCE = 500


def purge_callbacks() -> int:
    """Delete some of the callbacks that are older than the operator keeps them; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    is_old = Callback.state.in_(FINAL) & (Callback.due_at < limit) & (Callback.updated_at < limit)
    return counting.delete_counted(is_old, PURGED_AT_ONCE)


def purge_journal() -> int:
    """Delete entries of the journal that are older than the operator keeps callbacks; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    return purge(JournalEntry, JournalEntry.made_at < limit, oldest_first=True)


def purge_visitors() -> int:
    """Delete full buckets and spent proofs, old rejections, decoys, counts and addresses; returns how many rows."""
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
    # Through the forms, for the index begins with them.
    is_old = WebsiteRequest.form_id.in_(select(Form.id)) & (WebsiteRequest.created_at < limit)
    return change_many(WebsiteRequest, is_old & WebsiteRequest.address.is_not(None), {"address": None})

"""Forgetting what came with requests of the public, once it is not needed any more."""

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from bx24app.extensions import writing
from bx24app.models import ApiKey, DoNotCall, Form, Ghost, Portal, Refusal, WebsiteRequest, utcnow
from bx24app.services import budgets, customers, limits, refusals
from bx24app.settings import settings


def forget_public() -> int:
    """Delete full buckets and spent proofs, old refusals, ghosts, counts and addresses; returns how many rows."""
    return (
        limits.forget_full()
        + refusals.forget_old()
        + customers.forget_ghosts()
        + budgets.forget_old_days()
        + forget_addresses()
    )


def forget_addresses() -> int:
    """Erase the visitors' addresses from requests older than the operator keeps callbacks; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    old = update(WebsiteRequest).where(WebsiteRequest.created_at < limit, WebsiteRequest.address.is_not(None))
    with writing() as session:
        return len(session.execute(old.values(address=None).returning(WebsiteRequest.id)).all())


def forget_visitors(session: Session, portal: Portal) -> None:
    """Leave of a removed portal's websites only the forms' settings and the digests of numbers not to be called.

    The requests themselves go with their callbacks.
    """
    for model in (ApiKey, Refusal):
        session.execute(delete(model).where(model.portal_id == portal.id))
    own = select(Form.id).where(Form.portal_id == portal.id)
    session.execute(delete(Ghost).where(Ghost.form_id.in_(own)))
    listed = update(DoNotCall).where(DoNotCall.portal_id == portal.id)
    session.execute(listed.values(number=None, note=None, added_by=None))

"""Adding a card for a customer whom the CRM does not know."""

from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24 import crm
from bx24app.database import writing
from bx24app.errors import Refusal
from bx24app.models import Callback, CrmState, Portal, WebsiteRequest, utcnow
from bx24app.outgoing.errors import ExchangeError, NoUsableAnswer
from bx24app.services.crm.crm_requests import (
    CRM_LEASE,
    GIVE_UP_AFTER,
    SHORTEST_CRM_WAIT,
    CrmLease,
    is_final,
    leased_request,
    pause_after,
    put_off,
    reason_of,
    settle,
    show_in_card,
)
from bx24app.services.portals import api as portal_api

log = structlog.get_logger(__name__)

# Longer than the platform works on one request.
LOST_ANSWER_PAUSE = timedelta(seconds=120)
MAX_ASKS = 2


def make_card(lease: CrmLease, kind: str, asked: int, contact_id: int | None = None) -> None:
    """Ask for a new card. It is recorded first, so that a lost answer is never followed by a blind second request."""
    if asked >= MAX_ASKS:
        settle(lease, CrmState.FAILED, ("CONTACT", contact_id) if contact_id else None, "crm_unknown")
        return
    if not _mark(lease, kind, asked + 1):
        return
    label = portal_api.RequestLabel(f"crm.{kind.lower()}.add", {"ORIGIN_ID": lease.card.origin})
    try:
        made = portal_api.call_for_portal(
            lease.portal_id, label, lambda client: crm.add_card(client, kind, lease.card, contact_id)
        )
    except NoUsableAnswer as error:
        log.info("crm_unknown", callback=str(lease.callback_id), reason=error.code)
        put_off(lease, LOST_ANSWER_PAUSE)
    except (ExchangeError, Refusal) as error:
        _not_made(lease, kind, asked, error)
    else:
        _made(lease, kind, made, contact_id)


def _made(lease: CrmLease, kind: str, made: int, contact_id: int | None) -> None:
    if kind != "CONTACT":
        settle(lease, CrmState.CREATED, ("CONTACT", contact_id) if contact_id else (kind, made))
        return
    with writing() as session:
        callback = session.get(Callback, lease.callback_id, with_for_update=True)
        if callback is not None:
            show_in_card(callback, "CONTACT", made)
    make_card(lease, "DEAL", 0, made)


def _not_made(lease: CrmLease, kind: str, asked: int, error: ExchangeError | Refusal) -> None:
    """Handle a refusal: nothing was executed, so the card is tried later, or the search ends with the reason."""
    if is_final(error) or lease.age > GIVE_UP_AFTER:
        settle(lease, CrmState.FAILED, None, reason_of(error), error.words)
        return
    with writing() as session:
        request = leased_request(session, lease)
        if request is not None:
            request.ask_crm(kind, asked, utcnow())
            request.wait_for_crm(utcnow() + pause_after(lease))


def _mark(lease: CrmLease, kind: str, number: int) -> bool:
    """Commit that the CRM is about to be asked; False when the lease has ended or the same number is asked for."""
    with writing() as session:
        # The portal is locked first, so that two requests for one number cannot both find no card.
        session.get(Portal, lease.portal_id, with_for_update=True)
        request = leased_request(session, lease)
        if request is None:
            return False
        if _is_asked_for(session, request, lease.portal_id):
            request.wait_for_crm(utcnow() + SHORTEST_CRM_WAIT)
            return False
        now = utcnow()
        request.ask_crm(kind, number, now + LOST_ANSWER_PAUSE)
        request.leased_until = now + CRM_LEASE
    return True


def _is_asked_for(session: Session, request: WebsiteRequest, portal_id: int) -> bool:
    other = (
        select(WebsiteRequest.id)
        .join(Callback, Callback.id == WebsiteRequest.callback_id)
        .where(Callback.portal_id == portal_id, WebsiteRequest.id != request.id)
        .where(WebsiteRequest.number_digest == request.number_digest, WebsiteRequest.crm_due_at.is_not(None))
        .where(WebsiteRequest.crm_state == CrmState.ASKING)
    )
    return session.scalar(other.limit(1)) is not None

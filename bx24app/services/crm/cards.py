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
from bx24app.services.crm.queue import (
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

# Longer than the platform works at a request.
LOST_ANSWER_PAUSE = timedelta(seconds=120)
MAX_ASKS = 2


def make_card(claim: CrmLease, kind: str, asked: int, contact_id: int | None = None) -> None:
    """Ask for a new card: marked before, so that a lost answer is never followed by a blind second request."""
    if asked >= MAX_ASKS:
        settle(claim, CrmState.FAILED, ("CONTACT", contact_id) if contact_id else None, "crm_unknown")
        return
    if not _mark(claim, kind, asked + 1):
        return
    label = portal_api.RequestLabel(f"crm.{kind.lower()}.add", {"ORIGIN_ID": claim.card.origin})
    try:
        made = portal_api.call_for_portal(
            claim.portal_id, label, lambda client: crm.add_card(client, kind, claim.card, contact_id)
        )
    except NoUsableAnswer as error:
        log.info("crm_unknown", callback=str(claim.callback_id), reason=error.code)
        put_off(claim, LOST_ANSWER_PAUSE)
    except (ExchangeError, Refusal) as error:
        _not_made(claim, kind, asked, error)
    else:
        _made(claim, kind, made, contact_id)


def _made(claim: CrmLease, kind: str, made: int, contact_id: int | None) -> None:
    if kind != "CONTACT":
        settle(claim, CrmState.CREATED, ("CONTACT", contact_id) if contact_id else (kind, made))
        return
    with writing() as session:
        callback = session.get(Callback, claim.callback_id, with_for_update=True)
        if callback is not None:
            show_in_card(callback, "CONTACT", made)
    make_card(claim, "DEAL", 0, made)


def _not_made(claim: CrmLease, kind: str, asked: int, error: ExchangeError | Refusal) -> None:
    """Nothing was executed: it is tried later, or told to people."""
    if is_final(error) or claim.age > GIVE_UP_AFTER:
        settle(claim, CrmState.FAILED, None, reason_of(error), error.words)
        return
    with writing() as session:
        request = leased_request(session, claim)
        if request is not None:
            request.ask_crm(kind, asked, utcnow())
            request.wait_for_crm(utcnow() + pause_after(claim))


def _mark(claim: CrmLease, kind: str, number: int) -> bool:
    """Commit that the CRM is about to be asked; False when somebody else does, or asks for the same number."""
    with writing() as session:
        # Locked first, so that two requests of one number do not both find nothing.
        session.get(Portal, claim.portal_id, with_for_update=True)
        request = leased_request(session, claim)
        if request is None:
            return False
        if _is_asked_for(session, request, claim.portal_id):
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

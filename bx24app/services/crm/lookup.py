"""Finding the customer of a website's request in the CRM, or making a card, without ever keeping the call waiting.

Making has no idempotency key, so it is fenced like a dial: marked and committed before the portal is asked. When the
answer is lost the number and our own mark on the card are looked up again, once the platform must have finished (it
cuts requests at 60 s); only a look that finds nothing lets it be asked a second and last time.
"""

import structlog

from bx24app.bitrix24 import crm
from bx24app.bitrix24.crm import CrmMatches
from bx24app.errors import Refusal
from bx24app.models import CrmState
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.crm.cards import make_card
from bx24app.services.crm.queue import (
    GIVE_UP_AFTER,
    CrmLease,
    is_final,
    pause_after,
    put_off,
    reason_of,
    settle,
)
from bx24app.services.portals import api as portal_api

log = structlog.get_logger(__name__)


def process_crm_request(claim: CrmLease) -> None:
    """Look the customer up, or make a card; whatever happens is kept with the request."""
    origin = {"ORIGIN_ID": claim.card.origin}
    label = portal_api.RequestLabel("batch", {"crm.duplicate.findbycomm": claim.card.number, **origin})
    try:
        known = portal_api.call_for_portal(
            claim.portal_id, label, lambda client: crm.look_up(client, claim.card.number, claim.card.origin)
        )
    except (ExchangeError, Refusal) as error:
        _looked_in_vain(claim, error)
        return
    _decide(claim, known)


def _decide(claim: CrmLease, known: CrmMatches) -> None:
    if "DEAL" in known.made or "LEAD" in known.made:
        settle(claim, CrmState.CREATED, _ours(known))
    elif claim.kind == "DEAL" or "CONTACT" in known.made:
        # The person is made, the deal is not, or not yet.
        make_card(claim, "DEAL", claim.asked if claim.kind == "DEAL" else 0, known.made.get("CONTACT"))
    elif known.customer is not None:
        settle(claim, CrmState.FOUND, known.customer)
    elif known.denied is not None:
        _looked_in_vain(claim, known.denied)
    elif claim.creates:
        make_card(claim, "CONTACT" if known.is_simple else "LEAD", claim.asked)
    else:
        settle(claim, CrmState.NONE, None)


def _ours(known: CrmMatches) -> tuple[str, int]:
    kind = next(kind for kind in ("CONTACT", "LEAD", "DEAL") if kind in known.made)
    return kind, known.made[kind]


def _looked_in_vain(claim: CrmLease, error: ExchangeError | Refusal) -> None:
    """Looking harms nobody: it is repeated unless the portal said no."""
    if is_final(error) or claim.age > GIVE_UP_AFTER:
        settle(claim, CrmState.FAILED, None, reason_of(error), error.words)
    else:
        put_off(claim, pause_after(claim))

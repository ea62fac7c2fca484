"""Finding the customer of a website's request in the CRM, or making a card, without ever keeping the call waiting.

Making has no idempotency key, so it is fenced like a dial: marked and committed before the portal is asked. When the
answer is lost the number and our own mark on the card are looked up again, once the platform must have finished (it
cuts requests at 60 s); only a look that finds nothing lets it be asked a second and last time.
"""

import structlog

from bx24app.bitrix24 import crm
from bx24app.bitrix24.crm import CrmMatches
from bx24app.bitrix24.errors import RefusedForNow
from bx24app.errors import Refusal
from bx24app.models import CrmState
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling.spellings import spellings_of
from bx24app.services.crm.cards import make_card
from bx24app.services.crm.crm_requests import (
    GIVE_UP_AFTER,
    CrmLease,
    is_final,
    pause_after,
    put_off,
    reason_of,
    settle,
)
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import throttle

log = structlog.get_logger(__name__)


def process_crm_request(lease: CrmLease) -> None:
    """Look the customer up, or make a card; every outcome is recorded with the request."""
    spellings = spellings_of(lease.card.number, lease.countries)
    origin = {"ORIGIN_ID": lease.card.origin}
    label = portal_api.RequestLabel("batch", {"crm.duplicate.findbycomm": lease.card.number, **origin})
    try:
        known = portal_api.call_for_portal(
            lease.portal_id, label, lambda client: crm.look_up(client, spellings, lease.card.origin)
        )
    except (ExchangeError, Refusal) as error:
        _looked_in_vain(lease, error)
        return
    _decide(lease, known)


def _decide(lease: CrmLease, known: CrmMatches) -> None:
    if "DEAL" in known.made or "LEAD" in known.made:
        settle(lease, CrmState.CREATED, _ours(known))
    elif lease.kind == "DEAL" or "CONTACT" in known.made:
        # The contact was created, but the deal was not, or not yet.
        make_card(lease, "DEAL", lease.asked if lease.kind == "DEAL" else 0, known.made.get("CONTACT"))
    elif known.customer is not None:
        settle(lease, CrmState.FOUND, known.customer)
    elif known.denied is not None:
        if isinstance(known.denied, RefusedForNow):
            throttle.note_refusal(lease.portal_id, known.denied)
        _looked_in_vain(lease, known.denied)
    elif lease.creates:
        make_card(lease, "CONTACT" if known.is_simple else "LEAD", lease.asked)
    else:
        settle(lease, CrmState.NONE, None)


def _ours(known: CrmMatches) -> tuple[str, int]:
    kind = next(kind for kind in ("CONTACT", "LEAD", "DEAL") if kind in known.made)
    return kind, known.made[kind]


def _looked_in_vain(lease: CrmLease, error: ExchangeError | Refusal) -> None:
    """Handle a failed lookup: it changes nothing in the CRM, so it is repeated unless the portal said no."""
    if is_final(error) or lease.age > GIVE_UP_AFTER:
        settle(lease, CrmState.FAILED, None, reason_of(error), error.words)
    else:
        put_off(lease, pause_after(lease))

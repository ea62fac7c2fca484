"""A portal's new address: the one place where it is checked and taken."""

from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from bx24app.bitrix24.connections import portal_clients
from bx24app.models import Portal, utcnow
from bx24app.outgoing.errors import AddressForbidden

log = structlog.get_logger(__name__)

ASK_AGAIN = timedelta(days=1)


def take_new_address(portal: Portal, client_endpoint: str) -> None:
    """Give a locked portal the address that the authorization server names, inside the caller's transaction.

    The portal's domain is always the host of that address. For a day nobody has to ask for it again. Raises
    ``AddressForbidden`` for an address that we may not talk to: it is logged and not taken, and a caller that can go on
    with the present address catches the error.
    """
    portal.address_due_at = utcnow() + ASK_AGAIN
    if client_endpoint == portal.client_endpoint:
        return
    try:
        portal_clients(portal.member_id).policy.check(client_endpoint)
    except AddressForbidden:
        log.warning("address_not_taken", member_id=portal.member_id)
        raise
    if portal.client_endpoint:
        log.info("portal_moved", member_id=portal.member_id)
    portal.move(urlsplit(client_endpoint).netloc, client_endpoint)

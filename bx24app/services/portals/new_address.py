"""A portal's new address: the one place where it is checked and taken."""

from urllib.parse import urlsplit

import structlog

from bx24app.bitrix24.connections import portal_clients
from bx24app.models import Portal
from bx24app.outgoing.errors import AddressForbidden

log = structlog.get_logger(__name__)


def take_new_address(portal: Portal, client_endpoint: str) -> None:
    """Give a locked portal the address that the authorization server names, inside the caller's transaction.

    The portal's domain is always the host of that address. The present address changes nothing. Raises
    ``AddressForbidden`` for an address that we may not talk to: it is logged and not taken, and a caller that can go on
    with the present address catches the error.
    """
    if client_endpoint == portal.client_endpoint:
        return
    try:
        portal_clients.policy.check(client_endpoint)
    except AddressForbidden:
        log.warning("address_not_taken", member_id=portal.member_id)
        raise
    if portal.client_endpoint:
        log.info("portal_moved", member_id=portal.member_id)
    portal.move(urlsplit(client_endpoint).netloc, client_endpoint)

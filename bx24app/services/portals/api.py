"""Asking a portal: renewing on expiry, following a confirmed move, and keeping the masked REST log."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy import delete, select

from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.connections import authorization_server, portal_clients
from bx24app.bitrix24.errors import (
    AccessDenied,
    ApplicationRemoved,
    Bitrix24Error,
    CredentialRefused,
    Moved,
    PaymentRequired,
    Refused,
    TokenExpired,
)
from bx24app.database import writing
from bx24app.errors import PortalDisconnected
from bx24app.log import mask_numbers
from bx24app.models import Portal, PortalState, RestCall, utcnow
from bx24app.services.portals import throttle, token_renewal, tokens
from bx24app.services.portals.tokens import Access
from bx24app.settings import settings

log = structlog.get_logger(__name__)
T = TypeVar("T")
# What is spoken to the manager may name the customer: its length is enough for a log.
MAX_LOGGED_WORDS = 500
FREE_TEXT = frozenset({"TEXT_TO_PRONOUNCE"})


@dataclass(frozen=True)
class RequestLabel:
    """What a request is called in the REST log."""

    method: str
    parameters: Mapping[str, object]


def _mask(parameters: Mapping[str, object]) -> dict[str, str]:
    return {
        key: f"({len(str(value))} characters)" if key in FREE_TEXT else mask_numbers(str(value))
        for key, value in parameters.items()
    }


class LoggedExchange:
    """One request and its answer, for the REST log; begins when made."""

    def __init__(self, portal_id: int, user_id: int | None, label: RequestLabel) -> None:
        self._row = RestCall(
            portal_id=portal_id, user_id=user_id, method=label.method, parameters=_mask(label.parameters)
        )
        self._began = time.monotonic()

    def end(self, error: Bitrix24Error | None) -> None:
        """Note how it went; ``error`` None: answered."""
        self._row.status = getattr(error, "status", None) or (200 if error is None else None)
        self._row.error = None if error is None else getattr(error, "error", "") or error.code
        self._row.words = mask_numbers(getattr(error, "words", ""))[:MAX_LOGGED_WORDS] or None
        self._row.duration_ms = round((time.monotonic() - self._began) * 1000)

    def write(self, *, counted: bool = False) -> None:
        """Keep it, and count it against the portal's limit unless that was done before; commits."""
        with writing() as session:
            if not counted:
                throttle.count_request(session, self._row.portal_id, utcnow())
            session.add(self._row)


@contextmanager
def logged(portal_id: int, user_id: int | None, label: RequestLabel) -> Iterator[None]:
    """Write one row of the REST log about what happens inside; ``user_id`` None: not known yet."""
    exchange = LoggedExchange(portal_id, user_id, label)
    try:
        yield
    except Bitrix24Error as error:
        exchange.end(error)
        exchange.write()
        raise
    exchange.end(None)
    exchange.write()


def call(access: Access, label: RequestLabel, work: Callable[[PortalClient], T]) -> T:
    """Let ``work`` ask the portal; never for dialling, for it may be called twice.

    Repeats once after a renewal of an expired token, once after a confirmed move. Buries the credential when it
    is refused for good. Raises ``Bitrix24Error``.
    """
    remedies: dict[type[Bitrix24Error], Callable[[Access], Access]] = {TokenExpired: _renewed, Moved: follow_move}
    while True:
        try:
            return _call(access, label, work)
        except (TokenExpired, Moved) as error:
            remedy = remedies.pop(type(error), None)
            if remedy is None:
                raise
            access = remedy(access)
        except (CredentialRefused, ApplicationRemoved, PaymentRequired) as error:
            tokens.invalidate(access.credential_id, error)
            raise


def _renewed(access: Access) -> Access:
    return token_renewal.renew(access.credential_id, access.generation)


def call_for_portal(portal_id: int, label: RequestLabel, work: Callable[[PortalClient], T], *states: PortalState) -> T:
    """Ask under the portal's own access.

    The next administrator takes over from one who is not accepted any more, or who has lost the right.
    ``states``: of the portal, default installed. Raises ``PortalDisconnected`` or ``Bitrix24Error``.
    """
    denied: AccessDenied | None = None
    for _ in range(tokens.MAX_ADMINISTRATORS):
        access = token_renewal.service_access(portal_id, *states)
        try:
            return call(access, label, work)
        except CredentialRefused:
            continue  # Buried by now.
        except AccessDenied as error:
            denied = error
            if not tokens.demote(access.credential_id):
                break
    raise denied or PortalDisconnected()


def _call(access: Access, label: RequestLabel, work: Callable[[PortalClient], T]) -> T:
    with logged(access.portal_id, access.user_id, label):
        return work(portal_clients.client(access.client_endpoint, access.access_token))


def follow_move(access: Access) -> Access:
    """Ask the authorization server where the portal is now, and keep its answer; raises ``Bitrix24Error``."""
    install = authorization_server.app_info(access.access_token).install
    if install.member_id != access.member_id:
        raise Refused("wrong_client", "the token belongs to another portal")
    portal_clients.policy.check(install.client_endpoint)
    with writing() as session:
        portal = session.scalars(select(Portal).where(Portal.id == access.portal_id).with_for_update()).one()
        portal.move(install.domain, install.client_endpoint)
    return token_renewal.open_access(access.credential_id)


def purge_request_log() -> int:
    """Delete REST log rows older than the operator keeps them; returns how many."""
    with writing() as session:
        limit = utcnow() - timedelta(days=settings.rest_log_days)
        return len(session.execute(delete(RestCall).where(RestCall.made_at < limit).returning(RestCall.id)).all())

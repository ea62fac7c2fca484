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
from bx24app.errors import PortalDisconnected
from bx24app.extensions import writing
from bx24app.log import mask_numbers
from bx24app.models import Portal, PortalState, RestCall, utcnow
from bx24app.services import credentials, pacing
from bx24app.services.connections import authorization_server, portals
from bx24app.services.credentials import Access
from bx24app.settings import settings

log = structlog.get_logger(__name__)
T = TypeVar("T")
# What is spoken to the manager may name the customer: its length is enough for a log.
MAX_WORDS = 500
FREE_TEXT = frozenset({"TEXT_TO_PRONOUNCE"})


@dataclass(frozen=True)
class Label:
    """What a request is called in the REST log."""

    method: str
    parameters: Mapping[str, object]


def _mask(parameters: Mapping[str, object]) -> dict[str, str]:
    return {
        key: f"({len(str(value))} characters)" if key in FREE_TEXT else mask_numbers(str(value))
        for key, value in parameters.items()
    }


class Exchange:
    """One request and its answer, for the REST log; begins when made."""

    def __init__(self, portal_id: int, user_id: int | None, label: Label) -> None:
        self._row = RestCall(
            portal_id=portal_id, user_id=user_id, method=label.method, parameters=_mask(label.parameters)
        )
        self._began = time.monotonic()

    def end(self, error: Bitrix24Error | None) -> None:
        """Note how it went; ``error`` None: answered."""
        self._row.status = getattr(error, "status", None) or (200 if error is None else None)
        self._row.error = None if error is None else getattr(error, "error", "") or error.code
        self._row.words = mask_numbers(getattr(error, "words", ""))[:MAX_WORDS] or None
        self._row.duration_ms = round((time.monotonic() - self._began) * 1000)

    def write(self, *, counted: bool = False) -> None:
        """Keep it, and count it against the portal's limit unless that was done before; commits."""
        with writing() as session:
            if not counted:
                pacing.count(session, self._row.portal_id, utcnow())
            session.add(self._row)


@contextmanager
def logged(portal_id: int, user_id: int | None, label: Label) -> Iterator[None]:
    """Write one row of the REST log about what happens inside; ``user_id`` None: not known yet."""
    exchange = Exchange(portal_id, user_id, label)
    try:
        yield
    except Bitrix24Error as error:
        exchange.end(error)
        exchange.write()
        raise
    exchange.end(None)
    exchange.write()


def ask(access: Access, label: Label, work: Callable[[PortalClient], T]) -> T:
    """Let ``work`` ask the portal; never for dialling, for it may be called twice.

    Repeats once after a renewal of an expired token, once after a confirmed move. Buries the credential when it
    is refused for good. Raises ``Bitrix24Error``.
    """
    remedies: dict[type[Bitrix24Error], Callable[[Access], Access]] = {TokenExpired: _renewed, Moved: follow_move}
    while True:
        try:
            return _ask(access, label, work)
        except (TokenExpired, Moved) as error:
            remedy = remedies.pop(type(error), None)
            if remedy is None:
                raise
            access = remedy(access)
        except (CredentialRefused, ApplicationRemoved, PaymentRequired) as error:
            credentials.bury(access.credential_id, error)
            raise


def _renewed(access: Access) -> Access:
    return credentials.renew(access.credential_id, access.generation)


def ask_for_portal(portal_id: int, label: Label, work: Callable[[PortalClient], T], *states: PortalState) -> T:
    """Ask under the portal's own access.

    The next administrator takes over from one who is not accepted any more, or who has lost the right.
    ``states``: of the portal, default installed. Raises ``PortalDisconnected`` or ``Bitrix24Error``.
    """
    denied: AccessDenied | None = None
    for _ in range(credentials.MAX_ADMINISTRATORS):
        access = credentials.service_access(portal_id, *states)
        try:
            return ask(access, label, work)
        except CredentialRefused:
            continue  # Buried by now.
        except AccessDenied as error:
            denied = error
            if not credentials.stand_back(access.credential_id):
                break
    raise denied or PortalDisconnected()


def _ask(access: Access, label: Label, work: Callable[[PortalClient], T]) -> T:
    with logged(access.portal_id, access.user_id, label):
        return work(portals.client(access.client_endpoint, access.access_token))


def follow_move(access: Access) -> Access:
    """Ask the authorization server where the portal is now, and keep its answer; raises ``Bitrix24Error``."""
    install = authorization_server.app_info(access.access_token).install
    if install.member_id != access.member_id:
        raise Refused("wrong_client", "the token belongs to another portal")
    portals.policy.check(install.client_endpoint)
    with writing() as session:
        portal = session.scalars(select(Portal).where(Portal.id == access.portal_id).with_for_update()).one()
        portal.move(install.domain, install.client_endpoint)
    return credentials.access(access.credential_id)


def forget_old_calls() -> int:
    """Delete REST log rows older than the operator keeps them; returns how many."""
    with writing() as session:
        limit = utcnow() - timedelta(days=settings.rest_log_days)
        return len(session.execute(delete(RestCall).where(RestCall.made_at < limit).returning(RestCall.id)).all())

"""Asking a portal: renewing on expiry, following a confirmed move, and keeping the masked REST log.

Every request to a portal is sent by a client that ``LoggedRequests.watch`` watches, so none is missing in the REST log
or in the portal's pace.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app import metrics
from bx24app.bitrix24.authorization import Install
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.connections import authorization_server, portal_clients
from bx24app.bitrix24.errors import (
    AccessDenied,
    ApplicationRemoved,
    Bitrix24Error,
    CredentialRefused,
    RefusedForNow,
    UnpaidSomewhere,
)
from bx24app.database import purge, reading, writing
from bx24app.errors import Bitrix24Unavailable, PortalDisconnected, Refusal, Retry
from bx24app.log import mask_numbers
from bx24app.models import Portal, PortalState, RestCall, utcnow
from bx24app.outgoing.errors import AddressForbidden, ExchangeError
from bx24app.services.portals import throttle, token_renewal, tokens
from bx24app.services.portals.new_address import take_new_address
from bx24app.services.portals.tokens import Access
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.slots import PortalSlots, work_through
from bx24app.settings import settings

log = structlog.get_logger(__name__)
T = TypeVar("T")
PORTALS_CHECKED_AT_ONCE = 4
# After a question that nobody could answer.
CHECK_AGAIN = timedelta(hours=1)
_checking = PortalSlots("check_portals", each=1, in_all=PORTALS_CHECKED_AT_ONCE)
# A portal that always says that it has moved makes us ask no more often, by each process.
MOVES_OF_PORTAL = LocalLimit("moves_of_portal", 1)
# The text that is spoken to the manager may name the customer, so the log keeps only its length.
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


class LoggedRequests:
    """The requests that one piece of work sends to a portal, for the REST log and the portal's pace: each once.

    Kept in memory until ``write``, because a portal that is being installed has no row yet.
    """

    def __init__(self, label: RequestLabel) -> None:
        self._label = label
        self._rows: list[RestCall] = []
        self._sent = 0
        # How the last request ended, where a limit kept the portal from doing it.
        self._refusal: RefusedForNow | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note one request and its answer; every client of a portal is given this."""
        row, began = self._add_row(), time.monotonic()
        self._sent += 1
        code: str | None = None
        self._refusal = None
        try:
            yield
        except ExchangeError as error:
            _note_error(row, error)
            code = error.code
            self._refusal = error if isinstance(error, RefusedForNow) else None
            raise
        else:
            row.status = 200
        finally:
            row.duration_ms = round((time.monotonic() - began) * 1000)
            metrics.count_rest_request(row.method, code)

    def fail(self, error: ExchangeError) -> None:
        """Note that the work failed: its last answer could not be used, or nothing could be sent at all."""
        row = self._rows[-1] if self._rows else self._add_row()
        if row.error is None:
            _note_error(row, error)

    def write(self, portal_id: int, user_id: int | None, *, counted: bool = False) -> None:
        """Keep the requests, and count them against the portal's limit unless that was done before; commits."""
        if not self._rows:
            return
        with writing() as session:
            self.add_to(session, portal_id, user_id, counted=counted)

    def write_for(self, member_id: str) -> None:
        """Keep and count them for a portal whose row may not exist, or not any more: then nothing is kept; commits."""
        installed = Portal.state != PortalState.UNINSTALLED
        with writing() as session:
            portal_id = session.scalar(select(Portal.id).where(Portal.member_id == member_id, installed))
            if portal_id is not None:
                self.add_to(session, portal_id, None)

    def add_to(self, session: Session, portal_id: int, user_id: int | None, *, counted: bool = False) -> None:
        """The same inside the caller's transaction; ``user_id`` None: not known yet."""
        for row in self._rows:
            row.portal_id, row.user_id = portal_id, user_id
        if self._sent and not counted:
            throttle.count_requests(session, portal_id, utcnow(), self._sent, self._refusal)
        session.add_all(self._rows)

    def _add_row(self) -> RestCall:
        method, parameters = self._label.method, _mask(self._label.parameters)
        self._rows.append(RestCall(method=method, parameters=parameters, made_at=utcnow(), duration_ms=0))
        return self._rows[-1]


def _note_error(row: RestCall, error: ExchangeError) -> None:
    row.status = error.status
    row.error = error.foreign_code or error.code
    row.words = mask_numbers(error.words)[:MAX_LOGGED_WORDS] if error.words else None


@contextmanager
def logged(portal_id: int, user_id: int | None, label: RequestLabel) -> Iterator[LoggedRequests]:
    """Log and count the requests that are sent inside; ``user_id`` None: not known yet. Commits at the end."""
    requests = LoggedRequests(label)
    try:
        yield requests
    except ExchangeError as error:
        requests.fail(error)
        raise
    finally:
        requests.write(portal_id, user_id)


def call(access: Access, label: RequestLabel, work: Callable[[PortalClient], T]) -> T:
    """Let ``work`` call the portal. Never use it for dialling, because ``work`` may run twice.

    Repeats once after a renewal of an expired token, once after a confirmed move. Marks the credential when it
    is refused for good. Raises ``ExchangeError``.
    """
    remedies = {Retry.AFTER_RENEWAL: _renewed, Retry.AFTER_MOVE: follow_move}
    while True:
        try:
            return _call(access, label, work)
        except ExchangeError as error:
            if error.revokes_credential:
                tokens.invalidate(access, error)
            remedy = remedies.pop(error.retry, None)
            if remedy is None:
                raise
            access = remedy(access)


def _renewed(access: Access) -> Access:
    renewed = token_renewal.renew(access.credential_id, access.generation, on_portals_word=True)
    if renewed.member_id != access.member_id:
        raise PortalDisconnected  # The request belongs to another portal than the tokens.
    return renewed


def call_for_portal(portal_id: int, label: RequestLabel, work: Callable[[PortalClient], T], *states: PortalState) -> T:
    """Ask under the portal's own access.

    The next administrator takes over from one who is not accepted any more, who has lost the right, or whose refresh
    token may be of anywhere.
    ``states``: of the portal, default installed. Raises ``PortalDisconnected`` or ``ExchangeError``.
    """
    denied: ExchangeError | None = None
    for _ in range(tokens.MAX_ADMINISTRATORS):
        access = token_renewal.service_access(portal_id, *states)
        try:
            return call(access, label, work)
        except CredentialRefused:
            continue  # ``call`` has invalidated it.
        except (AccessDenied, UnpaidSomewhere) as error:
            denied = error
            if not tokens.demote(access.credential_id):
                break
    raise denied or PortalDisconnected()


def _call(access: Access, label: RequestLabel, work: Callable[[PortalClient], T]) -> T:
    with logged(access.portal_id, access.user_id, label) as requests:
        clients = portal_clients(access.member_id)
        return work(clients.client(access.client_endpoint, access.access_token, requests.watch))


def follow_move(access: Access) -> Access:
    """Ask the authorization server where the portal is now, and keep its answer; raises ``ExchangeError``.

    Asked once a minute: until then what another has found is used, else ``Bitrix24Unavailable`` is raised.
    """
    if not take_local(MOVES_OF_PORTAL, access.portal_id):
        known = token_renewal.open_access(access.credential_id)
        if known.client_endpoint == access.client_endpoint:
            raise Bitrix24Unavailable
        return known
    install = authorization_server.app_info(access.access_token).install
    if install.member_id != access.member_id:
        raise Bitrix24Error("wrong_client", "the token belongs to another portal")
    with writing() as session:
        portal = session.scalars(select(Portal).where(Portal.id == access.portal_id).with_for_update()).one()
        take_new_address(portal, install.client_endpoint)
    return token_renewal.open_access(access.credential_id)


def check_portals() -> int:
    """Ask the authorization server where portals are of which it has not said so for a day; returns how many.

    The domain of a portal in a company's own network may lapse, and whoever buys it must get none of our tokens.
    """
    return work_through(_checking, _next_unchecked, _check_portal)


def _next_unchecked(besides: Collection[int]) -> int | None:
    due = Portal.address_due_at.is_(None) | (Portal.address_due_at <= utcnow())
    query = select(Portal.id).where(Portal.state == PortalState.INSTALLED, due, Portal.id.not_in(besides))
    with reading(single_statement=True) as session:
        return session.scalar(query.order_by(Portal.address_due_at.asc().nulls_first()).limit(1))


def _check_portal(portal_id: int) -> int:
    asked_at = utcnow()
    with writing() as session:
        portal = session.get(Portal, portal_id, with_for_update=True)
        if portal is None:
            return 1
        portal.address_due_at, asked_of = asked_at + CHECK_AGAIN, portal.client_endpoint
    try:
        install = token_renewal.ask_app_info(tokens.service_credential_id(portal_id)).install
    except (ExchangeError, Refusal) as error:
        log.info("address_not_told", reason=error.code)
        # A portal that is closed for maintenance looks like one that is gone.
        if isinstance(error, ApplicationRemoved):
            _keep_address(portal_id, asked_of, asked_at, None)
        return 1
    _keep_address(portal_id, asked_of, asked_at, install if install.installed else None)
    return 1


def _keep_address(portal_id: int, asked_of: str, asked_at: datetime, install: Install | None) -> None:
    """Do what the authorization server has said; ``install`` None: the app is not installed there.

    Whoever has installed it again or has moved since then has proven more than this answer says.
    """
    with writing() as session:
        portal = session.get(Portal, portal_id, with_for_update=True)
        if portal is None or portal.client_endpoint != asked_of:
            return
        if install is None:
            if tokens.was_proven_since(session, portal_id, asked_at):
                return
            portal.mark_uninstalled(utcnow())
            log.warning("portal_without_app", member_id=portal.member_id)
        elif install.member_id == portal.member_id:
            try:
                take_new_address(portal, install.client_endpoint)
            except AddressForbidden:
                # Wherever it is, at its present address it is not any more.
                portal.state = PortalState.DISCONNECTED


def purge_request_log() -> int:
    """Delete REST log rows older than the operator keeps them; returns how many."""
    is_old = RestCall.made_at < utcnow() - timedelta(days=settings.rest_log_days)
    return purge(RestCall, is_old, oldest_first=True)

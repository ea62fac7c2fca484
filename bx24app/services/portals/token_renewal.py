"""Renewing tokens exactly once, however many need it at the same time."""

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, or_, select

from bx24app import metrics
from bx24app.bitrix24.authorization import AppInfo, Tokens
from bx24app.bitrix24.connections import authorization_server
from bx24app.bitrix24.errors import (
    ApplicationRemoved,
    CredentialRefused,
    PaymentRequired,
    RemovedSomewhere,
    TokenExpired,
    UnpaidSomewhere,
)
from bx24app.crypto import SealBroken, keyring
from bx24app.database import reading, writing
from bx24app.errors import Bitrix24Unavailable, NotPermitted, Refusal
from bx24app.models import Credential, CredentialState, Portal, PortalState, utcnow
from bx24app.outgoing.errors import AddressForbidden, ExchangeError
from bx24app.services.portals.new_address import take_new_address
from bx24app.services.portals.tokens import (
    Access,
    access_of,
    invalidate_credential,
    load_alive,
    lock_credential,
    note_unpaid,
    own_credential,
    service_credential_id,
)
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.slots import PortalSlots, work_through

log = structlog.get_logger(__name__)

# Longer than all time-outs of the authorization server together, so a lease ends early only when its holder died.
RENEWAL_LEASE = timedelta(seconds=25)
RENEWAL_WAIT_SECONDS = 15.0
RENEWAL_POLL_SECONDS = 0.1
# A refresh token lives 180 days. We renew well before, but rarely, because the platform blocks needless renewals.
IDLE_TOKENS = timedelta(days=120)
RENEWED_AT_ONCE = 10
PORTALS_AT_ONCE = 4
# A portal that calls each new token expired would make us renew without end, under the client id of all portals.
TOLD_OF_CREDENTIAL = LocalLimit("told_of_credential", 3, 600.0)
TOLD_OF_PORTAL = LocalLimit("told_of_portal", 30, 600.0)
_renewing = PortalSlots("renew_idle_tokens", each=1, in_all=PORTALS_AT_ONCE)


def service_access(portal_id: int, *states: PortalState) -> Access:
    """The portal's own access; the next administrator takes over from one whose tokens are of no use.

    Raises ``PortalDisconnected`` when none is left, ``PortalUnpaid``, or what ``open_access`` raises.
    """
    began, refused = utcnow(), dict[int, ExchangeError]()
    while (credential_id := service_credential_id(portal_id, *states)) not in refused:
        try:
            return open_access(credential_id)
        except (CredentialRefused, UnpaidSomewhere) as error:
            refused[credential_id] = error  # ``open_access`` has invalidated it, or put it behind the others.
    if isinstance(refused[credential_id], UnpaidSomewhere):
        note_unpaid(portal_id, began)  # Everybody's says so: else each dial would try all of them again.
    raise refused[credential_id]


def person_access(portal_id: int, user_id: int) -> Access:
    """A person's own access; raises ``NotPermitted`` without a live one, or what ``open_access`` raises.

    When the platform has moved a person's token to a system user, it is no longer that person's own.
    """
    with reading() as session:
        credential_id = session.scalar(own_credential(portal_id, user_id))
    if credential_id is None:
        raise NotPermitted
    found = open_access(credential_id)
    if found.user_id != user_id:
        raise NotPermitted  # The renewal has just moved it to a system user.
    return found


def open_access(credential_id: int) -> Access:
    """A credential with a token that is not known to be expired; renews it when needed.

    Raises ``PortalDisconnected`` for a dead one, ``Bitrix24Unavailable`` or a ``ExchangeError`` when it cannot be
    renewed now.
    """
    with reading() as session:
        credential, portal = load_alive(session, credential_id)
        if not credential.is_expired(utcnow()):
            return access_of(portal, credential)
    return renew(credential_id, credential.generation)


def renew(credential_id: int, seen: int, *, on_portals_word: bool = False) -> Access:
    """Replace the token that the caller saw (generation ``seen``) by a new one, once among all threads and processes.

    Whoever gets the lease asks the authorization server; the others wait for the result and use it.
    ``on_portals_word``: only the portal calls the token expired; it is believed a few times, then
    ``Bitrix24Unavailable`` is raised.
    """
    deadline = time.monotonic() + RENEWAL_WAIT_SECONDS
    while time.monotonic() < deadline:
        with writing() as session:
            session.get(Credential, credential_id, with_for_update=True)
            credential, portal = load_alive(session, credential_id)
            if credential.generation > seen:
                return access_of(portal, credential)
            now = utcnow()
            # If another one renews it now, this one waits for the result.
            lease = None
            if not credential.is_leased(now, RENEWAL_LEASE):
                if on_portals_word and not credential.is_expired(now) and not _is_believed(credential):
                    raise Bitrix24Unavailable
                lease = credential.lease(now, RENEWAL_LEASE)
                spent = spending(credential, portal.member_id)
        if lease is not None:
            return _renew_under_lease(lease, spent)
        time.sleep(RENEWAL_POLL_SECONDS)
    raise Bitrix24Unavailable


def _is_believed(credential: Credential) -> bool:
    """Tell whether to renew a token before its time, and count that; by each process."""
    limits = ((TOLD_OF_CREDENTIAL, credential.id), (TOLD_OF_PORTAL, credential.portal_id))
    return all(take_local(limit, key) for limit, key in limits)


@dataclass(frozen=True)
class Spending:
    """A refresh token on its way to the authorization server, and whose it should be."""

    credential_id: int
    member_id: str
    user_id: int
    is_trusted: bool
    refresh_token: str = field(repr=False)


def spending(credential: Credential, member_id: str) -> Spending:
    """Take a credential's refresh token to be exchanged; raises ``SealError``."""
    refresh_token = credential.refresh_token(keyring, member_id)
    return Spending(credential.id, member_id, credential.acting_as, credential.is_refresh_trusted, refresh_token)


def exchange(spent: Spending) -> Tokens:
    """Exchange a refresh token; raises ``ExchangeError``, and ``CredentialRefused`` when it was somebody else's.

    Who has posted it with an access token of their own must not take it away from whoever it belongs to, and what is
    said of its portal is not said of theirs.
    """
    try:
        tokens = authorization_server.renew(spent.refresh_token)
    except (ApplicationRemoved, PaymentRequired) as error:
        if spent.is_trusted:
            raise
        kind = RemovedSomewhere if isinstance(error, ApplicationRemoved) else UnpaidSomewhere
        raise kind(error.foreign_code, error.words or "", error.status or 0) from None
    if (tokens.member_id, tokens.user_id) == (spent.member_id, spent.user_id):
        return tokens
    # The platform moves the app of a dismissed person to a system user. Of a token that somebody has only posted the
    # other one may be a colleague, for whom the portal would be taken to speak.
    is_theirs = spent.is_trusted and tokens.member_id == spent.member_id
    if _keep_for_holder(tokens, spent) or not is_theirs:
        raise CredentialRefused("other_portal")
    return tokens


def _keep_for_holder(tokens: Tokens, spent: Spending) -> bool:
    """Give the tokens to whoever holds the spent one, if anybody does; returns whether."""
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == tokens.member_id).with_for_update())
        if portal is None:
            return False
        is_theirs = or_(Credential.acting_as == tokens.user_id, Credential.service_since.is_not(None))
        theirs = select(Credential).where(Credential.portal_id == portal.id, is_theirs)
        for credential in session.scalars(theirs.where(Credential.id != spent.credential_id).with_for_update()):
            with suppress(SealBroken):
                if credential.refresh_token(keyring, portal.member_id) == spent.refresh_token:
                    _keep_renewed(portal, credential, tokens)
                    return True
    return False


def _renew_under_lease(lease: int, spent: Spending) -> Access:
    asked_at, credential_id = utcnow(), spent.credential_id
    try:
        tokens = exchange(spent)
    except ExchangeError as error:
        _renewal_failed(credential_id, lease, error, asked_at)
        metrics.count_renewal("refused" if error.revokes_credential else "failed")
        raise
    with writing() as session:
        lock_credential(session, credential_id)
        credential, portal = load_alive(session, credential_id)
        if not credential.holds(lease):
            # Our lease has ended, and somebody else has renewed or reinstalled, so the stored tokens are newer.
            return access_of(portal, credential)
        _keep_renewed(portal, credential, tokens)
    metrics.count_renewal("renewed")
    return access_of(portal, credential)


def _keep_renewed(portal: Portal, credential: Credential, tokens: Tokens) -> None:
    # The new tokens are good at the present address too.
    with suppress(AddressForbidden):
        take_new_address(portal, tokens.client_endpoint)
    # The platform moves the app of a dismissed person to a system user, so another user id is no error.
    credential.acting_as = tokens.user_id or credential.acting_as
    renewed = (tokens.access_token, tokens.refresh_token, tokens.expires_at)
    credential.keep_tokens(keyring, portal.member_id, *renewed, is_trusted=True)


def _renewal_failed(credential_id: int, lease: int, error: ExchangeError, asked_at: datetime) -> None:
    """Give the lease back, or invalidate the credential when the refusal is final."""
    with writing() as session:
        credential = lock_credential(session, credential_id)
        if credential is None or not credential.holds(lease):
            return
        credential.release()
        if error.revokes_credential:
            invalidate_credential(session, credential, error, asked_at)


def ask_app_info(credential_id: int) -> AppInfo:
    """Ask the authorization server about a portal, with a stored token; raises ``ExchangeError`` or ``Refusal``."""
    access = open_access(credential_id)
    try:
        return authorization_server.app_info(access.access_token)
    except (CredentialRefused, TokenExpired):
        # Its fate is told by the refresh token.
        access = renew(access.credential_id, access.generation)
    return authorization_server.app_info(access.access_token)


def renew_idle() -> int:
    """Renew the tokens that nobody has used for months, a few portals at a time; returns how many were tried."""
    return work_through(_renewing, _next_idle, _renew_idle_of)


def _is_idle() -> ColumnElement[bool]:
    unused = Credential.used_at < utcnow() - IDLE_TOKENS
    return and_(Credential.state == CredentialState.ALIVE, unused, Portal.state == PortalState.INSTALLED)


def _next_idle(besides: Collection[int]) -> int | None:
    query = select(Credential.portal_id).join(Portal, Portal.id == Credential.portal_id)
    query = query.where(_is_idle(), Credential.portal_id.not_in(besides)).order_by(Credential.used_at).limit(1)
    with reading() as session:
        return session.scalar(query)


def _renew_idle_of(portal_id: int) -> int:
    query = (
        select(Credential.id, Credential.generation)
        .join(Portal, Portal.id == Credential.portal_id)
        .where(_is_idle(), Credential.portal_id == portal_id)
        .order_by(Credential.used_at)
        .limit(RENEWED_AT_ONCE)
    )
    with reading() as session:
        idle = session.execute(query).all()
    for credential_id, generation in idle:
        try:
            renew(credential_id, generation)
        except (ExchangeError, Refusal) as error:
            log.warning("idle_not_renewed", credential=credential_id, reason=error.code)
    return len(idle)

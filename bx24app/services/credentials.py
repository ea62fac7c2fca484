"""Whose token is used, and renewing it exactly once however many need it at the same time."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from bx24app.bitrix24.authorization import Tokens
from bx24app.bitrix24.errors import (
    AddressForbidden,
    ApplicationRemoved,
    Bitrix24Error,
    CredentialRefused,
    PaymentRequired,
)
from bx24app.crypto import keyring
from bx24app.errors import Bitrix24Unavailable, NotPermitted, PortalDisconnected, PortalUnpaid, Refusal
from bx24app.extensions import reading, writing
from bx24app.models import (
    FINAL,
    Callback,
    Credential,
    CredentialState,
    Portal,
    PortalState,
    utcnow,
)
from bx24app.services.connections import authorization_server, portals

log = structlog.get_logger(__name__)

# Longer than the authorization server's time-outs together, so that a lease ends only with its holder.
LEASE_SECONDS = 25.0
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.1
IDLE_PERSON = timedelta(hours=2)
# One serves the portal, three stand by.
MAX_ADMINISTRATORS = 4
# Well before the 180 days of a refresh token, and rarely: the platform blocks apps that renew for nothing.
IDLE_TOKENS = timedelta(days=120)
RENEWED_AT_ONCE = 10


@dataclass(frozen=True)
class Access:
    """One person's way to one portal, ready to be used."""

    portal_id: int
    member_id: str
    client_endpoint: str
    credential_id: int
    user_id: int
    generation: int
    access_token: str = field(repr=False)


def _access(portal: Portal, credential: Credential) -> Access:
    return Access(
        portal_id=portal.id,
        member_id=portal.member_id,
        client_endpoint=portal.client_endpoint,
        credential_id=credential.id,
        user_id=credential.acting_as,
        generation=credential.generation,
        access_token=credential.access_token(keyring, portal.member_id),
    )


def keep(session: Session, portal: Portal, tokens: Tokens, *, administrator: bool | None) -> Credential:
    """Store a person's tokens inside the caller's transaction, which has locked the portal.

    An administrator's also serve the portal, or stand by. ``administrator`` None: not known now, so as before.
    """
    query = select(Credential).where(Credential.portal_id == portal.id, Credential.user_id == tokens.user_id)
    credential = session.scalar(query.with_for_update())
    if credential is None:
        credential = Credential(portal_id=portal.id, user_id=tokens.user_id)
        session.add(credential)
    credential.acting_as = tokens.user_id
    credential.keep_tokens(keyring, portal.member_id, tokens.access_token, tokens.refresh_token, tokens.expires_at)
    if administrator is not None:
        others = session.scalars(_serving(portal.id).where(Credential.user_id != tokens.user_id)).all()
        if not administrator and others:
            credential.service_since = None
        elif administrator and credential.service_since is None and len(others) < MAX_ADMINISTRATORS:
            credential.service_since = utcnow()
    return credential


def _serving(portal_id: int) -> Select[Credential]:
    """The live credentials that may serve a portal: the one in use first, then those that stand by."""
    return (
        select(Credential)
        .where(
            Credential.portal_id == portal_id,
            Credential.service_since.is_not(None),
            Credential.state == CredentialState.ALIVE,
        )
        .order_by(Credential.service_since, Credential.id)
    )


def administrators(portal_id: int) -> list[int]:
    """The ids of the people under whose tokens the portal is served: the present one, then the standby ones."""
    with reading() as session:
        return list(session.scalars(_serving(portal_id).with_only_columns(Credential.user_id)))


def service_credential_id(portal_id: int, *states: PortalState) -> int:
    """The credential that serves the portal; raises ``PortalDisconnected`` when none is left.

    So does a portal in another state than ``states`` (default: installed).
    """
    with reading() as session:
        state = session.scalar(select(Portal.state).where(Portal.id == portal_id))
        found = session.scalar(_serving(portal_id).with_only_columns(Credential.id).limit(1))
    usable = states or (PortalState.INSTALLED,)
    if state == PortalState.UNPAID and state not in usable:
        raise PortalUnpaid
    if found is None or state not in usable:
        raise PortalDisconnected
    return found


def service_access(portal_id: int, *states: PortalState) -> Access:
    """The portal's own access; the next administrator takes over from one whose tokens are dead.

    Raises ``PortalDisconnected`` when none is left, or what ``access`` raises.
    """
    for _ in range(MAX_ADMINISTRATORS):
        try:
            return access(service_credential_id(portal_id, *states))
        except CredentialRefused:
            continue  # Buried by now.
    raise PortalDisconnected


def stand_back(credential_id: int) -> bool:
    """Let the other administrators serve the portal first; False when there is no other."""
    with writing() as session:
        credential = _locked(session, credential_id)
        if credential is None or credential.service_since is None:
            return True
        if not session.scalars(_serving(credential.portal_id).where(Credential.id != credential_id)).first():
            return False
        credential.service_since = utcnow()
        return True


def person_access(portal_id: int, user_id: int) -> Access:
    """A person's own access; raises ``NotPermitted`` without a live one, or what ``access`` raises.

    One that was moved to a system user is nobody's own any more.
    """
    with reading() as session:
        credential_id = session.scalar(
            select(Credential.id).where(
                Credential.portal_id == portal_id,
                Credential.user_id == user_id,
                Credential.acting_as == user_id,
                Credential.state == CredentialState.ALIVE,
            )
        )
    if credential_id is None:
        raise NotPermitted
    found = access(credential_id)
    if found.user_id != user_id:
        raise NotPermitted  # The renewal just now has moved it.
    return found


def access(credential_id: int) -> Access:
    """A credential with a token that is not known to be expired; renews it when needed.

    Raises ``PortalDisconnected`` for a dead one, ``Bitrix24Unavailable`` or a ``Bitrix24Error`` when it cannot be
    renewed now.
    """
    with reading() as session:
        credential, portal = _load(session, credential_id)
        if not credential.is_expired(utcnow()):
            return _access(portal, credential)
    return renew(credential_id, credential.generation)


def _load(session: Session, credential_id: int) -> tuple[Credential, Portal]:
    row = session.execute(
        select(Credential, Portal).join(Portal, Portal.id == Credential.portal_id).where(Credential.id == credential_id)
    ).one_or_none()
    if row is None or row.Credential.state != CredentialState.ALIVE:
        raise PortalDisconnected
    return row.Credential, row.Portal


def renew(credential_id: int, seen: int) -> Access:
    """Replace the token that the caller saw (generation ``seen``) by a new one, once among all threads and processes.

    Whoever gets the lease asks the authorization server; the others wait for the result and use it.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with writing() as session:
            session.get(Credential, credential_id, with_for_update=True)
            credential, portal = _load(session, credential_id)
            if credential.generation > seen:
                return _access(portal, credential)
            lease = credential.take_lease(utcnow(), LEASE_SECONDS)
            refresh_token = credential.refresh_token(keyring, portal.member_id)
        if lease is not None:
            return _renew_under_lease(credential_id, lease, refresh_token)
        time.sleep(POLL_SECONDS)
    raise Bitrix24Unavailable


def _renew_under_lease(credential_id: int, lease: int, refresh_token: str) -> Access:
    try:
        tokens = authorization_server.renew(refresh_token)
    except Bitrix24Error as error:
        _renewal_failed(credential_id, lease, error)
        raise
    with writing() as session:
        _locked(session, credential_id)
        credential, portal = _load(session, credential_id)
        if credential.fence != lease:
            # Our lease ended and somebody else renewed or reinstalled: theirs are newer.
            return _access(portal, credential)
        foreign = CredentialRefused("other_portal") if tokens.member_id != portal.member_id else None
        if foreign:
            _bury(session, credential, foreign)
        else:
            _keep_renewed(portal, credential, tokens)
    if foreign:
        raise foreign  # Only now: what was written must not be rolled back.
    return _access(portal, credential)


def _keep_renewed(portal: Portal, credential: Credential, tokens: Tokens) -> None:
    _follow(portal, tokens.client_endpoint)
    # The platform moves the app of a dismissed person to a system user: another id is no error.
    credential.acting_as = tokens.user_id or credential.acting_as
    credential.keep_tokens(keyring, portal.member_id, tokens.access_token, tokens.refresh_token, tokens.expires_at)


def _follow(portal: Portal, client_endpoint: str) -> None:
    """A renamed portal's new address comes with the tokens; one that we may not talk to is not taken."""
    if client_endpoint == portal.client_endpoint:
        return
    try:
        portals.policy.check(client_endpoint)
    except AddressForbidden:
        log.warning("address_not_taken", member_id=portal.member_id)
        return
    log.info("portal_moved", member_id=portal.member_id)
    portal.move(urlsplit(client_endpoint).netloc, client_endpoint)


def _renewal_failed(credential_id: int, lease: int, error: Bitrix24Error) -> None:
    """Give the lease back, or bury the credential when the refusal is final."""
    with writing() as session:
        credential = _locked(session, credential_id)
        if credential is None or credential.fence != lease:
            return
        credential.renewing_until = None
        if isinstance(error, CredentialRefused | ApplicationRemoved | PaymentRequired):
            _bury(session, credential, error)


def bury(credential_id: int, error: Bitrix24Error) -> None:
    """Mark a credential whose tokens were refused for good, and the portal's state with it."""
    with writing() as session:
        credential = _locked(session, credential_id)
        if credential is not None:
            _bury(session, credential, error)


def _locked(session: Session, credential_id: int) -> Credential | None:
    """A credential for a change that concerns its portal too; the portal is locked first, as everywhere."""
    portal_id = session.scalar(select(Credential.portal_id).where(Credential.id == credential_id))
    if portal_id is None:
        return None
    session.get(Portal, portal_id, with_for_update=True)
    return session.get(Credential, credential_id, with_for_update=True)


def _bury(session: Session, credential: Credential, error: Bitrix24Error) -> None:
    served = credential.service_since is not None
    # An unpaid app works again once it is paid: its tokens are not dead.
    if not isinstance(error, PaymentRequired):
        credential.die(error.code)
    session.flush()
    portal = session.get_one(Portal, credential.portal_id)
    if not served:
        if isinstance(error, PaymentRequired):
            portal.payment_hinted_at = utcnow()
        return
    if isinstance(error, PaymentRequired):
        portal.state = PortalState.UNPAID
    elif isinstance(error, ApplicationRemoved):
        portal.leave(utcnow())
    elif session.scalar(_serving(portal.id).limit(1)) is None:
        portal.state = PortalState.DISCONNECTED
    log.warning("credential_buried", member_id=portal.member_id, state=portal.state, reason=error.code)


def keep_alive() -> int:
    """Renew the tokens that nobody has used for months, a few at a time; returns how many were tried."""
    query = (
        select(Credential.id, Credential.generation)
        .join(Portal, Portal.id == Credential.portal_id)
        .where(
            Credential.state == CredentialState.ALIVE,
            Credential.used_at < utcnow() - IDLE_TOKENS,
            Portal.state == PortalState.INSTALLED,
        )
        .order_by(Credential.used_at)
        .limit(RENEWED_AT_ONCE)
    )
    with reading() as session:
        idle = session.execute(query).all()
    for credential_id, generation in idle:
        try:
            renew(credential_id, generation)
        except (Bitrix24Error, Refusal) as error:
            log.warning("idle_not_renewed", credential=credential_id, reason=error.code)
    return len(idle)


def forget_idle() -> int:
    """Delete the credentials of people who neither have the app open, nor a callback under way, nor serve the portal.

    Returns how many.
    """
    under_way = select(Callback.requested_by).where(
        Callback.portal_id == Credential.portal_id,
        Callback.requested_by == Credential.user_id,
        Callback.state.not_in(FINAL),
    )
    with writing() as session:
        gone = session.execute(
            delete(Credential)
            .where(
                Credential.service_since.is_(None),
                Credential.used_at < utcnow() - IDLE_PERSON,
                ~under_way.exists(),
            )
            .returning(Credential.id)
        ).all()
    return len(gone)

"""Whose token is used, and renewing it exactly once however many need it at the same time."""

import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bx24app.bitrix24.authorization import Tokens
from bx24app.bitrix24.errors import ApplicationRemoved, Bitrix24Error, CredentialRefused, PaymentRequired
from bx24app.crypto import keyring
from bx24app.errors import Bitrix24Unavailable, PortalDisconnected
from bx24app.extensions import reading, writing
from bx24app.models import (
    FINAL,
    Callback,
    Credential,
    CredentialKind,
    CredentialState,
    Portal,
    PortalState,
    utcnow,
)
from bx24app.services.connections import authorization_server

log = structlog.get_logger(__name__)

# Longer than the authorization server's time-outs together, so that a lease ends only with its holder.
LEASE_SECONDS = 25.0
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.1
IDLE_PERSON = timedelta(hours=2)


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
        user_id=credential.user_id,
        generation=credential.generation,
        access_token=credential.access_token(keyring, portal.member_id),
    )


def keep(session: Session, portal: Portal, kind: CredentialKind, tokens: Tokens) -> Credential:
    """Store a person's tokens inside the caller's transaction; the service has one credential per portal."""
    query = select(Credential).where(Credential.portal_id == portal.id, Credential.kind == kind)
    if kind == CredentialKind.PERSON:
        query = query.where(Credential.user_id == tokens.user_id)
    credential = session.scalar(query.with_for_update())
    if credential is None:
        credential = Credential(portal_id=portal.id, kind=kind)
        session.add(credential)
    credential.user_id = tokens.user_id
    credential.keep_tokens(keyring, portal.member_id, tokens.access_token, tokens.refresh_token, tokens.expires_at)
    return credential


def service_credential_id(portal_id: int) -> int:
    """The portal's own credential; raises ``PortalDisconnected`` when it is dead or the portal is not in use."""
    with reading() as session:
        found = session.scalar(
            select(Credential.id)
            .join(Portal, Portal.id == Credential.portal_id)
            .where(
                Credential.portal_id == portal_id,
                Credential.kind == CredentialKind.SERVICE,
                Credential.state == CredentialState.ALIVE,
                Portal.state == PortalState.INSTALLED,
            )
        )
    if found is None:
        raise PortalDisconnected
    return found


def person_credential_id(portal_id: int, user_id: int) -> int | None:
    """This person's own live credential, or None."""
    with reading() as session:
        return session.scalar(
            select(Credential.id).where(
                Credential.portal_id == portal_id,
                Credential.kind == CredentialKind.PERSON,
                Credential.user_id == user_id,
                Credential.state == CredentialState.ALIVE,
            )
        )


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
        session.get(Credential, credential_id, with_for_update=True)
        credential, portal = _load(session, credential_id)
        if credential.fence != lease:
            # Our lease ended and somebody else renewed or reinstalled: theirs are newer.
            return _access(portal, credential)
        if tokens.member_id != portal.member_id:
            credential.die("other_portal")
            raise PortalDisconnected
        # The platform moves the app of a dismissed person to a system user: another id is no error.
        credential.user_id = tokens.user_id or credential.user_id
        credential.keep_tokens(keyring, portal.member_id, tokens.access_token, tokens.refresh_token, tokens.expires_at)
        return _access(portal, credential)


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


_PORTAL_STATES: dict[str, PortalState] = {
    ApplicationRemoved.code: PortalState.UNINSTALLED,
    PaymentRequired.code: PortalState.UNPAID,
}


def _bury(session: Session, credential: Credential, error: Bitrix24Error) -> None:
    # An unpaid app works again once it is paid: its tokens are not dead.
    if not isinstance(error, PaymentRequired):
        credential.die(error.code)
    if credential.kind == CredentialKind.SERVICE:
        portal = session.get_one(Portal, credential.portal_id)
        portal.state = _PORTAL_STATES.get(error.code, PortalState.DISCONNECTED)
        log.warning("portal_state", member_id=portal.member_id, state=portal.state, reason=error.code)


def forget_idle() -> int:
    """Delete the credentials of people who neither have the app open nor a callback under way; returns how many."""
    under_way = select(Callback.requested_by).where(
        Callback.portal_id == Credential.portal_id,
        Callback.requested_by == Credential.user_id,
        Callback.state.not_in(FINAL),
    )
    with writing() as session:
        gone = session.execute(
            delete(Credential)
            .where(
                Credential.kind == CredentialKind.PERSON,
                Credential.used_at < utcnow() - IDLE_PERSON,
                ~under_way.exists(),
            )
            .returning(Credential.id)
        ).all()
    return len(gone)

"""Stored tokens: whose token is used for a portal, and what happens when one is refused for good."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, and_, select, tuple_
from sqlalchemy.orm import Session

from bx24app.bitrix24.authorization import Tokens
from bx24app.bitrix24.errors import ApplicationRemoved, PaymentRequired, UnpaidSomewhere
from bx24app.crypto import keyring
from bx24app.database import purge, reading, writing
from bx24app.errors import PortalDisconnected, PortalUnpaid
from bx24app.log import name_portal
from bx24app.models import FINAL, Callback, Credential, CredentialState, Portal, PortalState, State, utcnow
from bx24app.outgoing.errors import ExchangeError

log = structlog.get_logger(__name__)


IDLE_PERSON_KEPT = timedelta(hours=2)
# One administrator serves the portal, and three stand by.
MAX_ADMINISTRATORS = 4


@dataclass(frozen=True)
class Access:
    """A person's access token for a portal, with the portal's address, ready for REST calls."""

    portal_id: int
    member_id: str
    client_endpoint: str
    credential_id: int
    user_id: int
    generation: int
    access_token: str = field(repr=False)
    # What is said of it counts for the portal as it was then.
    opened_at: datetime = field(default_factory=utcnow)


def access_of(portal: Portal, credential: Credential) -> Access:
    """The access that a stored credential gives."""
    return Access(
        portal_id=portal.id,
        member_id=portal.member_id,
        client_endpoint=portal.client_endpoint,
        credential_id=credential.id,
        user_id=credential.acting_as,
        generation=credential.generation,
        access_token=credential.access_token(keyring, portal.member_id),
    )


def store_tokens(
    session: Session, portal: Portal, tokens: Tokens, *, administrator: bool | None, is_vouched_for: bool = True
) -> Credential:
    """Store a person's tokens inside the caller's transaction, which has locked the portal.

    An administrator's also serve the portal, or stand by. ``administrator`` None: not known now, so as before.
    ``is_vouched_for``: the portal itself has just named them; else an access that it has refused stays dead.
    """
    query = select(Credential).where(Credential.portal_id == portal.id, Credential.user_id == tokens.user_id)
    credential = session.scalar(query.with_for_update())
    if credential is None:
        credential = Credential(portal_id=portal.id, user_id=tokens.user_id)
        session.add(credential)
    elif credential.state == CredentialState.DEAD and not is_vouched_for:
        return credential
    credential.acting_as = tokens.user_id
    shown = (tokens.access_token, tokens.refresh_token, tokens.expires_at)
    credential.keep_tokens(keyring, portal.member_id, *shown, is_trusted=administrator is True)
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


# What the platform moved to a system user is not a person's own.
IS_OWN = and_(Credential.state == CredentialState.ALIVE, Credential.acting_as == Credential.user_id)


def own_credential(portal_id: int, user_id: int) -> Select[int]:
    """Select the id of a person's own live credential."""
    return select(Credential.id).where(Credential.portal_id == portal_id, Credential.user_id == user_id, IS_OWN)


def has_own_access(session: Session, portal_id: int, user_id: int) -> bool:
    """Tell whether something can be dialled under a person's own access, inside the caller's transaction."""
    return session.scalar(own_credential(portal_id, user_id)) is not None


def serving_administrators(portal_id: int) -> list[int]:
    """The ids of the people under whose tokens the portal is served: the present one, then the standby ones."""
    with reading() as session:
        return read_serving_administrators(session, portal_id)


def read_serving_administrators(session: Session, portal_id: int) -> list[int]:
    """The same inside the caller's transaction."""
    return list(session.scalars(_serving(portal_id).with_only_columns(Credential.user_id)))


def is_served(session: Session, portal: Portal) -> bool:
    """Tell whether the portal can be asked under somebody's token, inside the caller's transaction."""
    return portal.state == PortalState.INSTALLED and bool(read_serving_administrators(session, portal.id))


def service_credential_id(portal_id: int, *states: PortalState) -> int:
    """The credential that serves the portal; raises ``PortalDisconnected`` when none is left.

    So does a portal in another state than ``states`` (default: installed).
    """
    with reading() as session:
        portal = session.execute(select(Portal.state, Portal.member_id).where(Portal.id == portal_id)).one_or_none()
        found = session.scalar(_serving(portal_id).with_only_columns(Credential.id).limit(1))
    if portal is None:
        raise PortalDisconnected
    name_portal(portal.member_id)
    state, usable = portal.state, states or (PortalState.INSTALLED,)
    if state == PortalState.UNPAID and state not in usable:
        raise PortalUnpaid
    if found is None or state not in usable:
        raise PortalDisconnected
    return found


def demote(credential_id: int) -> bool:
    """Let the other administrators serve the portal first; False when there is no other."""
    with writing() as session:
        credential = lock_credential(session, credential_id)
        return credential is None or credential.service_since is None or _stand_behind(session, credential)


def _stand_behind(session: Session, credential: Credential) -> bool:
    if not session.scalars(_serving(credential.portal_id).where(Credential.id != credential.id)).first():
        return False
    credential.service_since = utcnow()
    return True


def load_alive(session: Session, credential_id: int) -> tuple[Credential, Portal]:
    """Read a live credential with its portal; raises ``PortalDisconnected``."""
    row = session.execute(
        select(Credential, Portal).join(Portal, Portal.id == Credential.portal_id).where(Credential.id == credential_id)
    ).one_or_none()
    if row is not None:
        name_portal(row.Portal.member_id)
    if row is None or row.Credential.state != CredentialState.ALIVE:
        raise PortalDisconnected
    return row.Credential, row.Portal


def invalidate(access: Access, error: ExchangeError) -> None:
    """Mark a credential whose tokens were refused for good, and the portal's state with it.

    A verdict about tokens that others have replaced meanwhile changes nothing.
    """
    with writing() as session:
        credential = lock_credential(session, access.credential_id)
        if credential is not None and credential.generation == access.generation:
            invalidate_credential(session, credential, error, access.opened_at)


def lock_credential(session: Session, credential_id: int) -> Credential | None:
    """A credential for a change that concerns its portal too; the portal is locked first, as everywhere."""
    portal_id = session.scalar(select(Credential.portal_id).where(Credential.id == credential_id))
    if portal_id is None:
        return None
    session.get(Portal, portal_id, with_for_update=True)
    return session.get(Credential, credential_id, with_for_update=True)


def was_proven_since(session: Session, portal_id: int, asked_at: datetime) -> bool:
    """Tell whether Bitrix24 has vouched for tokens that serve a portal after something was asked.

    A verdict of before says nothing about these, whoever's tokens it was about; inside the caller's transaction.
    """
    newer = _serving(portal_id).where(Credential.used_at > asked_at)
    return session.scalar(newer.with_only_columns(Credential.id).order_by(None).limit(1)) is not None


def mark_unpaid(session: Session, portal: Portal, asked_at: datetime) -> None:
    """Record what was asked at a moment and answered now: the locked portal's app is not paid for.

    After an answer that is outdated, the portal is asked again.
    """
    if was_proven_since(session, portal.id, asked_at):
        portal.payment_hinted_at = utcnow()
    elif portal.state != PortalState.UNINSTALLED:
        portal.state = PortalState.UNPAID


def note_unpaid(portal_id: int, asked_at: datetime) -> None:
    """The same for a portal that is not locked, if it is there still; commits."""
    with writing() as session:
        portal = session.get(Portal, portal_id, with_for_update=True)
        if portal is not None:
            mark_unpaid(session, portal, asked_at)


def invalidate_credential(session: Session, credential: Credential, error: ExchangeError, asked_at: datetime) -> None:
    """Mark a locked credential whose tokens were refused, and the portal's state with it.

    What they say of the portal counts unless others' tokens have proved it wrong since ``asked_at``. That the app was
    removed where a refresh token of anywhere comes from does not, nor, while somebody else stands by, that it is unpaid
    there.
    """
    served = credential.service_since is not None
    # An unpaid app works again once it is paid, so its tokens stay alive.
    unpaid = isinstance(error, PaymentRequired)
    if not unpaid:
        credential.die(error.code)
    session.flush()
    portal = session.get_one(Portal, credential.portal_id)
    if portal.state == PortalState.UNINSTALLED:
        return  # Whether it comes back is decided elsewhere.
    if not served:
        if unpaid:
            portal.payment_hinted_at = utcnow()
        return
    if isinstance(error, UnpaidSomewhere):
        portal.payment_hinted_at = utcnow()
        if not _stand_behind(session, credential):
            mark_unpaid(session, portal, asked_at)
    elif unpaid:
        mark_unpaid(session, portal, asked_at)
    elif isinstance(error, ApplicationRemoved) and not was_proven_since(session, portal.id, asked_at):
        portal.mark_uninstalled(utcnow())
    elif session.scalar(_serving(portal.id).limit(1)) is None:
        portal.state = PortalState.DISCONNECTED
    log.warning("credential_buried", member_id=portal.member_id, state=portal.state, reason=error.code)


def purge_idle() -> int:
    """Delete the credentials of people who neither have the app open, nor a callback under way, nor serve the portal.

    Returns how many.
    """
    # The open states are listed one by one, so that the index over them is used; ended callbacks are many.
    under_way = select(Callback.portal_id, Callback.requested_by).where(
        Callback.state.in_(set(State) - FINAL), Callback.requested_by.is_not(None)
    )
    is_idle = Credential.service_since.is_(None) & (Credential.used_at < utcnow() - IDLE_PERSON_KEPT)
    return purge(Credential, is_idle & tuple_(Credential.portal_id, Credential.user_id).not_in(under_way))

"""What Bitrix24 tells of an installation's life: installed, updated, paid for, removed; and proving each of these."""

from datetime import timedelta

import structlog
from sqlalchemy import select, update

from bx24app.bitrix24.connections import portal_clients
from bx24app.bitrix24.events import Event
from bx24app.bitrix24.identity import read_profile
from bx24app.database import reading, writing
from bx24app.errors import PortalUnreachable, Unverified
from bx24app.log import name_portal
from bx24app.models import Credential, Portal, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.security import digests, proof_limits, token_proof

log = structlog.get_logger(__name__)


ARRIVAL_KEPT = timedelta(minutes=1)


def receive_install_or_update(event: Event, address: str) -> None:
    """``ONAPPINSTALL`` and ``ONAPPUPDATE``: keep the application token, proven by the event's own access token.

    An update has removed our event handlers: they are bound again soon after. ``address``: of whoever sends it.
    Raises ``Unverified``.
    """
    if not event.application_token:
        raise Unverified("no application token in the event")
    try:
        if event.access_token:
            _prove(event, address)
        else:
            portal_of_event(event, address)
    except PortalUnreachable:
        # The event comes only once, so even unproven it is a reason to check our handlers.
        _look_at_bindings(event)
        raise
    name_portal(event.member_id)
    token_digest = digests.digest("application_token", event.application_token)
    mine = select(Portal).where(Portal.member_id == event.member_id)
    with reading() as session:
        portal = session.scalar(mine)
    # Everybody who ever opened the app has the token: whoever writes makes others wait, so only what is new is written.
    if portal is None or not _is_news(portal, event, token_digest):
        return
    with writing() as session:
        portal = session.scalar(mine.with_for_update())
        if portal is None:
            return
        portal.application_token_digest, portal.event_at = token_digest, utcnow()
        if event.name == "ONAPPUPDATE":
            portal.bound_manifest = portal.bound_at = None
    log.info("announced", member_id=event.member_id, kind=event.name)


def _is_news(portal: Portal, event: Event, token_digest: str) -> bool:
    is_bound = (portal.bound_manifest, portal.bound_at) != (None, None)
    return (
        portal.application_token_digest != token_digest
        or _arrived_long_ago(portal)
        or (event.name == "ONAPPUPDATE" and is_bound)
    )


def _look_at_bindings(event: Event) -> None:
    # Anybody may say it, as often as they like: after the first one there is nothing to write until we have looked.
    is_believed_bound = (Portal.member_id == event.member_id) & Portal.bound_manifest.is_not(None)
    with reading() as session:
        portal_id = session.scalar(select(Portal.id).where(is_believed_bound))
    if portal_id is None or event.name != "ONAPPUPDATE":
        return
    with writing() as session:
        session.execute(update(Portal).where(Portal.id == portal_id).values(bound_manifest=None))


def _prove(event: Event, address: str) -> None:
    """Let the authorization server say that the event's access token is ours, and the portal that an administrator's.

    Every employee has tokens of our application: theirs must not speak for the portal.
    """
    with reading() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id))

    def known_as() -> str | None:
        expected = portal.application_token_digest if portal else None
        is_shown = digests.matches("application_token", event.application_token, expected)
        return proof_limits.insider() if is_shown else None

    with proof_limits.proving(address, event.member_id, event.access_token, known_as):
        if portal is None:
            # Whoever makes portals up takes the authorization server's time from none that there is.
            token_proof.prove_unknown(event.access_token, event.member_id, address)
            return
        info = token_proof.prove_token(event.access_token, event.member_id)
        if not _administrates(portal, event.access_token, info.user_id):
            raise Unverified("event token of a person who is no administrator")


def _administrates(portal: Portal, access_token: str, user_id: int) -> bool:
    """Ask the portal for the present rights of a token's owner; raises ``Unverified``, ``PortalUnreachable``.

    A system user has none, and serves the portal for an administrator who was dismissed.
    """
    try:
        with portal_api.logged(portal.id, user_id, portal_api.RequestLabel("profile", {})) as requests:
            clients = portal_clients(portal.member_id)
            profile = read_profile(clients.client(portal.client_endpoint, access_token, requests.watch))
    except ExchangeError as error:
        raise token_proof.unproven("portal", error) from None
    return user_id == profile.ID and (profile.ADMIN or _serves_as_system_user(portal.id, user_id))


def _serves_as_system_user(portal_id: int, user_id: int) -> bool:
    serving = select(Credential.id).where(
        Credential.portal_id == portal_id,
        Credential.acting_as == user_id,
        Credential.user_id != user_id,
        Credential.service_since.is_not(None),
    )
    with reading() as session:
        return session.scalar(select(serving.exists())) is True


def portal_of_event(event: Event, address: str) -> Portal:
    """The portal whose application token the event carries.

    One that does not match is proven by the event's access token, and heals ours. ``address``: of whoever sends it.
    Raises ``Unverified``.
    """
    with reading() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id))
    expected = portal.application_token_digest if portal else None
    if portal is None:
        raise Unverified("unknown portal")
    if digests.matches("application_token", event.application_token, expected):
        _note_arrival(portal)
        return portal
    if not event.access_token or not event.application_token:
        raise Unverified("wrong application token")
    _prove(event, address)
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        # Another one that was stored meanwhile is newer than this event.
        if row.application_token_digest == expected:
            row.application_token_digest = token_digest
    return portal


def _note_arrival(portal: Portal) -> None:
    """Store when an event last reached us, at most once a minute."""
    if _arrived_long_ago(portal):
        with writing() as session:
            session.execute(update(Portal).where(Portal.id == portal.id).values(event_at=utcnow()))


def _arrived_long_ago(portal: Portal) -> bool:
    return portal.event_at is None or utcnow() - portal.event_at > ARRIVAL_KEPT

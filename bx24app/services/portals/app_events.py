"""What Bitrix24 tells of an installation's life: installed, updated, paid for, removed; and proving each of these."""

from datetime import timedelta

import structlog
from sqlalchemy import select, update

from bx24app.bitrix24.connections import authorization_server
from bx24app.bitrix24.errors import Bitrix24Error
from bx24app.bitrix24.events import Event
from bx24app.database import reading, writing
from bx24app.errors import PortalUnreachable, Unverified
from bx24app.log import name_portal
from bx24app.models import Credential, Portal, User, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.security import digests
from bx24app.settings import settings

log = structlog.get_logger(__name__)


ARRIVAL_KEPT = timedelta(minutes=1)


def receive_install_or_update(event: Event) -> None:
    """``ONAPPINSTALL`` and ``ONAPPUPDATE``: keep the application token, proven by the event's own access token.

    An update has removed our event handlers: they are bound again soon after. Raises ``Unverified``.
    """
    if not event.application_token:
        raise Unverified("no application token in the event")
    try:
        if event.access_token:
            _prove(event)
        else:
            portal_of_event(event)
    except PortalUnreachable:
        # The event comes only once, so even unproven it is a reason to check our handlers.
        _look_at_bindings(event)
        raise
    name_portal(event.member_id)
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is None:
            return
        portal.application_token_digest, portal.event_at = token_digest, utcnow()
        if event.name == "ONAPPUPDATE":
            portal.bound_manifest = portal.bound_at = None
    log.info("announced", member_id=event.member_id, kind=event.name)


def _look_at_bindings(event: Event) -> None:
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is not None and event.name == "ONAPPUPDATE":
            portal.bound_manifest = None


def _prove(event: Event) -> None:
    """Let the authorization server say that the event's access token is our application's on that portal."""
    try:
        info = authorization_server.app_info(event.access_token)
    except Bitrix24Error as error:
        raise Unverified(f"event token refused: {error}") from None
    except ExchangeError as error:
        raise PortalUnreachable(f"authorization server: {error.code}") from None
    if info.client_id != settings.client_id or info.install.member_id != event.member_id:
        raise Unverified("event token of another application or portal")
    if not _administrates(event.member_id, info.user_id):
        # Every employee has tokens of our application, so theirs must not prove anything for the portal.
        raise Unverified("event token of a person who is no administrator")


def _administrates(member_id: str, user_id: int) -> bool:
    """Tell whether a person is an administrator of the portal, as far as we know them, or serves it."""
    of_portal = select(Portal.id).where(Portal.member_id == member_id).scalar_subquery()
    known = select(User.id).where(User.portal_id == of_portal, User.user_id == user_id, User.is_administrator)
    serving = select(Credential.id).where(
        Credential.portal_id == of_portal, Credential.acting_as == user_id, Credential.service_since.is_not(None)
    )
    with reading() as session:
        return session.scalar(select(known.exists() | serving.exists())) is True


def portal_of_event(event: Event) -> Portal:
    """The portal whose application token the event carries.

    One that does not match is proven by the event's access token, and heals ours. Raises ``Unverified``.
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
    _prove(event)
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        session.get_one(Portal, portal.id, with_for_update=True).application_token_digest = token_digest
    return portal


def _note_arrival(portal: Portal) -> None:
    """Store when an event last reached us, at most once a minute."""
    if portal.event_at is None or utcnow() - portal.event_at > ARRIVAL_KEPT:
        with writing() as session:
            session.execute(update(Portal).where(Portal.id == portal.id).values(event_at=utcnow()))

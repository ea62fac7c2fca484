"""Installing the app on a portal, and removing it."""

from dataclasses import dataclass

import structlog
from sqlalchemy import delete, select

from bx24app.bitrix24.errors import Bitrix24Error, Refused
from bx24app.bitrix24.payloads import Event, FramePost
from bx24app.errors import AdministratorNeeded, PortalUnreachable, Unverified
from bx24app.extensions import reading, writing
from bx24app.models import (
    Callback,
    Credential,
    CredentialKind,
    Portal,
    PortalState,
    ReceivedEvent,
    RestCall,
    User,
    utcnow,
)
from bx24app.services import bindings, credentials, digests, openings
from bx24app.services.bindings import Problem
from bx24app.services.connections import authorization_server
from bx24app.services.numbers import guess_country
from bx24app.services.openings import Opening, Place, PortalApp, Profile
from bx24app.settings import settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Installation:
    """A portal that can be used, and what it would not bind."""

    opening: Opening
    problems: list[Problem]


def install(post: FramePost) -> Installation:
    """Prove, store and bind; a repeated installation brings everything up to date.

    Raises ``Unverified``, ``AdministratorNeeded``, ``PortalUnreachable``.
    """
    if not post.AUTH_ID or not post.REFRESH_ID:
        raise Unverified("no tokens")
    info = openings.vouched(post)
    place = Place(post.PLACEMENT)
    try:
        batch = openings.ask_portal(info.install.client_endpoint, post, place)
        app, profile = openings.who(batch)
    except Refused as error:
        raise Unverified(f"the portal refuses the visitor: {error}") from None
    except Bitrix24Error as error:
        raise PortalUnreachable(f"portal: {error.code}") from None
    if not profile.ADMIN:
        raise AdministratorNeeded("only an administrator installs")
    if info.user_id != profile.ID:
        raise Unverified("the portal names another user")
    portal, user, credential_id = _store(post, info.install.domain, info.install.client_endpoint, app, profile)
    problems = bindings.reconcile(credentials.access(credential_id))
    log.info("installed", member_id=portal.member_id, problems=[problem.what for problem in problems])
    return Installation(Opening(portal, user, place, batch), problems)


def keep_bound(opening: Opening) -> None:
    """Bind what the portal lacks of the present manifest when an administrator opens the app."""
    if not (opening.user.is_administrator and bindings.is_due(opening.portal)):
        return
    credential_id = credentials.person_credential_id(opening.portal.id, opening.user.user_id)
    if credential_id is not None:
        bindings.reconcile(credentials.access(credential_id))


def _store(
    post: FramePost, domain: str, client_endpoint: str, app: PortalApp, profile: Profile
) -> tuple[Portal, User, int]:
    token_digest = digests.digest("application_token", post.APPLICATION_TOKEN) if post.APPLICATION_TOKEN else None
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == post.member_id).with_for_update())
        if portal is None:
            portal = Portal(member_id=post.member_id, default_country=guess_country(domain, app.LANGUAGE_ID))
            session.add(portal)
        portal.move(domain, client_endpoint)
        portal.app_code, portal.app_id = app.CODE, str(app.ID)
        portal.state, portal.installed_at = PortalState.INSTALLED, utcnow()
        portal.language = app.LANGUAGE_ID[:16]
        # A reinstallation may come with a new token or none: an old one must not stay behind a new one.
        portal.application_token_digest = token_digest or portal.application_token_digest
        session.flush()
        tokens = openings.tokens_of(post, portal, profile.ID)
        credential = credentials.keep(session, portal, CredentialKind.SERVICE, tokens)
        credentials.keep(session, portal, CredentialKind.PERSON, tokens)
        user = openings.note_user(session, portal, profile)
    return portal, user, credential.id


def installed(event: Event) -> None:
    """``ONAPPINSTALL``: keep the application token, proven by the event's own access token.

    Raises ``Unverified``.
    """
    if not event.access_token or not event.application_token:
        raise Unverified("no token in the event")
    try:
        info = authorization_server.app_info(event.access_token)
    except Refused as error:
        raise Unverified(f"event token refused: {error}") from None
    except Bitrix24Error as error:
        raise PortalUnreachable(f"authorization server: {error.code}") from None
    if info.client_id != settings.client_id or info.install.member_id != event.member_id:
        raise Unverified("event token of another application or portal")
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is not None:
            portal.application_token_digest = token_digest


def proven_portal(event: Event) -> Portal:
    """The portal whose application token the event carries; raises ``Unverified``."""
    with reading() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id))
    expected = portal.application_token_digest if portal else None
    if portal is None or not digests.matches("application_token", event.application_token, expected):
        raise Unverified("wrong application token")
    return portal


def uninstalled(portal: Portal, event: Event) -> bool:
    """``ONAPPUNINSTALL``: forget the portal's people, tokens, numbers and logs; returns whether it was done.

    An event of before the last installation is late and does nothing. With ``CLEAN`` 0 the settings stay.
    """
    if event.ts < int(portal.installed_at.timestamp()):
        return False
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        if event.fields.get("CLEAN") == "0":
            for model in (Callback, Credential, ReceivedEvent, RestCall, User):
                session.execute(delete(model).where(model.portal_id == row.id))
            row.state, row.application_token_digest = PortalState.UNINSTALLED, None
            row.lines = row.voices = row.bound_manifest = None
        else:
            session.delete(row)
    log.info("uninstalled", member_id=portal.member_id)
    return True

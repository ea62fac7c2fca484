"""Installing the app on a portal."""

from contextlib import suppress
from dataclasses import dataclass

import structlog
from sqlalchemy import select

from bx24app.bitrix24.errors import Bitrix24Error, Refused
from bx24app.bitrix24.payloads import FramePost
from bx24app.errors import AdministratorNeeded, PortalUnreachable, Refusal, Unverified
from bx24app.extensions import writing
from bx24app.models import (
    Pace,
    Portal,
    User,
    utcnow,
)
from bx24app.services import bindings, credentials, digests, openings
from bx24app.services.bindings import Problem
from bx24app.services.numbers import guess_country
from bx24app.services.openings import Opening, Place, PortalApp, Profile

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
    with suppress(Bitrix24Error, Refusal):  # What keeps us from binding keeps nobody from opening the desk.
        bindings.reconcile(credentials.person_access(opening.portal.id, opening.user.user_id))


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
        portal.join(utcnow())
        portal.language, portal.license_family = app.LANGUAGE_ID[:16], app.family
        # A reinstallation may come with a new token or none: an old one must not stay behind a new one.
        portal.application_token_digest = token_digest or portal.application_token_digest
        session.flush()
        if session.get(Pace, portal.id) is None:
            session.add(Pace(portal_id=portal.id, level_at=utcnow()))
        tokens = openings.tokens_of(post, portal, profile.ID)
        credential = credentials.keep(session, portal, tokens, administrator=True)
        user = openings.note_user(session, portal, profile)
    return portal, user, credential.id

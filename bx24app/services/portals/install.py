"""Installing the app on a portal."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bx24app.bitrix24.authorization import AppInfo
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.frame_post import FramePost
from bx24app.bitrix24.identity import PortalApp, Profile, read_identity
from bx24app.bitrix24.place import LaunchPlace
from bx24app.database import writing
from bx24app.database.errors import is_duplicate
from bx24app.errors import AdministratorNeeded, NotInstalled, Refusal, StillRemoving, Unverified
from bx24app.models import Portal, PortalSettings, Throttle, User, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling.business_hours import is_zone, working_week
from bx24app.services.calling.countries import guess_country
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, launch, token_renewal, uninstall
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.new_address import take_new_address
from bx24app.services.portals.places.parts import MissingPart
from bx24app.services.portals.tokens import store_tokens
from bx24app.services.security import digests, token_proof

log = structlog.get_logger(__name__)
# What ``_store_once`` takes.
_Told = tuple[FramePost, str, str, PortalApp, Profile, datetime]


@dataclass(frozen=True)
class Installation:
    """A portal that can be used, and what it would not bind."""

    launch: Launch
    problems: list[MissingPart]


def install(post: FramePost, address: str) -> Installation:
    """Prove, store and bind; a repeated installation brings everything up to date.

    ``address``: of whoever sends it. Raises ``Unverified``, ``AdministratorNeeded``, ``PortalUnreachable``.
    """
    if not post.AUTH_ID or not post.REFRESH_ID:
        raise Unverified("no tokens")
    if launch.known_portal(post.member_id) is None:
        info = token_proof.prove_unknown(post.AUTH_ID, post.member_id, address)
    else:
        info = token_proof.prove_page(post.AUTH_ID, post.member_id, address)
    place = LaunchPlace(post.PLACEMENT)
    requests = portal_api.LoggedRequests(launch.request_label(place))
    uninstall.finish_before_installing(post.member_id)
    asked_at = utcnow()
    try:
        batch, app, profile = _ask_administrator(post, info, place, requests)
        at = info.install.client_endpoint
        portal, user, credential_id = _store(post, info.install.domain, at, app, profile, asked_at)
    finally:
        # They are written only now, because a new portal has just got its row.
        requests.write_for(post.member_id)
    problems = bindings.bind_missing(token_renewal.open_access(credential_id))
    log.info("installed", member_id=portal.member_id, problems=[part.name for part in problems])
    return Installation(Launch(portal, user, place, batch, asked_at), problems)


def _ask_administrator(
    post: FramePost, info: AppInfo, place: LaunchPlace, requests: portal_api.LoggedRequests
) -> tuple[BatchAnswer, PortalApp, Profile]:
    """Let the portal say who installs: an administrator, the one of the token."""
    try:
        batch = launch.ask_portal(info.install.client_endpoint, post, place, requests)
        app, profile = read_identity(batch)
    except ExchangeError as error:
        raise token_proof.unproven("portal", error) from None
    if not profile.ADMIN:
        raise AdministratorNeeded("only an administrator installs")
    if info.user_id != profile.ID:
        raise Unverified("the portal names another user")
    return batch, app, profile


def launch_or_install(post: FramePost, address: str) -> Launch:
    """Prove the launch of a page, and mend the installation where an administrator opens it.

    A portal that Bitrix24 vouches for but we do not know is installed again, and what it lacks of the present manifest,
    or could not have before it granted more scopes, is bound. Raises as ``verify_launch`` and ``install`` do.
    """
    try:
        proven = launch.verify_launch(post, address)
    except NotInstalled:
        return install(post, address).launch
    if proven.asked_at and proven.user.is_administrator:
        bindings.look_at_rules_again(proven.portal)
        if bindings.is_rebinding_due(proven.portal, proven.batch):
            with suppress(ExchangeError, Refusal):  # A failed binding must not keep anybody from the desk.
                bindings.bind_missing(token_renewal.person_access(proven.portal.id, proven.user.user_id))
    return proven


def _first_settings(domain: str, app: PortalApp, profile: Profile) -> PortalSettings:
    """What a new portal begins with: its country, and working hours in the zone of whoever installs, where it is known.

    Without hours the app would promise calls in the middle of the night.
    """
    country, zone = guess_country(domain, app.LANGUAGE_ID), profile.TIME_ZONE or ""
    return PortalSettings(default_country=country, hours=working_week(zone, country) if is_zone(zone) else None)


def _store(*told: *_Told) -> tuple[Portal, User, int]:
    try:
        return _store_once(*told)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        # Another post of the same new portal came first, as when somebody presses twice.
        return _store_once(*told)


def _store_once(
    post: FramePost, domain: str, client_endpoint: str, app: PortalApp, profile: Profile, asked_at: datetime
) -> tuple[Portal, User, int]:
    token_digest = digests.digest("application_token", post.APPLICATION_TOKEN) if post.APPLICATION_TOKEN else None
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == post.member_id).with_for_update())
        if portal is not None and portal.is_being_removed:
            raise StillRemoving
        if portal is None:
            portal = Portal(member_id=post.member_id, settings=_first_settings(domain, app, profile))
            session.add(portal)
        take_new_address(portal, client_endpoint)
        portal.app_code, portal.app_id = app.CODE, str(app.ID)
        portal.mark_installed(utcnow())
        portal.language, portal.license_family = app.LANGUAGE_ID[:16], app.family
        # A reinstallation may bring a new token or none, and only a new one replaces the old one.
        portal.application_token_digest = token_digest or portal.application_token_digest
        session.flush()
        if session.get(Throttle, portal.id) is None:
            session.add(Throttle(portal_id=portal.id, level_at=utcnow()))
        tokens = launch.tokens_of(post, portal, profile.ID)
        credential = store_tokens(session, portal, tokens, administrator=True)
        user = launch.store_user(session, portal, profile, asked_at)
    return portal, user, credential.id

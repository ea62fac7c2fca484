"""Who opened a page: proving that a frame post belongs to our application, a portal and a person."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.authorization import AppInfo, Tokens
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.company.cards import opened_commands
from bx24app.bitrix24.connections import portal_clients
from bx24app.bitrix24.crm import BatchCommands
from bx24app.bitrix24.errors import (
    AccessDenied,
    CredentialRefused,
    PaymentRequired,
    RefusedForNow,
    TokenExpired,
)
from bx24app.bitrix24.frame_post import FramePost
from bx24app.bitrix24.identity import IDENTITY_QUESTIONS, PortalApp, Profile, read_identity
from bx24app.bitrix24.place import LaunchPlace, place_of
from bx24app.database import reading, writing
from bx24app.errors import Malformed, NotInstalled, Retry, Unverified, VisitorRefused
from bx24app.log import name_portal
from bx24app.models import Portal, PortalState, User, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.manifest import manifest
from bx24app.services.portals.new_address import take_new_address
from bx24app.services.portals.tokens import note_unpaid, store_tokens
from bx24app.services.security import digests, proof_limits, token_proof
from bx24app.services.security.tickets import TICKET_LIFETIME

log = structlog.get_logger(__name__)
MAX_ZONE = 64
# Nobody vouches for the time that a browser tells: a token that is over would be renewed at once, under the client id
# of all portals. One that ends sooner is renewed when the portal says so, which is believed a few times.
TAKEN_FOR_GOOD = timedelta(minutes=10)


@dataclass(frozen=True)
class Launch:
    """A proven opening of a page; ``batch`` holds what the portal said about the CRM entity.

    ``asked_at`` is when the portal itself was asked who opens it, and what they may: before this launch, where a limit
    keeps it from saying that now. None: it was silent, and nobody knows what they may now.
    """

    portal: Portal
    user: User
    place: LaunchPlace
    batch: BatchAnswer | None
    asked_at: datetime | None


@dataclass(frozen=True)
class _PortalWord:
    """What a portal answered, and when it was asked."""

    asked_at: datetime
    batch: BatchAnswer
    app: PortalApp
    profile: Profile


def check_placement(post: FramePost, *, opens_desk: bool) -> None:
    """Refuse a placement that the manifest does not bind to this page; raises ``Malformed``."""
    known = manifest()
    if not known.binds(post.PLACEMENT) or known.opens_desk(post.PLACEMENT) != opens_desk:
        raise Malformed(f"placement {post.PLACEMENT}")


def _questions(place: LaunchPlace) -> BatchCommands:
    return IDENTITY_QUESTIONS | opened_commands(place.entity_type, place.entity_id, place.activity_id)


def request_label(place: LaunchPlace) -> portal_api.RequestLabel:
    """What the request of ``ask_portal`` is called in the REST log."""
    return portal_api.RequestLabel("batch", {"cmd": ", ".join(_questions(place))})


def ask_portal(
    client_endpoint: str, post: FramePost, place: LaunchPlace, requests: portal_api.LoggedRequests
) -> BatchAnswer:
    """Ask the portal, under the visitor's token and in one request, who they are and what the card holds.

    What a limit kept it from saying about the visitor is asked once more.
    """
    client = portal_clients(post.member_id).client(client_endpoint, post.AUTH_ID, requests.watch)
    answer = client.batch(_questions(place))
    limited = {name for name, error in answer.errors.items() if isinstance(error, RefusedForNow)}
    again = {name: command for name, command in IDENTITY_QUESTIONS.items() if name in limited}
    return answer.completed_by(client.batch(again)) if again else answer


def _identify(portal: Portal, post: FramePost, place: LaunchPlace, requests: portal_api.LoggedRequests) -> _PortalWord:
    asked_at = utcnow()
    try:
        batch = ask_portal(portal.client_endpoint, post, place, requests)
    except ExchangeError as error:
        requests.fail(error)
        raise
    return _PortalWord(asked_at, batch, *read_identity(batch))


def tokens_of(post: FramePost, portal: Portal, user_id: int) -> Tokens:
    """The posted tokens, once they are proven."""
    return Tokens(
        access_token=post.AUTH_ID,
        refresh_token=post.REFRESH_ID,
        expires_at=utcnow() + max(timedelta(seconds=post.AUTH_EXPIRES), TAKEN_FOR_GOOD),
        member_id=portal.member_id,
        client_endpoint=portal.client_endpoint,
        user_id=user_id,
    )


def verify_launch(post: FramePost, address: str) -> Launch:
    """Prove a frame post and note the visitor; until it is proven nothing is stored or counted.

    ``address``: of whoever sends it.

    Raises ``Unverified`` (another application's token, another portal's, none), ``NotInstalled`` when Bitrix24
    vouches for a portal that we do not know, ``PortalUnreachable`` when nobody could be asked.
    """
    if not post.AUTH_ID:
        raise Unverified("no access token")
    portal = known_portal(post.member_id)
    if portal is None:
        token_proof.prove_unknown(post.AUTH_ID, post.member_id, address)
        raise NotInstalled("portal not installed")
    shown = (post.member_id, post.AUTH_ID)
    if proof_limits.is_crowded(*shown) or not proof_limits.may_ask_portal(*shown):
        token_proof.prove_page(post.AUTH_ID, post.member_id, address)
    place, asked_at = place_of(post), utcnow()
    requests = portal_api.LoggedRequests(request_label(place))
    try:
        word = _identify(portal, post, place, requests)
        if (word.app.CODE, str(word.app.ID)) != (portal.app_code, portal.app_id):
            _mismatch(post)
    except ExchangeError as error:
        return _open_by_authorization_server(_Doubt(post, portal, place, error, asked_at, address), requests)
    proof_limits.note_proof(post.member_id, post.AUTH_ID)
    # What was asked counts, whether the page may be opened or not.
    requests.write(portal.id, None)
    proof_limits.note_person(post.member_id, post.AUTH_ID, word.profile.ID, address)
    return _launch(post, portal, place, word)


def _launch(post: FramePost, portal: Portal, place: LaunchPlace, word: _PortalWord) -> Launch:
    return Launch(*_store_visitor(post, portal, word.profile, word), place, word.batch, word.asked_at)


def known_portal(member_id: str) -> Portal | None:
    """The portal that has the app installed; None when we do not know it."""
    with reading() as session:
        return session.scalar(
            select(Portal).where(Portal.member_id == member_id, Portal.state != PortalState.UNINSTALLED)
        )


def shows_application_token(post: FramePost) -> bool:
    """Tell whether a post shows what only people of the portal know; it proves nothing of who they are."""
    portal = known_portal(post.member_id) if post.APPLICATION_TOKEN else None
    expected = portal.application_token_digest if portal else None
    return digests.matches("application_token", post.APPLICATION_TOKEN, expected)


def _mismatch(post: FramePost) -> NoReturn:
    """Another application's id: the authorization server decides whether it was reinstalled or is a stranger."""
    token_proof.prove_token(post.AUTH_ID, post.member_id)
    raise NotInstalled("the application's id on the portal has changed")


@dataclass(frozen=True)
class _Doubt:
    """A launch to which the portal, asked at ``asked_at``, answered with ``error``."""

    post: FramePost
    portal: Portal
    place: LaunchPlace
    error: ExchangeError
    asked_at: datetime
    address: str


def _open_by_authorization_server(doubt: _Doubt, requests: portal_api.LoggedRequests) -> Launch:
    """The portal did not say who it is: the authorization server knows, and knows its present address."""
    post, portal, place, error = doubt.post, doubt.portal, doubt.place, doubt.error
    log.info("portal_did_not_vouch", member_id=portal.member_id, reason=error.code)
    is_refused = isinstance(error, CredentialRefused | TokenExpired)
    if is_refused and not proof_limits.may_look_for_move(post.member_id):
        raise Unverified(f"the portal refuses the visitor: {error}")
    info = token_proof.prove_token(post.AUTH_ID, post.member_id)
    proof_limits.note_proof(post.member_id, post.AUTH_ID)
    try:
        proof_limits.note_person(post.member_id, post.AUTH_ID, info.user_id, doubt.address)
        if info.install.client_endpoint != portal.client_endpoint:
            try:
                portal = _move(portal.id, info)
                return _launch(post, portal, place, _identify(portal, post, place, requests))
            except ExchangeError:
                log.info("portal_unreachable_after_move", member_id=portal.member_id)
    finally:
        requests.write(portal.id, None)
    return _open_without_portal(replace(doubt, portal=portal), info.user_id)


def _open_without_portal(doubt: _Doubt, user_id: int) -> Launch:
    """The authorization server vouches for a visitor of whom the portal says nothing, or says why they may not."""
    portal, error = doubt.portal, doubt.error
    if isinstance(error, AccessDenied):
        raise VisitorRefused(f"the portal refuses the visitor: {error}", error.code, error.words)
    if isinstance(error, PaymentRequired):
        # The desk opens and says so; somebody who pays comes back to their callbacks.
        note_unpaid(portal.id, doubt.asked_at)
    elif error.retry in (Retry.NEVER, Retry.AFTER_RENEWAL):
        raise Unverified(f"the portal refuses the visitor: {error}")
    with reading() as session:
        known = session.scalar(select(User).where(User.portal_id == portal.id, User.user_id == user_id))
    profile = Profile(ID=user_id, NAME=known.name if known else None)
    # Only the portal grants rights: without its word the ticket of this launch carries none (callbacks/roles.py).
    asked_at = _last_word(known) if isinstance(error, RefusedForNow) else None
    return Launch(*_store_visitor(doubt.post, portal, profile, None), doubt.place, None, asked_at)


def _last_word(known: User | None) -> datetime | None:
    """When the portal was last asked for a visitor's rights; None: so long ago that a ticket of then has ended.

    A limit kept the portal from saying them again, which anybody may have used up. What it has said stands as long as
    in a page that was opened then.
    """
    if known is None or known.proven_at is None:
        return None
    return known.proven_at if utcnow() - known.proven_at < TICKET_LIFETIME else None


def _move(portal_id: int, info: AppInfo) -> Portal:
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        take_new_address(portal, info.install.client_endpoint)
    return portal


def _store_visitor(post: FramePost, portal: Portal, profile: Profile, word: _PortalWord | None) -> tuple[Portal, User]:
    """Keep the visitor's name, and their tokens for the callbacks that they may start; returns both as they are now.

    ``word`` None: the portal itself did not vouch for the visitor.
    """
    token_digest = digests.digest("application_token", post.APPLICATION_TOKEN) if post.APPLICATION_TOKEN else None
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        name_portal(row.member_id)
        user = store_user(session, row, profile, word.asked_at if word else None)
        # While the portal does not answer, nobody knows who is an administrator.
        is_administrator = user.is_administrator if word else None
        if word is not None:
            row.license_family = word.app.family
        # A user can change what the browser posts, so only an administrator's post may set the token.
        if token_digest and is_administrator:
            row.application_token_digest = token_digest
        if post.REFRESH_ID:
            tokens = tokens_of(post, row, profile.ID)
            store_tokens(session, row, tokens, administrator=is_administrator, is_vouched_for=word is not None)
            if is_administrator and row.state in (PortalState.DISCONNECTED, PortalState.UNPAID):
                # An administrator whom the portal lets in reconnects it, or shows that it is paid again.
                row.state = PortalState.INSTALLED
        return row, user


def store_user(session: Session, portal: Portal, profile: Profile, asked_at: datetime | None) -> User:
    """Keep a visitor's name and rights inside the caller's transaction.

    ``asked_at`` is when the portal was asked for them; None: it was not, and what it said before stays.
    """
    user = session.scalar(select(User).where(User.portal_id == portal.id, User.user_id == profile.ID).with_for_update())
    if user is None:
        user = User(portal_id=portal.id, user_id=profile.ID)
        session.add(user)
    user.name, user.seen_at = profile.full_name, utcnow()
    if asked_at is not None:
        user.time_zone = (profile.TIME_ZONE or "")[:MAX_ZONE] or None
        user.keep_rights(asked_at, is_administrator=profile.ADMIN, departments=profile.departments)
    return user

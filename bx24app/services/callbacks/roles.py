"""Roles inside a portal: what an employee may do in the app, by what the portal and its administrators say.

Rights are read, never remembered: the administrators' choice with each request, the portal's word at each launch, which
counts as long as a ticket lives.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.connections import portal_clients
from bx24app.bitrix24.identity import PERSON_QUESTIONS, Profile, read_person
from bx24app.database import reading, writing
from bx24app.errors import Unverified
from bx24app.models import Callback, Portal, User, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.tokens import Access
from bx24app.services.security import token_proof


class Role(IntEnum):
    """What an employee may do in the app; a greater role may do everything that a smaller one may.

    Each view names the least role that it needs (``principal_required``), and tests/scenarios/test_roles.py has them
    all. An API key has no role: it sees, starts, moves and cancels the callbacks of its form. Customers move and cancel
    their own request by its link (websites/status_page.py).
    """

    NONE = 0
    VIEWER = 1  # sees callbacks and reports
    OPERATOR = 2  # starts, moves, cancels, retries and resolves callbacks, and adds to the do-not-call list
    ADMINISTRATOR = 3  # changes settings, websites, keys, webhooks and lists, and erases


# As long as a ticket lives: what the portal said of somebody's rights longer ago is asked again before a dial.
RIGHTS_STAND = timedelta(hours=1)


@dataclass(frozen=True)
class Rights:
    """What the portal says of somebody: whether they administer it, and in which departments they are."""

    is_administrator: bool = False
    departments: frozenset[int] = frozenset()


# Of somebody of whom the portal has said nothing, or says nothing now.
NO_RIGHTS = Rights()


def rights_of(*, is_administrator: bool | None, departments: str | None) -> Rights:
    """Read them from the columns of their row; both are None where there is no row."""
    return Rights(bool(is_administrator), frozenset(map(int, (departments or "").split())))


def role_of(portal: Portal, user_id: int, rights: Rights) -> Role:
    """The role of an employee: the only place that knows how roles are given.

    A department means the people who are in it, not those in the departments below: the portal names only theirs.
    """
    if rights.is_administrator:
        return Role.ADMINISTRATOR
    chosen = portal.settings.roles
    if chosen is None:
        return Role.OPERATOR
    operators = chosen["operators"]
    if user_id in operators["people"] or not rights.departments.isdisjoint(operators["departments"]):
        return Role.OPERATOR
    return Role.VIEWER if chosen["others"] == "view" else Role.NONE


def own_of(portal: Portal, role: Role, user_id: int | None) -> int | None:
    """Whose callbacks alone somebody sees, where administrators have chosen that; None: everybody's."""
    return None if portal.settings.shares_callbacks or role is Role.ADMINISTRATOR else user_id


def role_of_launch(launch: Launch) -> Role:
    """The role of whoever opens a page; only the portal's own word names administrators and departments."""
    user = launch.user
    said = rights_of(is_administrator=user.is_administrator, departments=user.departments)
    return role_of(launch.portal, user.user_id, said if launch.asked_at else NO_RIGHTS)


def role_of_user(session: Session, portal: Portal, user_id: int) -> Role:
    """The role that an employee has now by what the portal said last, inside the caller's transaction."""
    user = session.scalar(_user_of(portal.id, user_id))
    if user is None:
        return role_of(portal, user_id, NO_RIGHTS)
    return role_of(portal, user_id, rights_of(is_administrator=user.is_administrator, departments=user.departments))


def _user_of(portal_id: int, user_id: int) -> Select[User]:
    return select(User).where(User.portal_id == portal_id, User.user_id == user_id)


def is_vouched_for(session: Session, callback: Callback) -> bool:
    """Tell whether the portal still named a callback's person after they chose that it is dialled, or when.

    Of somebody who was dismissed meanwhile nobody knows when, so what they chose after its last word does not count.
    """
    user = session.scalar(_user_of(callback.portal_id, callback.requested_by or 0))
    return user is not None and user.proven_at is not None and user.proven_at >= callback.chosen_at


def confirm_rights(portal: Portal, access: Access) -> None:
    """Ask the portal again what somebody may do, if a role rests on that and its last word is too old; commits.

    Raises ``ExchangeError``.
    """
    if portal.settings.roles is None:
        return
    asked_at, user_of = utcnow(), _user_of(portal.id, access.user_id)
    with reading() as session:
        user = session.scalar(user_of)
    if user is not None and user.proven_at is not None and asked_at - user.proven_at <= RIGHTS_STAND:
        return
    profile = portal_api.call(access, portal_api.RequestLabel("batch", {"cmd": ", ".join(PERSON_QUESTIONS)}), _ask)
    with writing() as session:
        user = session.scalar(user_of.with_for_update())
        if user is not None and user.user_id == profile.ID:
            user.keep_rights(asked_at, is_administrator=profile.ADMIN, departments=profile.departments)


def role_of_token(portal: Portal, access_token: str, user_id: int) -> Role:
    """The role of the owner of a token that is proven to be ours; the portal is asked only where it depends on that.

    Raises ``Unverified``, ``PortalUnreachable``.
    """
    if portal.settings.roles is None and portal.settings.shares_callbacks:
        return role_of(portal, user_id, NO_RIGHTS)
    profile = person_of_token(portal, access_token, user_id)
    return role_of(portal, user_id, Rights(profile.ADMIN, frozenset(profile.departments)))


def person_of_token(portal: Portal, access_token: str, user_id: int) -> Profile:
    """Let the portal say who the owner of a proven token is; raises ``Unverified``, ``PortalUnreachable``."""
    try:
        with portal_api.logged(portal.id, user_id, portal_api.RequestLabel("batch", {"cmd": "role"})) as requests:
            clients = portal_clients(portal.member_id)
            profile = _ask(clients.client(portal.client_endpoint, access_token, requests.watch))
    except ExchangeError as error:
        raise token_proof.unproven("portal", error) from None
    if user_id != profile.ID:
        raise Unverified("token of another person")
    return profile


def _ask(client: PortalClient) -> Profile:
    return read_person(client.batch(PERSON_QUESTIONS))

"""Guards of the frame: a post of the portal's frame is proven before a view sees anything of it."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from flask import request

from bx24app.bitrix24.frame_post import FramePost, read_frame_post
from bx24app.errors import OpenedElsewhere, TicketExpired, TooManyLaunches
from bx24app.services.portals import install, launch
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.manifest import manifest
from bx24app.services.runtime.slots import Slots
from bx24app.services.security import proof_limits, tickets
from bx24app.services.security.networks import network_of
from bx24app.urls import normal_origin, origin_of
from bx24app.web.bodies import read_posted
from bx24app.web.guards import bearer
from bx24app.web.headers import frame_only_in
from bx24app.web.languages import speak

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", Launch, Installation)

# Launches wait for portals: of a process's threads (gunicorn.conf.py) some are left for whoever waits for none.
LAUNCHES_OF_PORTAL, LAUNCHES_AT_ONCE = 4, 12
_launches = Slots[str](LAUNCHES_OF_PORTAL, LAUNCHES_AT_ONCE)


def proven_by(view: Callable[..., object]) -> type | None:
    """What a view of the frame is given, ``Launch`` or ``Installation``; None without a guard of this module."""
    proven: type | None = view.__dict__.get("proven")
    return proven


def launch_required(*, opens_desk: bool) -> Callable[[Callable[Concatenate[Launch, P], R]], Callable[P, R]]:
    """Pass the proven launch of the whole desk, or else of a compact page; its portal alone may frame the answer.

    Raises ``Malformed`` for a placement that does not belong here, ``Unverified`` and its subclasses.
    """

    def prove(post: FramePost, address: str) -> Launch:
        launch.check_placement(post, opens_desk=opens_desk)
        proven = install.launch_or_install(post, address)
        _frame_in(proven, post)
        return proven

    return _guarding(Launch, prove)


def ticket_renewal_required(view: Callable[Concatenate[Launch, P], R]) -> Callable[P, R]:
    """Pass the proven launch of a page that is open already and needs another ticket: nothing is installed."""

    def prove(post: FramePost, address: str) -> Launch:
        launch.check_placement(post, opens_desk=manifest().opens_desk(post.PLACEMENT))
        return launch.verify_launch(post, address)

    return _guarding(Launch, prove)(view)


def installation_required(view: Callable[Concatenate[Installation, P], R]) -> Callable[P, R]:
    """Pass an installation that is proven and stored; raises as ``launch_required`` does."""

    def prove(post: FramePost, address: str) -> Installation:
        launch.check_placement(post, opens_desk=True)
        installation = install.install(post, address)
        _frame_in(installation.launch, post)
        return installation

    return _guarding(Installation, prove)(view)


def _guarding(
    kind: type[T], prove: Callable[[FramePost, str], T]
) -> Callable[[Callable[Concatenate[T, P], R]], Callable[P, R]]:
    def guarding(view: Callable[Concatenate[T, P], R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            speak(request.args.get("LANG", ""))
            post = read_frame_post(request.args, read_posted())
            address, known_as = network_of(request.remote_addr or ""), partial(_known_as, post)
            with proof_limits.proving(address, post.member_id, post.AUTH_ID, known_as):
                proof_limits.take_launch(post.member_id, post.AUTH_ID, address, known_as)
                with _launches.hold(post.member_id) as is_held:
                    if not is_held:
                        raise TooManyLaunches("too many launches at once")
                    proven = prove(post, address)
                    return view(proven, *args, **kwargs)

        guarded.__dict__["proven"] = kind
        return guarded

    return guarding


def _known_as(post: FramePost) -> str | None:
    """What a post shows that strangers do not know: a page that is open its ticket, any other the application token."""
    try:
        ticket = tickets.read_ticket(bearer())
    except TicketExpired:
        return proof_limits.insider() if launch.shows_application_token(post) else None
    return proof_limits.user(ticket.user_id) if ticket.member_id == post.member_id else proof_limits.nobody()


def _frame_in(proven: Launch, post: FramePost) -> None:
    """Let the portal frame the answer; raises ``OpenedElsewhere``, for the browser would leave the frame blank."""
    known = origin_of(proven.portal.client_endpoint)
    opened = f"{'https' if post.PROTOCOL == '1' else 'http'}://{post.DOMAIN}"
    try:
        is_known = normal_origin(opened) == known
    except ValueError:
        is_known = False
    if not is_known:
        raise OpenedElsewhere(opened, known)
    frame_only_in(known)

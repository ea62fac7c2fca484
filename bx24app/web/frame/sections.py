"""The sections of the desk: one table that says who has which, and what answers each address."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flask import Blueprint, current_app
from werkzeug.exceptions import NotFound as NoSuchAddress

from bx24app.bitrix24.place import DeepLink
from bx24app.errors import NotFound, NotPermitted
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.frame import callbacks, reports, settings, websites
from bx24app.web.frame.views import Section
from bx24app.web.guards import principal_required, reading_turn

SECTIONS: tuple[Section, ...] = (callbacks.SECTION, reports.SECTION, websites.SECTION, settings.SECTION)
PREFIX = "/desk/view"
# With which the desk opens.
FIRST = "callbacks"
# The views that links name (docs/architecture.md); ``{id}`` is what else the link says.
LINKS = {
    "callbacks": "callbacks",
    "callback": "callbacks/{id}",
    "reports": "reports",
    "form": "websites/{id}",
    "settings": "settings/{id}",
    "check": "settings/check",
}
IN_A_LINK = re.compile(r"[0-9A-Za-z_-]*")

blueprint = Blueprint("sections", __name__, url_prefix=PREFIX)


@dataclass(frozen=True)
class _Shown:
    """What answers at an endpoint, and whom."""

    role: Role
    show: Callable[..., str]


def _add_views() -> dict[str, _Shown]:
    found: dict[str, _Shown] = {}
    for section in SECTIONS:
        for view in section.views:
            name = view.show.__name__
            if name not in found:
                found[name] = _Shown(section.role, view.show)
                blueprint.add_url_rule(
                    f"/{section.name}{view.rule}", name, principal_required(section.role)(view.show), methods=["GET"]
                )
            else:
                blueprint.add_url_rule(f"/{section.name}{view.rule}", name, methods=["GET"])
    return found


_VIEWS = _add_views()


def sections_of(principal: Principal) -> list[str]:
    """The names of the sections that somebody has, in the order of the tabs."""
    return [section.name for section in SECTIONS if principal.role >= section.role]


@dataclass(frozen=True)
class OpenedView:
    """What the page shows first: the view's address below ``PREFIX``, its HTML; ``is_lost``: the link led nowhere."""

    path: str
    html: str
    is_lost: bool = False


def open_view(principal: Principal, link: DeepLink, first: Callable[[], str], kept: str = "") -> OpenedView:
    """Render the view that a link asks for, else the ``kept`` one, else ``first``, with which the desk opens.

    A link to what somebody may not see leads where one to nothing does. Raises ``RateLimited``.
    """
    path = _address_of(link)
    if path and path != FIRST:
        try:
            return OpenedView(path, _render(principal, path))
        except (NoSuchAddress, NotFound, NotPermitted):
            path = None
    elif kept and kept != FIRST:
        # Without a word where it is gone: nobody has asked for it now.
        with suppress(NoSuchAddress, NotFound, NotPermitted):
            return OpenedView(kept, _render(principal, kept))
    return OpenedView(FIRST, first(), is_lost=path is None)


def _address_of(link: DeepLink) -> str | None:
    """The address of the view that a link names; empty when it names none, None when there is no such view."""
    if not link.view:
        return ""
    if link.view not in LINKS or not IN_A_LINK.fullmatch(link.id):
        return None
    return LINKS[link.view].format(id=link.id).rstrip("/")


def _render(principal: Principal, path: str) -> str:
    endpoint, values = current_app.url_map.bind("").match(f"{PREFIX}/{path}", "GET")
    view = _VIEWS[endpoint.removeprefix(f"{blueprint.name}.")]
    if principal.role < view.role:
        raise NotPermitted
    with reading_turn(principal):
        return view.show(principal, **values)

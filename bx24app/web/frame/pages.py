"""The pages that a portal opens in its frame: the installer, the desk, and the tab in a card."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, render_template

from bx24app.bitrix24.place import smart_process_of
from bx24app.errors import NotPermitted
from bx24app.services import diagnostics
from bx24app.services.callbacks import people
from bx24app.services.callbacks.desk import open_desk, principal_of, read_customer, ticket_for
from bx24app.services.callbacks.listing import memory
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role, role_of_launch
from bx24app.services.calling.business_hours import is_zone
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.places import smart_processes
from bx24app.services.security import tickets
from bx24app.web.api.listing.list_query import ShownQuery
from bx24app.web.frame import callbacks
from bx24app.web.frame.guards import installation_required, launch_required, ticket_renewal_required
from bx24app.web.frame.sections import open_view, sections_of
from bx24app.web.presenters import desk as desk_presenter
from bx24app.web.presenters import sections as section_presenter
from bx24app.web.presenters.listing.callback_list import list_view
from bx24app.web.presenters.setup import check as check_presenter

blueprint = Blueprint("pages", __name__)

Answer = str | tuple[str, HTTPStatus]


@blueprint.get("/")
@blueprint.get("/install")
@blueprint.get("/placement")
def about() -> str:
    """Tell a stray visitor, and the marketplace's checker, what this is."""
    return render_template("about/page.html")


@blueprint.post("/install")
@installation_required
def install(installation: Installation) -> str:
    """Install on the portal; the page's script finishes and goes on to the desk."""
    ticket, expires_at = tickets.issue_ticket(ticket_for(installation.launch, None))
    return render_template(
        "install/page.html",
        ticket=ticket,
        ticket_expires_at=expires_at.isoformat(),
        problems=desk_presenter.missing_words(installation.problems),
    )


@blueprint.post("/")
@launch_required(opens_desk=True)
def desk(launch: Launch) -> Answer:
    """The whole desk, with the view that a link asks for."""
    return _no_access(launch) or _desk_page(launch)


@blueprint.post("/placement")
@launch_required(opens_desk=False)
def placement(launch: Launch) -> Answer:
    """The compact page of a CRM card or a call card."""
    return _no_access(launch) or _without_tab(launch) or _compact_page(launch)


def _no_access(launch: Launch) -> Answer | None:
    """What somebody reads who may see nothing: nothing else is read for them."""
    if role_of_launch(launch) is not Role.NONE:
        return None
    page = desk_presenter.no_access_page(people.administrators(launch.portal.id))
    return render_template("problems/page.html", **page), HTTPStatus.FORBIDDEN


def _without_tab(launch: Launch) -> Answer | None:
    """What somebody reads in a card of a smart process that administrators have not chosen, or not any more."""
    type_id = smart_process_of(launch.place.placement)
    if not type_id or type_id in smart_processes.chosen(launch.portal):
        return None
    page = desk_presenter.no_tab_page(people.administrators(launch.portal.id))
    return render_template("problems/page.html", **page), HTTPStatus.FORBIDDEN


def _desk_page(launch: Launch) -> str:
    principal = principal_of(launch, None)
    left = memory.load_left_desk(principal)
    link = launch.place.link
    kept = callbacks.kept_desk(left).view if left.keeps_view and not link.view else None
    view = open_view(principal, link, lambda: callbacks.open_list(principal, left), kept or "")
    found = diagnostics.kept_check(left.setup)
    tabs = section_presenter.tabs(sections_of(principal), check_presenter.count_bad(found))
    return _with_ticket("desk/page.html", principal, zone=_zone_of(launch), tabs=tabs, view=view)


def _compact_page(launch: Launch) -> str:
    customer = read_customer(launch)
    principal = principal_of(launch, customer)
    opened = open_desk(principal, customer)
    page = desk_presenter.desk_page(opened, [])
    shown = list_view(opened.shown, ShownQuery(), launch.portal, operates=page["operates"])
    place = launch.place
    shown_page = {"page": page, "list": shown, "placement": place.placement, "plans": place.is_planning}
    return _with_ticket("desk/compact.html", principal, zone=_zone_of(launch), **shown_page)


def _zone_of(launch: Launch) -> str | None:
    """The zone of the visitor's profile, in which the page writes every time; None: the browser's."""
    zone = launch.user.time_zone
    return zone if zone and is_zone(zone) else None


def _with_ticket(template: str, principal: Principal, **shown: object) -> str:
    assert principal.ticket is not None
    ticket, expires_at = tickets.issue_ticket(principal.ticket)
    return render_template(template, ticket=ticket, ticket_expires_at=expires_at.isoformat(), **shown)


@blueprint.post("/session")
@ticket_renewal_required
def session(launch: Launch) -> Response:
    """A new ticket for an open page: it lasts an hour, and proves for a few minutes what its holder may do."""
    if role_of_launch(launch) is Role.NONE:
        raise NotPermitted
    ticket, expires_at = tickets.issue_ticket(ticket_for(launch, read_customer(launch)))
    return jsonify({"ticket": ticket, "expires_at": expires_at.isoformat()})

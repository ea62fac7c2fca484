"""The pages that a portal opens in its frame: the installer, the desk, and the tab in a card."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, render_template

from bx24app.errors import NotPermitted
from bx24app.models import utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.desk import Desk, load_desk, read_customer, ticket_for
from bx24app.services.callbacks.roles import Role, role_of_launch
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.services.security import tickets
from bx24app.services.websites import availability
from bx24app.web.frame.guards import installation_required, launch_required, ticket_renewal_required
from bx24app.web.presenters import desk as desk_presenter

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
        problems=desk_presenter.binding_problems(installation.problems),
    )


@blueprint.post("/")
@launch_required(own_page=True)
def desk(launch: Launch) -> Answer:
    """The app's own page."""
    return _open(launch)


@blueprint.post("/placement")
@launch_required(own_page=False)
def placement(launch: Launch) -> Answer:
    """The compact page of a CRM card or a call card."""
    return _open(launch)


def _open(launch: Launch) -> Answer:
    """The page for whoever opens it; nothing is read for somebody who may see nothing."""
    if role_of_launch(launch) is Role.NONE:
        page = desk_presenter.no_access_page(people.administrators(launch.portal.id))
        return render_template("problems/page.html", **page), HTTPStatus.FORBIDDEN
    return _render(load_desk(launch))


def _render(shown: Desk) -> str:
    manages = shown.administration is not None
    stopped = availability.stopped_forms(shown.launch.portal, utcnow()) if manages else []
    ticket, expires_at = tickets.issue_ticket(shown.ticket)
    return render_template(
        "desk/page.html",
        ticket=ticket,
        ticket_expires_at=expires_at.isoformat(),
        page=desk_presenter.desk_page(shown, stopped),
    )


@blueprint.post("/session")
@ticket_renewal_required
def session(launch: Launch) -> Response:
    """A new ticket for an open page: it lasts an hour, and proves for a few minutes what its holder may do."""
    if role_of_launch(launch) is Role.NONE:
        raise NotPermitted
    ticket, expires_at = tickets.issue_ticket(ticket_for(launch, read_customer(launch)))
    return jsonify({"ticket": ticket, "expires_at": expires_at.isoformat()})

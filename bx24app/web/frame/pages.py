"""The pages that a portal opens in its frame: the installer, the desk, and the tab in a card."""

from flask import Blueprint, Response, jsonify, render_template

from bx24app.services.callbacks.desk import callbacks_of, read_customer, ticket_for
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.services.security import tickets
from bx24app.web.frame.guards import installation_required, launch_required, renewal_required
from bx24app.web.presenters import desk as desk_presenter
from bx24app.web.presenters import panels as panel_presenter

blueprint = Blueprint("pages", __name__)


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
def desk(launch: Launch) -> str:
    """The app's own page."""
    return _show(launch, compact=False)


@blueprint.post("/placement")
@launch_required(own_page=False)
def placement(launch: Launch) -> str:
    """The compact page of a CRM card or a call card."""
    return _show(launch, compact=True)


def _show(launch: Launch, *, compact: bool) -> str:
    customer = read_customer(launch)
    seen = ticket_for(launch, customer)
    ticket, expires_at = tickets.issue_ticket(seen)
    page = desk_presenter.desk_page(launch, customer, callbacks_of(seen.portal_id, seen), compact=compact)
    manages = launch.user.is_administrator and not compact
    page["administration"] = panel_presenter.administration(launch.portal, launch.user) if manages else None
    return render_template("desk/page.html", ticket=ticket, ticket_expires_at=expires_at.isoformat(), page=page)


@blueprint.post("/session")
@renewal_required
def session(launch: Launch) -> Response:
    """A new ticket for a page that is open longer than an hour."""
    ticket, expires_at = tickets.issue_ticket(ticket_for(launch, read_customer(launch)))
    return jsonify({"ticket": ticket, "expires_at": expires_at.isoformat()})

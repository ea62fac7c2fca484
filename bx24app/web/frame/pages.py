"""The pages that a portal opens in its frame: the installer, the desk, and the tab in a card."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, make_response, render_template

from bx24app.bitrix24.launch import FramePost
from bx24app.errors import NotInstalled
from bx24app.services.callbacks.desk import callbacks_of, read_customer, ticket_for
from bx24app.services.portals import launch
from bx24app.services.portals.install import install as install_app
from bx24app.services.portals.install import rebind_if_due
from bx24app.services.portals.launch import Launch
from bx24app.services.security import tickets
from bx24app.web.guards import frame_post_required
from bx24app.web.headers import frame_only_in
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
@frame_post_required
def install(post: FramePost) -> Response:
    """Install on the portal; the page's script finishes and goes on to the desk."""
    launch.check_placement(post, own_page=True)
    installation = install_app(post)
    opening = installation.opening
    _frame_in(opening)
    ticket, expires_at = tickets.issue_ticket(ticket_for(opening, None))
    page = render_template(
        "install/page.html",
        ticket=ticket,
        ticket_expires_at=expires_at.isoformat(),
        problems=desk_presenter.binding_problems(installation.problems),
    )
    return make_response(page)


@blueprint.post("/")
@frame_post_required
def desk(post: FramePost) -> Response:
    """The app's own page."""
    return _open(post, compact=False)


@blueprint.post("/placement")
@frame_post_required
def placement(post: FramePost) -> Response:
    """The compact page of a CRM card or a call card."""
    return _open(post, compact=True)


def _open(post: FramePost, *, compact: bool) -> Response:
    launch.check_placement(post, own_page=not compact)
    opening = _opened(post)
    _frame_in(opening)
    customer = read_customer(opening)
    seen = ticket_for(opening, customer)
    ticket, expires_at = tickets.issue_ticket(seen)
    page = desk_presenter.desk_page(opening, customer, callbacks_of(seen.portal_id, seen), compact=compact)
    manages = opening.user.is_administrator and not compact
    page["administration"] = panel_presenter.administration(opening.portal, opening.user) if manages else None
    return make_response(
        render_template("desk/page.html", ticket=ticket, ticket_expires_at=expires_at.isoformat(), page=page)
    )


def _opened(post: FramePost) -> Launch:
    """A portal that Bitrix24 vouches for but we do not know: an administrator's visit installs it again."""
    try:
        opening = launch.verify_launch(post)
    except NotInstalled:
        return install_app(post).opening
    rebind_if_due(opening)
    return opening


def _frame_in(opening: Launch) -> None:
    address = urlsplit(opening.portal.client_endpoint)
    frame_only_in(f"{address.scheme}://{address.netloc}")


@blueprint.post("/session")
@frame_post_required
def session(post: FramePost) -> Response:
    """A new ticket for a page that is open longer than an hour."""
    launch.check_placement(post, own_page=post.PLACEMENT == launch.OWN_PAGE)
    opening = launch.verify_launch(post)
    ticket, expires_at = tickets.issue_ticket(ticket_for(opening, read_customer(opening)))
    return jsonify({"ticket": ticket, "expires_at": expires_at.isoformat()})

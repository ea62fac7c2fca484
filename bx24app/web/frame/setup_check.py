"""The setup check: made anew by a press, and cured in place where the app can do so."""

from flask import Blueprint, Response, jsonify, render_template

from bx24app.services import diagnostics
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals import bindings
from bx24app.services.portals.throttle import require_spare, take_question
from bx24app.web.guards import principal_required
from bx24app.web.presenters import desk as desk_presenter
from bx24app.web.presenters.setup import check as check_presenter

blueprint = Blueprint("setup_check", __name__, url_prefix="/desk/check")


@blueprint.get("")
@principal_required(Role.ADMINISTRATOR, bounds_itself=True)
def check(principal: Principal) -> str:
    """Check the setup anew: what is missing on this portal, and what to do about it."""
    require_spare(principal.portal.id)
    take_question(principal.portal.id, "setup")
    made = diagnostics.check_portal(principal.portal.id)
    shown = check_presenter.shown_check(made, principal.portal)
    return render_template("desk/settings/findings.html", check=shown)


@blueprint.post("/bind")
@principal_required(Role.ADMINISTRATOR)
def bind(principal: Principal) -> Response:
    """Bind the tabs, menus and events that are missing; what Bitrix24 would not bind is told."""
    require_spare(principal.portal.id)
    take_question(principal.portal.id, "bindings")
    problems = bindings.bind_missing_for_portal(principal.portal.id)
    return jsonify({"problems": desk_presenter.missing_words(problems)})

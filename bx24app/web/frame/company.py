"""What the settings ask the portal about the company: its smart processes, and the hours of its calendar."""

from flask import Blueprint, render_template

from bx24app.models import utcnow
from bx24app.outgoing.deadline import ending_within
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.portals.places import company_calendar, smart_processes
from bx24app.services.portals.throttle import require_spare, take_question
from bx24app.web.guards import principal_required
from bx24app.web.presenters import hours as hours_presenter

blueprint = Blueprint("company", __name__, url_prefix="/desk/company")
COMPANY_ASKED_FOR = 15.0


@blueprint.post("/smart-processes")
@principal_required(Role.ADMINISTRATOR)
def read_smart_processes(principal: Principal) -> tuple[str, int]:
    """Read the list of smart processes anew; the page then shows what was kept."""
    require_spare(principal.portal.id)
    take_question(principal.portal.id, "smart_processes")
    with ending_within(COMPANY_ASKED_FOR):
        smart_processes.read_from_portal(principal.portal.id, principal.user_id or 0)
    return "", 204


@blueprint.get("/hours")
@principal_required(Role.ADMINISTRATOR, bounds_itself=True)
def propose_hours(principal: Principal) -> str:
    """The hours of the company's calendar as a proposal; empty where the portal tells none, or nothing new."""
    require_spare(principal.portal.id)
    take_question(principal.portal.id, "company_hours")
    hours, now = hours_in_force(principal.portal), utcnow()
    today = hours.today(now) if hours else now.date()
    with ending_within(COMPANY_ASKED_FOR):
        found = company_calendar.propose_hours(principal.portal, principal.user_id or 0, today)
    return (
        render_template("desk/settings/proposal.html", proposal=hours_presenter.shown_proposal(found)) if found else ""
    )

"""The card of the first run: fetched after the desk is usable, and what administrators say of its steps."""

from typing import Annotated, Literal

from flask import Blueprint, render_template

from bx24app.inputs import SPELLED, TolerantModel
from bx24app.services.callbacks.listing.company_day import known_zone
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.diagnostics import first_run
from bx24app.services.diagnostics.first_run import Step, StepState
from bx24app.services.websites.editing.proposal import propose_form
from bx24app.web.guards import principal_required, read_body
from bx24app.web.presenters.setup import first_run as first_run_presenter

blueprint = Blueprint("first_run", __name__, url_prefix="/desk/first-run")


class SaidBody(TolerantModel):
    """What somebody says of a step."""

    step: Annotated[Step, SPELLED]
    state: Annotated[Literal["done", "skipped"], SPELLED]


@blueprint.get("")
@principal_required(Role.ADMINISTRATOR)
def card(principal: Principal) -> str:
    """The steps as they are now; empty once the first run is over."""
    return _card(principal)


@blueprint.put("")
@principal_required(Role.ADMINISTRATOR)
def mark(principal: Principal) -> str:
    """Keep what is said of a step; the steps as they are then."""
    said = read_body(SaidBody)
    first_run.mark_step(principal.portal.id, said.step, StepState(said.state))
    return _card(principal)


@blueprint.delete("")
@principal_required(Role.ADMINISTRATOR)
def close(principal: Principal) -> tuple[str, int]:
    """Show the card to nobody any more."""
    first_run.close_first_run(principal.portal.id)
    return "", 204


def _card(principal: Principal) -> str:
    portal = principal.portal
    run = first_run.load_first_run(portal)
    if run is None:
        return ""
    shown = first_run_presenter.first_run_card(run, portal, propose_form(portal, known_zone(portal)))
    return render_template("desk/first_run.html", card=shown)

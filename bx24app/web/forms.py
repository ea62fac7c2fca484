"""``/api/v1/forms``: the website forms of a portal, for administrators."""

from datetime import datetime

from flask import Blueprint, Response
from pydantic import BaseModel

from bx24app.errors import InvalidRequest, NotFound
from bx24app.models import Form, Portal, UnknownPolicy
from bx24app.services import admission, desks, forms
from bx24app.services.forms import Asks, Limits, Wanted
from bx24app.services.hours import Hours
from bx24app.services.tickets import Ticket
from bx24app.web.callbacks import PORTAL_REFUSALS
from bx24app.web.guards import InvalidBody, administrator_required, read_body
from bx24app.web.openapi import operation
from bx24app.web.shapes import answer

blueprint = Blueprint("forms", __name__, url_prefix="/api/v1/forms")


class FormShape(BaseModel):
    """A form; ``problems`` names the rules that keep it from taking requests."""

    key: str
    name: str
    is_on: bool
    line_id: str | None
    voice_id: str | None
    text: str | None
    default_country: str | None
    allowed_countries: list[str]
    blocked_prefixes: list[str]
    allowed_prefixes: list[str]
    allowed_origins: list[str]
    hours: Hours | None
    fields: Asks
    topics: list[str]
    consent_text: str | None
    consent_version: int
    languages: list[str]
    retries: int
    retry_minutes: int
    unknown_policy: UnknownPolicy
    expiry_minutes: int
    limits: Limits
    budget_calls: int | None
    budget_money: str | None
    budget_currency: str | None
    colour: str
    creates_lead: bool
    created_at: datetime
    updated_at: datetime
    url: str
    snippet: str
    problems: list[str]


class FormsShape(BaseModel):
    """The forms of a portal, oldest first."""

    forms: list[FormShape]


def form_shape(form: Form, portal: Portal) -> FormShape:
    """A form as an administrator sees it."""
    made = {
        "budget_money": None if form.budget_money is None else f"{form.budget_money.normalize():f}",
        "url": forms.url_of(form),
        "snippet": forms.snippet_of(form),
        "problems": [*forms.problems_of(form, portal), *admission.exhausted(form, portal)],
    }
    stored = {name: getattr(form, name) for name in FormShape.model_fields.keys() - made.keys()}
    return FormShape.model_validate({**stored, **made})


@blueprint.get("")
@operation({200: FormsShape}, refuses=(NotFound,))
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """All forms of the portal, oldest first."""
    portal = desks.portal_of(ticket)
    return answer(FormsShape(forms=[form_shape(form, portal) for form in forms.list_forms(portal.id)]))


@blueprint.post("")
@operation({201: FormShape}, body=Wanted, refuses=(InvalidRequest, NotFound, *PORTAL_REFUSALS))
@administrator_required
def create(ticket: Ticket) -> Response:
    """Make a form; everything but the name has a default."""
    wanted = read_body(Wanted)
    if not wanted.name:
        raise InvalidBody([("name", "a name is needed")])
    form = forms.create(ticket.portal_id, wanted)
    return answer(form_shape(form, desks.portal_of(ticket)), 201, Location=f"/api/v1/forms/{form.key}")


@blueprint.get("/<key:form_key>")
@operation({200: FormShape})
@administrator_required
def show(ticket: Ticket, form_key: str) -> Response:
    """One form with its settings, its address and its snippet."""
    return answer(form_shape(forms.get(ticket.portal_id, form_key), desks.portal_of(ticket)))


@blueprint.patch("/<key:form_key>")
@operation({200: FormShape}, body=Wanted, refuses=(InvalidRequest, *PORTAL_REFUSALS))
@administrator_required
def change(ticket: Ticket, form_key: str) -> Response:
    """Change a form, all fields or none; a field left out stays as it is."""
    form = forms.change(ticket.portal_id, form_key, read_body(Wanted))
    return answer(form_shape(form, desks.portal_of(ticket)))


@blueprint.delete("/<key:form_key>")
@operation({204: None})
@administrator_required
def remove(ticket: Ticket, form_key: str) -> tuple[str, int]:
    """Take a form away; what it has taken is dialled all the same."""
    forms.remove(ticket.portal_id, form_key)
    return "", 204

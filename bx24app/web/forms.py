"""``/api/v1/forms``: the website forms of a portal, for administrators."""

from typing import Any

from flask import Blueprint, Response, jsonify

from bx24app.models import Form, Portal
from bx24app.services import admission, desks, forms
from bx24app.services.forms import Wanted
from bx24app.services.tickets import Ticket
from bx24app.web.guards import InvalidBody, administrator_required, read_body
from bx24app.web.moments import iso

blueprint = Blueprint("forms", __name__, url_prefix="/api/v1/forms")

_SHOWN = tuple(name for name in Wanted.model_fields if name != "budget_money")


def form_json(form: Form, portal: Portal) -> dict[str, Any]:
    """A form for the API; ``problems`` names the rules that keep it from taking requests."""
    return {
        "key": form.key,
        **{name: getattr(form, name) for name in _SHOWN},
        "budget_money": None if form.budget_money is None else f"{form.budget_money.normalize():f}",
        "consent_version": form.consent_version,
        "created_at": iso(form.created_at),
        "updated_at": iso(form.updated_at),
        "url": forms.url_of(form),
        "snippet": forms.snippet_of(form),
        "problems": [*forms.problems_of(form, portal), *admission.exhausted(form, portal)],
    }


@blueprint.get("")
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """All forms of the portal, oldest first."""
    portal = desks.portal_of(ticket)
    return jsonify({"forms": [form_json(form, portal) for form in forms.list_forms(portal.id)]})


@blueprint.post("")
@administrator_required
def create(ticket: Ticket) -> Response:
    """Make a form; everything but the name has a default."""
    wanted = read_body(Wanted)
    if not wanted.name:
        raise InvalidBody([("name", "a name is needed")])
    form = forms.create(ticket.portal_id, wanted)
    response = jsonify(form_json(form, desks.portal_of(ticket)))
    response.status_code = 201
    response.headers["Location"] = f"/api/v1/forms/{form.key}"
    return response


@blueprint.get("/<form_key>")
@administrator_required
def show(ticket: Ticket, form_key: str) -> Response:
    """One form with its settings, its address and its snippet."""
    return jsonify(form_json(forms.get(ticket.portal_id, form_key), desks.portal_of(ticket)))


@blueprint.patch("/<form_key>")
@administrator_required
def change(ticket: Ticket, form_key: str) -> Response:
    """Change a form, all fields or none; a field left out stays as it is."""
    form = forms.change(ticket.portal_id, form_key, read_body(Wanted))
    return jsonify(form_json(form, desks.portal_of(ticket)))


@blueprint.delete("/<form_key>")
@administrator_required
def remove(ticket: Ticket, form_key: str) -> tuple[str, int]:
    """Take a form away; what it has taken is dialled all the same."""
    forms.remove(ticket.portal_id, form_key)
    return "", 204

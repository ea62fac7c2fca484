"""``/api/v1/api-keys``: keys of sites' back ends, for administrators."""

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, ConfigDict

from bx24app.models import ApiKey, Form
from bx24app.services import api_keys, forms
from bx24app.services.forms import Readable
from bx24app.services.tickets import Ticket
from bx24app.web.guards import administrator_required, read_body
from bx24app.web.moments import iso

blueprint = Blueprint("api_keys", __name__, url_prefix="/api/v1/api-keys")


class KeyBody(BaseModel):
    """What ``POST /api-keys`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form_key: str
    name: Readable


def key_json(key: ApiKey, form: Form) -> dict[str, Any]:
    """A key for the API: its beginning, never the rest."""
    return {
        "id": key.id,
        "form_key": form.key,
        "form_name": form.name,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "last_used_at": iso(key.last_used_at) if key.last_used_at else None,
        "revoked_at": iso(key.revoked_at) if key.revoked_at else None,
    }


@blueprint.get("")
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """All keys of the portal, newest first."""
    return jsonify({"api_keys": [key_json(key, form) for key, form in api_keys.list_keys(ticket.portal_id)]})


@blueprint.post("")
@administrator_required
def create(ticket: Ticket) -> Response:
    """Make a key; ``secret`` is told this once."""
    body = read_body(KeyBody)
    form = forms.get(ticket.portal_id, body.form_key)
    made = api_keys.create(ticket.portal_id, body.form_key, body.name, ticket.user_id)
    response = jsonify({**key_json(made.key, form), "secret": made.secret})
    response.status_code = 201
    return response


@blueprint.delete("/<int:key_id>")
@administrator_required
def revoke(ticket: Ticket, key_id: int) -> tuple[str, int]:
    """Take a key back at once."""
    api_keys.revoke(ticket.portal_id, key_id)
    return "", 204

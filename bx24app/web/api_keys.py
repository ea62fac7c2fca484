"""``/api/v1/api-keys``: keys of sites' back ends, for administrators."""

from datetime import datetime

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import NotFound
from bx24app.models import ApiKey, Form
from bx24app.services import api_keys, forms
from bx24app.services.forms import Readable
from bx24app.services.tickets import Ticket
from bx24app.web.addresses import FormKey
from bx24app.web.guards import administrator_required, read_body
from bx24app.web.openapi import operation
from bx24app.web.shapes import answer

blueprint = Blueprint("api_keys", __name__, url_prefix="/api/v1/api-keys")


class KeyBody(BaseModel):
    """What ``POST /api-keys`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form_key: FormKey
    name: Readable


class KeyShape(BaseModel):
    """A key: its beginning, never the rest."""

    id: int
    form_key: str
    form_name: str
    name: str
    prefix: str
    created_at: datetime
    created_by: int | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(KeyShape):
    """A key with its secret, which is told this once."""

    secret: str = Field(repr=False)


class KeysShape(BaseModel):
    """The keys of a portal, newest first."""

    api_keys: list[KeyShape]


def key_shape(key: ApiKey, form: Form) -> KeyShape:
    """A key with its form."""
    names = KeyShape.model_fields.keys() - {"form_key", "form_name"}
    return KeyShape(**{name: getattr(key, name) for name in names}, form_key=form.key, form_name=form.name)


@blueprint.get("")
@operation({200: KeysShape})
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """All keys of the portal, newest first."""
    return answer(KeysShape(api_keys=[key_shape(key, form) for key, form in api_keys.list_keys(ticket.portal_id)]))


@blueprint.post("")
@operation({201: NewKey}, body=KeyBody, refuses=(NotFound,))
@administrator_required
def create(ticket: Ticket) -> Response:
    """Make a key; ``secret`` is told this once."""
    body = read_body(KeyBody)
    form = forms.get(ticket.portal_id, body.form_key)
    made = api_keys.create(ticket.portal_id, body.form_key, body.name, ticket.user_id)
    return answer(NewKey(**dict(key_shape(made.key, form)), secret=made.secret), 201)


@blueprint.delete("/<id:key_id>")
@operation({204: None})
@administrator_required
def revoke(ticket: Ticket, key_id: int) -> tuple[str, int]:
    """Take a key back at once."""
    api_keys.revoke(ticket.portal_id, key_id)
    return "", 204

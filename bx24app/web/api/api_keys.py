"""``/api/v1/api-keys``: keys of sites' back ends, for administrators."""

from datetime import datetime

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from bx24app.errors import LimitReached, NotFound
from bx24app.inputs import TolerantModel
from bx24app.models import ApiKey, Form
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.field_types import Readable
from bx24app.services.websites import api_keys, forms
from bx24app.web.addresses import FormKey
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_body

blueprint = Blueprint("api_keys", __name__, url_prefix="/api/v1/api-keys")


class KeyBody(TolerantModel):
    """What ``POST /api-keys`` takes."""

    form_key: FormKey
    name: Readable


class KeySchema(BaseModel):
    """A key: its beginning, never the rest."""

    id: int
    form_key: str
    form_name: str
    name: str
    prefix: str
    created_at: datetime
    created_by: int | None
    created_by_name: str | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(KeySchema):
    """A key with its secret, which is told this once."""

    secret: str = Field(repr=False)


class KeysSchema(BaseModel):
    """The keys of a portal, newest first."""

    api_keys: list[KeySchema]


def key_schema(key: ApiKey, form: Form, names: dict[int, str]) -> KeySchema:
    """A key with its form; ``names`` are those of people, by their number."""
    joined = {"form_key": form.key, "form_name": form.name, "created_by_name": names.get(key.created_by or 0)}
    own = {name: getattr(key, name) for name in KeySchema.model_fields.keys() - joined.keys()}
    return KeySchema.model_validate({**own, **joined})


def key_schemas(portal_id: int) -> list[KeySchema]:
    """All keys of a portal, the newest first."""
    found = api_keys.list_keys(portal_id)
    names = people.names_of(portal_id, [key.created_by for key, _ in found])
    return [key_schema(key, form, names) for key, form in found]


@blueprint.get("")
@operation({200: KeysSchema})
@principal_required(Role.ADMINISTRATOR)
def show_all(principal: Principal) -> Response:
    """All keys of the portal, newest first."""
    return json_response(KeysSchema(api_keys=key_schemas(principal.portal.id)))


@blueprint.post("")
@operation({201: NewKey}, body=KeyBody, refuses=(LimitReached, NotFound))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def create(principal: Principal) -> Response:
    """Make a key; ``secret`` is told this once."""
    body = read_body(KeyBody)
    form = forms.get_form(principal.portal.id, body.form_key)
    made = api_keys.create_key(principal.portal.id, body.form_key, body.name, principal.user_id)
    names = people.names_of(principal.portal.id, [principal.user_id])
    return json_response(NewKey(**dict(key_schema(made.key, form, names)), secret=made.secret), 201)


@blueprint.delete("/<id:key_id>")
@operation({204: None})
@principal_required(Role.ADMINISTRATOR)
def revoke(principal: Principal, key_id: int) -> tuple[str, int]:
    """Take a key back at once."""
    api_keys.revoke_key(principal.portal.id, key_id, principal.user_id)
    return "", 204

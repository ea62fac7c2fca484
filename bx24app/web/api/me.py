"""``/api/v1/me``: who I am here, and what I may do."""

from typing import Literal

from flask import Blueprint, Response
from flask_babel import get_locale
from pydantic import BaseModel

from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required

blueprint = Blueprint("me", __name__, url_prefix="/api/v1/me")


class May(BaseModel):
    """What somebody may do: see callbacks, start and change them, manage the app."""

    see: bool
    operate: bool
    administer: bool


class MeSchema(BaseModel):
    """Somebody with the app open; ``zone`` is null where the portal names none, ``language`` is that of the answer."""

    user_id: int
    name: str
    role: Literal["administrator", "operator", "viewer", "none"]
    zone: str | None
    language: str
    may: May


@blueprint.get("")
@operation({200: MeSchema})
@principal_required(Role.NONE)
def show(principal: Principal) -> Response:
    """Who I am here, with which role, and what I may do; whoever has a ticket may ask."""
    role, user = principal.role, people.find_user(principal.portal.id, principal.user_id)
    said = {
        "user_id": principal.user_id,
        "name": user.name if user else f"#{principal.user_id}",
        "role": role.name.lower(),
        "zone": user.time_zone if user else None,
        "language": str(get_locale() or "en"),
        "may": May(see=role >= Role.VIEWER, operate=role >= Role.OPERATOR, administer=role is Role.ADMINISTRATOR),
    }
    return json_response(MeSchema.model_validate(said))

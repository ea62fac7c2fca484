"""``/api/v1/lines``, ``/voices`` and ``/settings``: what the form offers, and the portal's defaults."""

from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from bx24app.services import desks, lines
from bx24app.services.hours import Hours
from bx24app.services.lines import Listing
from bx24app.services.tickets import Ticket
from bx24app.web.callbacks import Text
from bx24app.web.guards import administrator_required, read_body, ticket_required
from bx24app.web.views import listing, settings_of

blueprint = Blueprint("lines", __name__, url_prefix="/api/v1")


class DefaultsBody(BaseModel):
    """What ``PATCH /settings`` takes; a field left out stays as it is, an empty one is cleared."""

    model_config = ConfigDict(extra="forbid", strict=True)

    default_line_id: Annotated[Text, Field(max_length=255)] | None = None
    default_voice_id: Annotated[Text, Field(max_length=255)] | None = None
    default_text: Annotated[Text, Field(max_length=4000)] | None = None
    default_country: Annotated[str, Field(pattern=r"^([A-Z]{2})?$")] | None = None
    stands_in: bool | None = None
    retries: Annotated[int, Field(ge=0, le=5)] | None = None
    retry_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    line_cap: Annotated[int, Field(ge=1, le=500)] | Literal[""] | None = None
    hours: Hours | Literal[""] | None = None
    websites_off: bool | None = None


def _wants_refresh() -> bool:
    return request.args.get("refresh", "") in ("1", "true")


def _shown(found: Listing, name: str) -> Response:
    """The list; with nothing to show, the problem that kept it from being read."""
    if found.problem is not None and (not found.names or _wants_refresh()):
        raise found.problem
    return jsonify(listing(found, name))


@blueprint.get("/lines")
@ticket_required
def show_lines(ticket: Ticket) -> Response:
    """The portal's lines, kept for a day; ``refresh=1`` asks the portal now."""
    return _shown(lines.get_lines(ticket.portal_id, refresh=_wants_refresh()), "lines")


@blueprint.get("/voices")
@ticket_required
def show_voices(ticket: Ticket) -> Response:
    """The portal's voices, kept for a day; ``refresh=1`` asks the portal now."""
    return _shown(lines.get_voices(ticket.portal_id, refresh=_wants_refresh()), "voices")


@blueprint.post("/lines/<path:line_id>/resume")
@administrator_required
def resume(ticket: Ticket, line_id: str) -> Response:
    """Dial again on a line that was stopped for lack of money."""
    lines.resume(ticket.portal_id, line_id)
    return jsonify({"line_id": line_id})


@blueprint.get("/settings")
@administrator_required
def show_settings(ticket: Ticket) -> Response:
    """The portal's defaults."""
    return jsonify(settings_of(desks.portal_of(ticket)))


@blueprint.patch("/settings")
@administrator_required
def change_settings(ticket: Ticket) -> Response:
    """Change the portal's defaults, all or none."""
    wanted = desks.Defaults(**read_body(DefaultsBody).model_dump(mode="json"))
    return jsonify(settings_of(desks.change_defaults(ticket.portal_id, wanted)))

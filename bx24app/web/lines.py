"""``/api/v1/lines``, ``/voices`` and ``/settings``: what the form offers, and the portal's defaults."""

from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import InvalidRequest, NotFound
from bx24app.services import desks, lines
from bx24app.services.hours import Hours
from bx24app.services.lines import Listing
from bx24app.services.tickets import Ticket
from bx24app.web.callbacks import PORTAL_REFUSALS, Text
from bx24app.web.guards import administrator_required, read_body, read_query, ticket_required
from bx24app.web.openapi import operation
from bx24app.web.shapes import (
    LineShape,
    LinesShape,
    SettingsShape,
    VoicesShape,
    answer,
    lines_shape,
    settings_shape,
    voices_shape,
)

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


class ListQuery(BaseModel):
    """What ``GET /lines`` and ``GET /voices`` take."""

    model_config = ConfigDict(extra="forbid")

    refresh: Literal["", "0", "1", "false", "true"] = ""

    @property
    def asks_now(self) -> bool:
        """Whether the portal is to be asked now."""
        return self.refresh in ("1", "true")


def _checked(found: Listing, query: ListQuery) -> Listing:
    """The list; with nothing to show, the problem that kept it from being read."""
    if found.problem is not None and (not found.names or query.asks_now):
        raise found.problem
    return found


@blueprint.get("/lines")
@operation({200: LinesShape}, query=ListQuery, refuses=PORTAL_REFUSALS)
@ticket_required
def show_lines(ticket: Ticket) -> Response:
    """The portal's lines, kept for a day; ``refresh=1`` asks the portal now."""
    query = read_query(ListQuery)
    return answer(lines_shape(_checked(lines.get_lines(ticket.portal_id, refresh=query.asks_now), query)))


@blueprint.get("/voices")
@operation({200: VoicesShape}, query=ListQuery, refuses=PORTAL_REFUSALS)
@ticket_required
def show_voices(ticket: Ticket) -> Response:
    """The portal's voices, kept for a day; ``refresh=1`` asks the portal now."""
    query = read_query(ListQuery)
    return answer(voices_shape(_checked(lines.get_voices(ticket.portal_id, refresh=query.asks_now), query)))


@blueprint.post("/lines/<path:line_id>/resume")
@operation({200: LineShape})
@administrator_required
def resume(ticket: Ticket, line_id: str) -> Response:
    """Dial again on a line that was stopped for lack of money."""
    return answer(LineShape(id=line_id, name=lines.resume(ticket.portal_id, line_id)))


@blueprint.get("/settings")
@operation({200: SettingsShape}, refuses=(NotFound,))
@administrator_required
def show_settings(ticket: Ticket) -> Response:
    """The portal's defaults."""
    return answer(settings_shape(desks.portal_of(ticket)))


@blueprint.patch("/settings")
@operation({200: SettingsShape}, body=DefaultsBody, refuses=(InvalidRequest, NotFound, *PORTAL_REFUSALS))
@administrator_required
def change_settings(ticket: Ticket) -> Response:
    """Change the portal's defaults, all or none."""
    wanted = desks.Defaults(**read_body(DefaultsBody).model_dump(mode="json"))
    return answer(settings_shape(desks.change_defaults(ticket.portal_id, wanted)))

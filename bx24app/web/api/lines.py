"""``/api/v1/lines`` and ``/api/v1/voices``: the lines and voices that the form offers."""

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict

from bx24app.errors import NotPermitted
from bx24app.inputs import Flag
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals import lines
from bx24app.services.portals.lines import Listing
from bx24app.services.portals.throttle import require_spare
from bx24app.web.api.callbacks import PORTAL_REFUSALS
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import LineSchema, LinesSchema, VoicesSchema, json_response, lines_schema, voices_schema
from bx24app.web.guards import principal_required, read_query

blueprint = Blueprint("lines", __name__, url_prefix="/api/v1")


class ListQuery(BaseModel):
    """What ``GET /lines`` and ``GET /voices`` take."""

    model_config = ConfigDict(extra="forbid")

    # Whether the portal is to be asked now.
    refresh: Flag = False


def _asked(principal: Principal) -> ListQuery:
    """What is asked for; a viewer, who may change nothing, does not make us ask the portal.

    Raises ``NotPermitted``, and ``RateLimited`` while others ask the portal.
    """
    query = read_query(ListQuery)
    if query.refresh and principal.role < Role.OPERATOR:
        raise NotPermitted
    if query.refresh:
        require_spare(principal.portal.id)
    return query


def _checked(found: Listing, query: ListQuery) -> Listing:
    """The list; with nothing to show, the problem that kept it from being read."""
    if found.problem is not None and (not found.names or query.refresh):
        raise found.problem
    return found


@blueprint.get("/lines")
@operation({200: LinesSchema}, query=ListQuery, refuses=PORTAL_REFUSALS)
@principal_required(Role.VIEWER, bounds_itself=True)
def show_lines(principal: Principal) -> Response:
    """The portal's lines, kept for a day; ``refresh=1`` asks the portal now."""
    query = _asked(principal)
    return json_response(lines_schema(_checked(lines.get_lines(principal.portal.id, refresh=query.refresh), query)))


@blueprint.get("/voices")
@operation({200: VoicesSchema}, query=ListQuery, refuses=PORTAL_REFUSALS)
@principal_required(Role.VIEWER, bounds_itself=True)
def show_voices(principal: Principal) -> Response:
    """The portal's voices, kept for a day; ``refresh=1`` asks the portal now."""
    query = _asked(principal)
    return json_response(voices_schema(_checked(lines.get_voices(principal.portal.id, refresh=query.refresh), query)))


@blueprint.post("/lines/<path:line_id>/resume")
@operation({200: LineSchema})
@principal_required(Role.ADMINISTRATOR)
def resume(principal: Principal, line_id: str) -> Response:
    """Dial again on a line that was stopped for lack of money."""
    name = lines.resume_line(principal.portal.id, line_id, principal.user_id)
    return json_response(LineSchema(id=line_id, name=name))

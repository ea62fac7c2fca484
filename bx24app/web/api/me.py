"""``/api/v1/me``: who I am here, what I may do, how I left the desk, and my filters."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Blueprint, Response
from flask_babel import get_locale
from pydantic import BaseModel, Field

from bx24app.errors import LimitReached
from bx24app.inputs import WRITTEN_WHOLE, Flag, Identifier, TolerantModel
from bx24app.models import SavedFilter, Source, State
from bx24app.services.callbacks import people
from bx24app.services.callbacks.listing import memory
from bx24app.services.callbacks.listing.filters import Order, Quick
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.native.follow_up import notices
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import InvalidBody, principal_required, read_body, require_fresh_proof

blueprint = Blueprint("me", __name__, url_prefix="/api/v1/me")

# What a person's desk may take, as JSON.
MAX_DESK_BYTES = 2048
PERIODS = Literal["today", "yesterday", "7_days", "30_days", "this_month", "last_month", "between", "all"]
# A view's address inside of the desk, such as "websites/<key>/hours"; nothing that somebody has typed fits.
ViewName = Annotated[str, Field(pattern=r"^[a-z]{1,20}(/[A-Za-z0-9_-]{1,64}){0,3}$", max_length=120)]
ColumnName = Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]


class KeptFilter(TolerantModel, BaseModel):
    """The filters of a list that may be kept; what somebody searches for (``q``) never is."""

    quick: Quick | None = None
    state: Annotated[list[State], Field(max_length=len(State))] = []
    source: Source | None = None
    form_key: Annotated[Identifier, Field(max_length=64)] | None = None
    line_id: Identifier | None = None
    requested_by: Annotated[int, Field(gt=0, lt=2**31), WRITTEN_WHOLE] | None = None
    period: PERIODS | None = None
    several_attempts: Flag = False
    order: Order | None = None


class DeskBody(TolerantModel, BaseModel):
    """What ``PUT /me/desk`` takes: the whole of it each time, 2 KB at most."""

    view: ViewName | None = None
    filters: KeptFilter = KeptFilter()
    page_size: Literal[25, 50, 100] = 25
    columns: Annotated[list[ColumnName], Field(max_length=20)] = []
    start_bar_open: Flag = True
    report_period: PERIODS | None = None


class FilterBody(TolerantModel):
    """What ``POST /me/filters`` takes; only administrators may share one."""

    name: Annotated[Identifier, Field(max_length=60)]
    filters: KeptFilter
    is_shared: Flag = False


class NotificationsBody(TolerantModel):
    """What ``PUT /me/notifications`` takes."""

    muted: Flag


class NotificationsSchema(BaseModel):
    """Whether somebody wants to be told nothing in the messenger."""

    muted: bool


class SavedFilterSchema(BaseModel):
    """A named filter; ``is_own``: whoever asks has made it."""

    id: int
    name: str
    filters: KeptFilter
    is_shared: bool
    is_own: bool


class DeskSchema(BaseModel):
    """How somebody left the desk; ``view`` is null after 12 hours, and all is as at first where nothing was kept."""

    view: str | None
    filters: KeptFilter
    page_size: int
    columns: list[str]
    start_bar_open: bool
    report_period: PERIODS | None
    left_at: datetime | None
    saved_filters: list[SavedFilterSchema]


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


def _saved_schema(kept: SavedFilter, principal: Principal) -> SavedFilterSchema:
    return SavedFilterSchema(
        id=kept.id,
        name=kept.name,
        filters=KeptFilter.read(kept.wanted),
        is_shared=kept.is_shared,
        is_own=kept.owner_id == principal.row_id,
    )


def desk_schema(principal: Principal, left: memory.LeftDesk) -> DeskSchema:
    """What a page begins with."""
    desk = DeskBody.read(left.desk)
    kept = desk.model_dump() | {"filters": desk.filters, "view": desk.view if left.keeps_view else None}
    saved = [_saved_schema(one, principal) for one in left.filters]
    return DeskSchema.model_validate({**kept, "left_at": left.left_at, "saved_filters": saved})


@blueprint.get("/desk")
@operation({200: DeskSchema})
@principal_required(Role.VIEWER)
def show_desk(principal: Principal) -> Response:
    """How I left the desk, with my filters and the shared ones."""
    return json_response(desk_schema(principal, memory.load_left_desk(principal)))


@blueprint.put("/desk")
@operation({204: None}, body=DeskBody)
@principal_required(Role.VIEWER)
def keep_desk(principal: Principal) -> tuple[str, int]:
    """Keep how I leave the desk, for me alone."""
    body = read_body(DeskBody)
    if len(body.model_dump_json().encode()) > MAX_DESK_BYTES:
        raise InvalidBody([("", f"longer than {MAX_DESK_BYTES} bytes")])
    memory.keep_desk(principal, body.model_dump(mode="json"))
    return "", 204


@blueprint.post("/filters")
@operation({201: SavedFilterSchema}, body=FilterBody, refuses=(LimitReached,))
@principal_required(Role.VIEWER)
def keep_filter(principal: Principal) -> Response:
    """Keep a filter under a name, 10 at most; the same name again replaces it."""
    body = read_body(FilterBody)
    if body.is_shared:
        require_fresh_proof(principal)
    wanted = body.filters.model_dump(mode="json")
    kept = memory.keep_filter(principal, body.name, wanted, is_shared=body.is_shared)
    return json_response(_saved_schema(kept, principal), 201)


@blueprint.delete("/filters/<id:filter_id>")
@operation({204: None})
@principal_required(Role.VIEWER)
def remove_filter(principal: Principal, filter_id: int) -> tuple[str, int]:
    """Remove a filter of mine, or as an administrator one that is shared."""
    memory.remove_filter(principal, filter_id)
    return "", 204


@blueprint.get("/notifications")
@operation({200: NotificationsSchema})
@principal_required(Role.VIEWER)
def show_notifications(principal: Principal) -> Response:
    """Whether I want to be told nothing in the messenger."""
    assert principal.user_id is not None
    return json_response(NotificationsSchema(muted=notices.is_muted(principal.portal.id, principal.user_id)))


@blueprint.put("/notifications")
@operation({204: None}, body=NotificationsBody)
@principal_required(Role.VIEWER)
def keep_notifications(principal: Principal) -> tuple[str, int]:
    """Tell me nothing any more, or tell me again; for me alone."""
    assert principal.user_id is not None
    notices.mute(principal.portal.id, principal.user_id, is_muted=read_body(NotificationsBody).muted)
    return "", 204

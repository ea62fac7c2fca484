"""Fragments that keep an open desk up to date, rendered by the same templates as the page."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from flask import Blueprint, Response, make_response, render_template, request
from pydantic import BaseModel, Field

from bx24app.inputs import SPELLED, Text
from bx24app.models import utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.listing import memory
from bx24app.services.callbacks.listing.shown import load_choices, load_shown
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals import request_log
from bx24app.services.webhooks import subscriptions
from bx24app.web.api.listing.list_query import ShownQuery
from bx24app.web.guards import principal_required, read_query
from bx24app.web.presenters import webhooks as webhook_presenter
from bx24app.web.presenters.listing.callback_list import list_view, optional_columns, version_of_view
from bx24app.web.presenters.listing.list_filter import filter_panel

blueprint = Blueprint("fragments", __name__, url_prefix="/desk")


@blueprint.get("/callbacks")
@principal_required(Role.VIEWER)
def rows(principal: Principal) -> Response:
    """The page's list, as the address says; 304 when nothing changed since the given ``ETag``."""
    query, operates = read_query(ShownQuery), principal.role >= Role.OPERATOR
    view = version_of_view(query, operates=operates)
    tags = request.if_none_match.as_set(include_weak=True)
    known = next((tag.removeprefix(view) for tag in tags if tag.startswith(view)), "")
    shown = load_shown(principal, query.choice(), known)
    if shown is None:
        response = make_response("", HTTPStatus.NOT_MODIFIED)
        response.set_etag(view + known)
        return response
    listed = list_view(shown, query, principal.portal, operates=operates)
    response = make_response(render_template("callbacks/list_parts.html", list=listed))
    response.set_etag(listed.etag)
    return response


@blueprint.get("/callbacks/filter")
@principal_required(Role.VIEWER)
def list_filter(principal: Principal) -> str:
    """The panel that filters the list, with the filters that somebody has named."""
    query = read_query(ShownQuery)
    left, choices = memory.load_left_desk(principal), load_choices(principal.portal.id)
    panel = filter_panel(principal, choices.forms, choices.people, left.filters)
    return render_template("callbacks/list_filter.html", panel=panel, query=query)


@blueprint.get("/callbacks/tools")
@principal_required(Role.VIEWER)
def list_tools(_principal: Principal) -> str:
    """What a list puts beside its rows when somebody presses something there: menus, questions, choices."""
    return render_template("callbacks/list_templates.html", columns=optional_columns())


class LogQuery(BaseModel):
    """The filters of the log of requests; ``before`` is the id of the last row shown."""

    method: Annotated[Text, Field(max_length=255)] = ""
    outcome: Annotated[Literal["", "answered", "refused"], SPELLED] = ""
    hours: Annotated[Literal["", "1", "24", "72"], SPELLED] = ""
    before: Annotated[int, Field(ge=0, lt=2**31)] = 0


@blueprint.get("/requests")
@principal_required(Role.ADMINISTRATOR)
def requests_made(principal: Principal) -> str:
    """The REST log of this portal, newest first."""
    query = read_query(LogQuery)
    wanted = request_log.LogFilter(
        method=query.method or None,
        refused={"answered": False, "refused": True}.get(query.outcome),
        since=utcnow() - timedelta(hours=int(query.hours)) if query.hours else None,
        before=query.before or None,
    )
    page = request_log.list_requests(principal.portal.id, wanted)
    return render_template(
        "desk/settings/log_rows.html", page=page, names=people.names_of(principal.portal.id, page.user_ids)
    )


@blueprint.get("/webhooks/<id:webhook_id>")
@principal_required(Role.ADMINISTRATOR)
def show_deliveries(principal: Principal, webhook_id: int) -> str:
    """What was sent to one webhook, the newest first."""
    found = subscriptions.list_deliveries(principal.portal.id, webhook_id)
    return render_template(
        "desk/websites/deliveries.html", deliveries=[webhook_presenter.delivery_row(one) for one in found]
    )

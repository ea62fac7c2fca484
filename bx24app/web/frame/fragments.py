"""Fragments that keep an open desk up to date, rendered by the same templates as the page."""

import hashlib
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from flask import Blueprint, Response, make_response, render_template, request
from pydantic import BaseModel, Field

from bx24app.i18n import LANGUAGES
from bx24app.inputs import SPELLED, Text
from bx24app.models import utcnow
from bx24app.services import diagnostics
from bx24app.services.callbacks import desk, people
from bx24app.services.callbacks import queries as callback_queries
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals import request_log
from bx24app.services.webhooks import subscriptions
from bx24app.web.guards import principal_required, read_query
from bx24app.web.presenters import callbacks as callback_presenter
from bx24app.web.presenters import sections as section_presenter
from bx24app.web.presenters import webhooks as webhook_presenter

blueprint = Blueprint("fragments", __name__, url_prefix="/desk")


@blueprint.get("/callbacks")
@principal_required(Role.VIEWER)
def rows(principal: Principal) -> Response:
    """The rows of the page's list; 304 when nothing changed since the given ``ETag``."""
    found = desk.load_callbacks(principal)
    language = request.accept_languages.best_match(LANGUAGES, "en")
    operates = principal.role >= Role.OPERATOR
    seen = "".join(f"{named.callback.id}{named.callback.version}" for named in found)
    response = make_response()
    response.set_etag(hashlib.sha256(f"{language}{operates}{seen}".encode()).hexdigest()[:32])
    if response.make_conditional(request).status_code == HTTPStatus.NOT_MODIFIED:
        return response
    shown = callback_presenter.callback_rows(found, operates=operates)
    response.set_data(render_template("callbacks/rows.html", callbacks=shown, operates=operates))
    return response


@blueprint.get("/callbacks/<uuid:callback_id>")
@principal_required(Role.VIEWER)
def detail(principal: Principal, callback_id: UUID) -> str:
    """One callback's attempts and why."""
    named = callback_queries.get_named_callback(principal, callback_id)
    return render_template(
        "callbacks/detail.html",
        callback=callback_presenter.callback_row(named, operates=principal.role >= Role.OPERATOR),
        attempts=named.callback.attempts,
        decisions=callback_presenter.decisions(named),
    )


@blueprint.get("/check")
@principal_required(Role.ADMINISTRATOR)
def check(principal: Principal) -> str:
    """Check the setup anew: what is missing on this portal, and what to do about it."""
    made = diagnostics.check_portal(principal.portal.id)
    return render_template("desk/settings/findings.html", check=section_presenter.shown_check(made))


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

"""Fragments that keep an open desk up to date, rendered by the same templates as the page."""

import hashlib
from http import HTTPStatus
from uuid import UUID

from flask import Blueprint, Response, make_response, render_template, request

from bx24app.services import callback_lists, desks
from bx24app.services.tickets import Ticket
from bx24app.web import views
from bx24app.web.guards import ticket_required
from bx24app.web.languages import LANGUAGES

blueprint = Blueprint("desk", __name__, url_prefix="/desk")


@blueprint.get("/callbacks")
@ticket_required
def rows(ticket: Ticket) -> Response:
    """The rows of the page's list; 304 when nothing changed since the given ``ETag``."""
    found = desks.callbacks_of(ticket)
    language = request.accept_languages.best_match(LANGUAGES, "en")
    seen = "".join(f"{callback.id}{callback.version}" for callback in found)
    response = make_response()
    response.set_etag(hashlib.sha256(f"{language}{seen}".encode()).hexdigest()[:32])
    if response.make_conditional(request).status_code == HTTPStatus.NOT_MODIFIED:
        return response
    response.set_data(render_template("callbacks/rows.html", callbacks=views.rows(ticket.portal_id, found)))
    return response


@blueprint.get("/callbacks/<uuid:callback_id>")
@ticket_required
def detail(ticket: Ticket, callback_id: UUID) -> str:
    """One callback's attempts and why."""
    callback = callback_lists.get(ticket.portal_id, callback_id)
    return render_template(
        "callbacks/detail.html",
        callback=views.rows(ticket.portal_id, [callback])[0],
        attempts=callback.attempts,
        decisions=views.decisions(callback),
    )

"""One callback in a view of its own: the view, what of it changed, and what only the portal can tell."""

import hashlib
from http import HTTPStatus
from uuid import UUID

from flask import Blueprint, Response, make_response, render_template, request
from pydantic import ValidationError

from bx24app.errors import ListRefused
from bx24app.i18n import LANGUAGES
from bx24app.services.callbacks.detail.opened import open_callback
from bx24app.services.callbacks.detail.told_by_portal import ask_portal
from bx24app.services.callbacks.listing.shown import ListChoice
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.web.api.listing.list_query import ShownQuery
from bx24app.web.guards import principal_required
from bx24app.web.presenters.one_callback import callback_view, shown_recordings

blueprint = Blueprint("one_callback", __name__, url_prefix="/desk/callbacks")

_FILTERS = frozenset(field.alias or name for name, field in ShownQuery.model_fields.items())


def show_callback(principal: Principal, callback_id: UUID) -> str:
    """One callback with its story, and its neighbours in the list that the address names; raises ``NotFound``."""
    try:
        opened = open_callback(principal, callback_id, _list_around())
    except ListRefused:
        opened = open_callback(principal, callback_id)
    return render_template("desk/callback.html", view=callback_view(opened, principal.role))


def _list_around() -> ListChoice | None:
    """The list of the view's address; None where it names none, or one that there cannot be."""
    named = {name: value for name, value in request.args.items() if name in _FILTERS}
    try:
        return ShownQuery.model_validate(named).choice() if named else None
    except ValidationError:
        return None


@blueprint.get("/<uuid:callback_id>/now")
@principal_required(Role.VIEWER)
def now(principal: Principal, callback_id: UUID) -> Response:
    """The parts of an open view; 304 when nothing changed since the given ``ETag``."""
    opened = open_callback(principal, callback_id)
    seen = (request.accept_languages.best_match(LANGUAGES, "en"), principal.role, opened.version)
    response = make_response()
    response.set_etag(hashlib.sha256(repr(seen).encode()).hexdigest()[:32])
    if response.make_conditional(request).status_code == HTTPStatus.NOT_MODIFIED:
        return response
    response.set_data(render_template("callbacks/view.html", view=callback_view(opened, principal.role)))
    return response


@blueprint.get("/<uuid:callback_id>/bitrix24")
@principal_required(Role.VIEWER, bounds_itself=True)
def bitrix24(principal: Principal, callback_id: UUID) -> str:
    """What the portal says of the recordings and of the card, asked under the reader's own access."""
    told = ask_portal(principal, callback_id)
    return render_template("callbacks/told.html", recordings=shown_recordings(told.recordings), card=told.card)

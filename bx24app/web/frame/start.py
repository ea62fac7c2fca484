"""Parts of the start bar that are loaded when they are needed: the times of a later call, and what will be said."""

from datetime import date

from flask import Blueprint, Response, jsonify, render_template
from pydantic import BaseModel

from bx24app.errors import InvalidRequest, NotPermitted
from bx24app.inputs import Decor, Text, TolerantModel
from bx24app.models import utcnow
from bx24app.services.callbacks.listing.company_day import company_zone
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling import call_times, spoken_text
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.websites import forms
from bx24app.web.addresses import FormKey
from bx24app.web.guards import principal_required, read_body, read_query
from bx24app.web.presenters import start as start_presenter

blueprint = Blueprint("start", __name__, url_prefix="/desk/start")


class LaterQuery(BaseModel):
    """Whose times are asked for; without a day, those of the first one on which the company, or the form, is open."""

    day: date | None = None
    form_key: FormKey | None = None


@blueprint.get("/later")
@principal_required(Role.OPERATOR)
def later(principal: Principal) -> str:
    """The days and times at which a call may be planned, by the company's clock, or by a form's for administrators."""
    query, portal = read_query(LaterQuery), principal.portal
    if query.form_key and principal.role is not Role.ADMINISTRATOR:
        raise NotPermitted
    hours = hours_in_force(portal, forms.get_form(portal.id, query.form_key) if query.form_key else None)
    offered = call_times.offer_times(hours, hours.zone if hours else company_zone(portal), utcnow(), query.day)
    if offered is None:
        raise InvalidRequest("scheduled_at")
    return render_template("desk/later.html", later=start_presenter.later_form(offered, hours))


class TextBody(TolerantModel):
    """A text as it was typed, and the customer's name. They stand in the body, for addresses are logged."""

    text: Text = ""
    customer_name: Decor = ""


@blueprint.post("/text")
@principal_required(Role.OPERATOR, only_reads=True)
def text(_: Principal) -> Response:
    """What will be said to whoever picks up; nothing is stored."""
    body = read_body(TextBody)
    return jsonify({"words": start_presenter.said_words(spoken_text.preview(body.text, body.customer_name))})

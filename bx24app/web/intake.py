"""``/w/<form_key>``: the hosted form of a website, its challenge, its free times, and the requests it sends.

A script sends JSON and gets JSON; a browser without JavaScript sends the form and is led to the customer's page.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask import Blueprint, Response, g, jsonify, make_response, redirect, render_template, request
from flask_babel import get_locale

from bx24app.errors import FieldRefused, Refusal
from bx24app.models import utcnow
from bx24app.services import defence, forms, intake, links, proofs
from bx24app.services.cases import Case
from bx24app.services.forms import Open
from bx24app.services.intake import Taken
from bx24app.web import visitor_views, visits
from bx24app.web.errors import prefers_page, status_of
from bx24app.web.headers import frame_only_in
from bx24app.web.languages import speak_one_of
from bx24app.web.moments import iso
from bx24app.web.texts import reason_sentence

blueprint = Blueprint("intake", __name__, url_prefix="/w")


@dataclass(frozen=True)
class Slot:
    """A time to choose: ``value`` is sent, ``label`` is read, in the zone of the form."""

    value: str
    label: str


def slot(moment: datetime, zone: str) -> Slot:
    """A moment for a list to choose from."""
    local = moment.astimezone(ZoneInfo(zone))
    return Slot(iso(moment), format_datetime(local, "EEE d MMM, HH:mm", locale=get_locale()))


def _open(form_key: str) -> Open:
    """The form, spoken to the visitor in one of its languages, to be framed by its sites only."""
    request.max_content_length = visits.MAX_BODY_BYTES
    opened = forms.open_form(form_key)
    speak_one_of(opened.form.languages)
    frame_only_in(" ".join(["'self'", *opened.form.allowed_origins]))
    g.form_origins = opened.form.allowed_origins
    return opened


def _now(opened: Open) -> Case:
    return Case(form=opened.form, portal=opened.portal, now=utcnow())


@blueprint.get("/<form_key>")
def show(form_key: str) -> Response:
    """The hosted form."""
    return _page(_open(form_key))


def _page(opened: Open, refusal: Refusal | None = None) -> Response:
    """The form's page; after a refusal with what was typed, and what to do about it."""
    case = _now(opened)
    field = refusal.field if refusal else None
    words = reason_sentence(refusal.explanation) if refusal else ""
    closed = forms.problems_of(opened.form, opened.portal)
    text = render_template(
        "w/closed.html" if closed else "w/form.html",
        form=opened.form,
        shown=visitor_views.hosted(case),
        token=proofs.token(opened.form.key),
        idempotency_key=request.form.get("idempotency_key") or str(uuid4()),
        honeypot=visits.HONEYPOT,
        page=(request.form.get("page") or request.args.get("page", ""))[:2000],
        values=request.form,
        problem=reason_sentence("form_closed") if closed else "" if field else words,
        errors={field: words} if field else {},
        framed="frame" in request.args,
    )
    return make_response(text, status_of(type(refusal)) if refusal else 200)


@blueprint.get("/<form_key>/challenge")
def challenge(form_key: str) -> Response:
    """A proof of work for the browser, as ALTCHA (version 2) describes it."""
    return jsonify(proofs.challenge(_open(form_key).form.key))


@blueprint.get("/<form_key>/slots")
def slots(form_key: str) -> Response:
    """The next free times, and whether somebody is there now."""
    opened = _open(form_key)
    after, _ = visits.read_moment(request.args.get("from"))
    case = _now(opened)
    is_open = case.hours.is_open(case.now)
    return jsonify(
        {
            "is_open": is_open,
            "expected_at": iso(case.now) if is_open else None,
            "zone": case.hours.zone,
            "slots": [iso(moment) for moment in defence.slots(case, after)],
        }
    )


@blueprint.route("/<form_key>/callbacks", methods=["OPTIONS"])
def preflight(form_key: str) -> tuple[str, int]:
    """What a browser asks before a site's own script may post."""
    _open(form_key)
    return "", 204


@blueprint.post("/<form_key>/callbacks")
def take(form_key: str) -> Response:
    """Take a request: 202 once it is committed; a browser without script goes on to the customer's page."""
    opened = _open(form_key)
    as_page = not request.is_json and prefers_page()
    try:
        taken = _take(opened)
    except Refusal as refusal:
        if not as_page:
            raise
        return _page(opened, refusal)
    return make_response(redirect(links.url_of(taken.id), 303)) if as_page else _answer(taken)


def _take(opened: Open) -> Taken:
    try:
        asked = visits.read_visit(str(g.language))
    except visits.Unreadable as error:
        field = error.fields[0] if error.fields else None
        refusal = FieldRefused("shape", field, {"fields": ", ".join(error.fields)})
        intake.refuse(opened, refusal, request.remote_addr)
        raise refusal from None
    return intake.take(opened, asked)


def _answer(taken: Taken) -> Response:
    body = {
        "reference": str(taken.id),
        "status_url": links.url_of(taken.id),
        "state": taken.state,
        "expected_at": iso(taken.expected_at),
    }
    response = jsonify(body)
    response.status_code = 202
    return response


@blueprint.after_request
def let_sites_in(response: Response) -> Response:
    """A form's own sites may read the answers, and post JSON; the hosted form's posts keep their origin."""
    response.headers["Referrer-Policy"] = "same-origin"
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin and origin in g.get("form_origins", ()):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Headers"] = "Content-Type"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Max-Age"] = "600"
    return response

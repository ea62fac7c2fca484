"""``/w/<form_key>``: the hosted form of a website, its challenge, its free times, and the requests it sends.

A script sends JSON and gets JSON; a browser without JavaScript sends the form and is led to the customer's page.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from flask import Blueprint, Response, g, jsonify, make_response, redirect, render_template, request

from bx24app.errors import ChangedMeanwhile, FieldRefused, Refusal
from bx24app.log import name_portal
from bx24app.messages.numbers import extension_notices
from bx24app.messages.reasons import reason_sentence
from bx24app.models import utcnow
from bx24app.services.security import signing
from bx24app.services.security.networks import network_of
from bx24app.services.websites import forms, rules, wait_estimate
from bx24app.services.websites.availability import form_problems
from bx24app.services.websites.challenge import new_challenge_for, new_token
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission
from bx24app.services.websites.submit import Receipt, reject_unreadable
from bx24app.services.websites.submit import submit as submit_request
from bx24app.web.bodies import UnreadableBody
from bx24app.web.errors import prefers_page
from bx24app.web.headers import frame_only_in
from bx24app.web.languages import speak_one_of
from bx24app.web.moments import iso
from bx24app.web.presenters import visitors as visitor_presenter
from bx24app.web.public import submissions

blueprint = Blueprint("website_form", __name__, url_prefix="/w")

# Two or three days of usual hours.
OFFERED = 48
# A time so near is as soon as possible.
SOONEST = timedelta(minutes=20)
# So much of a page's address is carried through the form; the marks of campaigns stand at its end.
MAX_PAGE_CARRIED = 8000


def _open(form_key: str, open_form: Callable[[str], OpenForm] = forms.open_form) -> OpenForm:
    """The form, spoken to the visitor in one of its languages, to be framed by its sites only."""
    request.max_content_length = submissions.MAX_SUBMISSION_BYTES
    opened = open_form(form_key)
    name_portal(opened.portal.member_id)
    speak_one_of(opened.form.languages)
    frame_only_in(" ".join(["'self'", *opened.form.allowed_origins]))
    g.form_origins = opened.form.allowed_origins
    return opened


def _now(opened: OpenForm) -> Submission:
    return Submission(form=opened.form, portal=opened.portal, now=utcnow())


@blueprint.get("/<key:form_key>")
def show(form_key: str) -> Response:
    """The hosted form."""
    return _page(_open(form_key))


def _page(opened: OpenForm, refusal: Refusal | None = None) -> Response:
    """The form's page; after a refusal with what was typed, and what to do about it."""
    case = _now(opened)
    field = refusal.field if refusal else None
    words = reason_sentence(refusal.explanation) if refusal else ""
    closed = form_problems(opened.form, opened.portal)
    minutes = wait_estimate.expected_minutes(opened, case.now) if case.hours.is_open(case.now) else None
    free = rules.free_slots(case, case.now + SOONEST, OFFERED)
    typed = submissions.typed_texts(opened.portal.language) if refusal else {}
    text = render_template(
        "w/closed.html" if closed else "w/form.html",
        form=opened.form,
        shown=visitor_presenter.hosted_form(case, minutes, free),
        token=new_token(opened.form.key),
        idempotency_key=typed.get("idempotency_key") or str(uuid4()),
        honeypot=rules.HONEYPOT,
        page=(typed.get("page") or request.args.get("page", ""))[:MAX_PAGE_CARRIED],
        values=typed,
        problem=reason_sentence("form_closed") if closed else "" if field else words,
        errors={field: words} if field else {},
        framed="frame" in request.args,
    )
    return make_response(text, refusal.status if refusal else 200)


@blueprint.get("/<key:form_key>/challenge")
def challenge(form_key: str) -> Response:
    """A proof of work for the browser, as ALTCHA (version 2) describes it."""
    opened = _open(form_key)
    return jsonify(new_challenge_for(opened.form.key, network_of(request.remote_addr or "")))


@blueprint.get("/<key:form_key>/slots")
def slots(form_key: str) -> Response:
    """The next free times, and whether somebody is there now."""
    opened = _open(form_key)
    after, _ = submissions.read_time(request.args.get("from"))
    case = _now(opened)
    is_open = case.hours.is_open(case.now)
    return jsonify(
        {
            "is_open": is_open,
            "expected_at": iso(case.now) if is_open else None,
            "zone": case.hours.zone,
            "slots": [iso(moment) for moment in rules.free_slots(case, after)],
        }
    )


@blueprint.route("/<key:form_key>/callbacks", methods=["OPTIONS"])
def preflight(form_key: str) -> tuple[str, int]:
    """What a browser asks before a site's own script may post."""
    _open(form_key)
    return "", 204


@blueprint.post("/<key:form_key>/callbacks")
def submit(form_key: str) -> Response:
    """Take a request: 202 once it is committed; a browser without script goes on to the customer's page."""
    as_page = not request.is_json and prefers_page()
    try:
        taken = _submit(form_key)
    except Refusal as refusal:
        if not as_page:
            raise
        return _page(_open(form_key), refusal)
    return make_response(redirect(signing.status_url(taken.id), 303)) if as_page else _answer(taken)


def _submit(form_key: str) -> Receipt:
    """Take it under the form that is in memory; where that has changed, under the form as it is now."""
    try:
        return _submit_to(_open(form_key, forms.open_unconfirmed_form))
    except ChangedMeanwhile:
        return _submit_to(_open(form_key))


def _submit_to(opened: OpenForm) -> Receipt:
    try:
        asked = submissions.read_submission(str(g.language), opened.portal.language)
    except UnreadableBody as error:
        field = error.fields[0] if error.fields else None
        refusal = FieldRefused("shape", field, {"fields": ", ".join(error.fields)})
        reject_unreadable(opened, refusal, request.remote_addr)
        raise refusal from None
    return submit_request(opened, asked)


def _answer(taken: Receipt) -> Response:
    body: dict[str, object] = {
        "reference": str(taken.id),
        "status_url": signing.status_url(taken.id),
        "state": taken.state,
        "expected_at": iso(taken.expected_at),
    }
    if taken.extension:
        body["notices"] = extension_notices(taken.extension)
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

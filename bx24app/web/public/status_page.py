"""``/c/<signed>``: the customer's page, from the confirmation of their request."""

from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, request

from bx24app.errors import InvalidRequest, RateLimited, Refusal, RuleRefused
from bx24app.log import name_portal
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import customer_state_label
from bx24app.services.websites import status_page
from bx24app.services.websites.status_page import Link, RequestStatus
from bx24app.web.bodies import UnreadableBody, read_fields
from bx24app.web.errors import prefers_page
from bx24app.web.headers import frame_only_in
from bx24app.web.languages import speak_one_of
from bx24app.web.moments import iso
from bx24app.web.presenters import visitors as visitor_presenter
from bx24app.web.public import submissions

blueprint = Blueprint("status_page", __name__, url_prefix="/c")


def status_json(status: RequestStatus) -> dict[str, Any]:
    """Where a request stands, for a script."""
    return {
        "state": status.state,
        "label": customer_state_label(status.state),
        "expected_at": iso(status.expected_at) if status.expected_at else None,
        "scheduled_at": iso(status.scheduled_at) if status.scheduled_at else None,
        "can_cancel": status.is_waiting,
        "can_reschedule": status.is_waiting,
        "slots": [iso(moment) for moment in status.slots],
    }


def _read_link(signed: str) -> Link:
    request.max_content_length = submissions.MAX_SUBMISSION_BYTES
    link = status_page.read_link(signed)
    name_portal(link.opened.portal.member_id)
    speak_one_of(link.opened.form.languages)
    frame_only_in(" ".join(["'self'", *link.opened.form.allowed_origins]))
    return link


def _shown(signed: str, status: RequestStatus, refusal: Refusal | None = None) -> Response:
    if not prefers_page():
        return jsonify(status_json(status))
    zone = status_page.zone_of(status)
    text = render_template(
        "c/page.html",
        signed=signed,
        form=status.opened.form,
        status=visitor_presenter.follow_request(status, customer_state_label(status.state), zone),
        framed=False,
        problem=reason_sentence(refusal.explanation) if refusal else "",
    )
    return make_response(text, refusal.status if refusal else 200)


@blueprint.get("/<signed>")
def show(signed: str) -> Response:
    """Where the request stands: a page, or JSON for whom asks for it."""
    return _shown(signed, status_page.get_status(_read_link(signed)))


@blueprint.post("/<signed>/cancel")
def cancel(signed: str) -> Response:
    """Withdraw the request; 409 once it is being dialled."""
    link = _read_link(signed)
    try:
        status = status_page.cancel_request(link)
    except Refusal as refusal:
        return _refused(signed, link, refusal)
    return _shown(signed, status)


@blueprint.post("/<signed>/reschedule")
def reschedule(signed: str) -> Response:
    """Move the request to another time."""
    link = _read_link(signed)
    try:
        sent = read_fields(link.opened.portal.language).get("scheduled_at")
    except UnreadableBody:
        status_page.count_refused(link)
        raise InvalidRequest("scheduled_at") from None
    moment, unreadable = submissions.read_time(sent)
    try:
        status = status_page.reschedule_request(link, moment, unreadable)
    except Refusal as refusal:
        return _refused(signed, link, refusal)
    return _shown(signed, status)


def _refused(signed: str, link: Link, refusal: Refusal) -> Response:
    """The page again, with the reason; a script gets the problem document, and what comes too often a short page."""
    if not prefers_page() or isinstance(refusal, RateLimited):
        raise refusal
    # What a rule refuses is as it was read. Else something has happened to it meanwhile, as a call that began.
    known = link if isinstance(refusal, RuleRefused) else status_page.read_link(signed)
    return _shown(signed, status_page.get_status(known), refusal)

"""``/api/v1/callbacks``: starting callbacks and deciding about them."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Blueprint, Response, jsonify, request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bx24app.errors import InvalidRequest, NotFound
from bx24app.models import Callback, Source, State
from bx24app.services import callback_lists, callbacks, keyed_intake, numbers
from bx24app.services.callback_lists import Filter
from bx24app.services.callbacks import Accepted, Requested
from bx24app.services.keyed_intake import Asked
from bx24app.services.tickets import Ticket
from bx24app.web.guards import Requester, read_body, requester_required, ticket_required
from bx24app.web.views import callback_json

blueprint = Blueprint("callbacks", __name__, url_prefix="/api/v1/callbacks")

MAX_WAIT_SECONDS = 10
MAX_LIMIT = 200
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _no_control(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


Text = Annotated[str, AfterValidator(_no_control)]


class CrmEntity(BaseModel):
    """A card of the CRM."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["LEAD", "DEAL", "CONTACT", "COMPANY"]
    id: Annotated[int, Field(gt=0, lt=2**31)]


class CallbackBody(BaseModel):
    """What ``POST /callbacks`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to_number: Annotated[Text, Field(max_length=255)]
    line_id: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    voice_id: Annotated[Text, Field(max_length=255)] | None = None
    text: Annotated[Text, Field(max_length=4000)] | None = None
    scheduled_at: AwareDatetime | None = None
    crm_entity: CrmEntity | None = None

    def requested(self) -> Requested:
        """The request for the use case."""
        entity = self.crm_entity
        return Requested(
            to_number=self.to_number,
            line_id=self.line_id,
            voice_id=self.voice_id,
            text=self.text,
            scheduled_at=self.scheduled_at,
            crm_entity_type=entity.type if entity else None,
            crm_entity_id=entity.id if entity else None,
        )


class KeyedBody(BaseModel):
    """What ``POST /callbacks`` takes under an API key."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to_number: Annotated[Text, Field(max_length=255)]
    line_id: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    voice_id: Annotated[Text, Field(max_length=255)] | None = None
    text: Annotated[Text, Field(max_length=4000)] | None = None
    scheduled_at: AwareDatetime | None = None
    name: Annotated[Text, Field(max_length=255)] = ""
    topic: Annotated[Text, Field(max_length=255)] = ""
    page: Annotated[Text, Field(max_length=2000)] = ""
    # The customer has agreed to the form's text on the site's own page.
    consent: bool = False
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"

    def asked(self) -> Asked:
        """The request for the use case."""
        given = self.model_dump(exclude={"consent"})
        return Asked(**given, consents=self.consent)


class ScheduleBody(BaseModel):
    """What ``PATCH /callbacks/<id>`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    scheduled_at: AwareDatetime


class OutcomeBody(BaseModel):
    """What ``POST /callbacks/<id>/resolve`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    outcome: Literal["reached", "not_reached", "dial_again"]


class Query(BaseModel):
    """What ``GET /callbacks`` takes."""

    model_config = ConfigDict(extra="ignore")

    state: State | None = None
    source: Source | None = None
    q: Annotated[str, Field(max_length=64)] | None = None
    since: Annotated[AwareDatetime | None, Field(alias="from")] = None
    until: Annotated[AwareDatetime | None, Field(alias="to")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    cursor: UUID | None = None


_UUID = TypeAdapter(UUID)


def _id(text: str) -> UUID:
    try:
        return _UUID.validate_python(text)
    except ValidationError:
        raise NotFound from None


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key")
    return key


def _wait_seconds() -> float:
    """``Prefer: wait=N`` (RFC 7240); anything else asks for no waiting."""
    match = re.search(r"\bwait\s*=\s*\"?(\d{1,4})\"?", request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0


def _answer(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    response = jsonify(body)
    response.status_code = status
    response.headers.update(headers)
    return response


@blueprint.post("")
@requester_required
def start(requester: Requester) -> Response:
    """Accept a callback; 201 once it is committed, 200 for the same request under the same key."""
    accepted = _accept(requester)
    callback, seconds = accepted.callback, _wait_seconds()
    if seconds:
        callback = callback_lists.wait_until_dialled(requester.portal_id, callback.id, seconds)
    if accepted.replayed:
        return _answer(callback_json(callback), 200, **{"Idempotent-Replayed": "true"})
    return _answer(callback_json(callback), 201, Location=f"/api/v1/callbacks/{callback.id}")


def _accept(requester: Requester) -> Accepted:
    key = _idempotency_key()
    if requester.form_id is not None:
        return keyed_intake.request_callback(requester.form_id, read_body(KeyedBody).asked(), key)
    return callbacks.request_callback(
        requester.portal_id, requester.user_id or 0, read_body(CallbackBody).requested(), key
    )


@blueprint.get("")
@requester_required
def show_all(requester: Requester) -> Response:
    """List callbacks, newest first."""
    try:
        query = Query.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise InvalidRequest(str(error.errors()[0]["loc"][0])) from None
    digits = numbers.digits(query.q) if query.q else None
    if query.q and not digits:
        return _answer({"callbacks": [], "next_cursor": None})
    found = callback_lists.list_callbacks(
        requester.portal_id,
        Filter(
            state=query.state,
            source=query.source,
            form_id=requester.form_id,
            digits=digits,
            since=query.since,
            until=query.until,
            before=query.cursor,
            limit=query.limit + 1,
        ),
    )
    page = found[: query.limit]
    next_cursor = str(page[-1].id) if len(found) > query.limit else None
    return _answer({"callbacks": [callback_json(callback) for callback in page], "next_cursor": next_cursor})


def _get(requester: Requester, callback_id: str) -> Callback:
    return callback_lists.get(requester.portal_id, _id(callback_id), requester.form_id)


@blueprint.get("/<callback_id>")
@requester_required
def show(requester: Requester, callback_id: str) -> Response:
    """One callback with its attempts and its why."""
    return _answer(callback_json(_get(requester, callback_id), why=True))


@blueprint.patch("/<callback_id>")
@requester_required
def reschedule(requester: Requester, callback_id: str) -> Response:
    """Move a waiting callback to another time."""
    body, id = read_body(ScheduleBody), _get(requester, callback_id).id
    by = "api" if requester.form_id else None
    changed = callbacks.reschedule(requester.portal_id, id, requester.user_id, body.scheduled_at, by)
    return _answer(callback_json(changed))


@blueprint.post("/<callback_id>/cancel")
@requester_required
def cancel(requester: Requester, callback_id: str) -> Response:
    """Withdraw a waiting callback; 409 once it is being dialled."""
    id, by = _get(requester, callback_id).id, "api" if requester.form_id else None
    return _answer(callback_json(callbacks.cancel(requester.portal_id, id, requester.user_id, by)))


@blueprint.post("/<callback_id>/resolve")
@ticket_required
def resolve(ticket: Ticket, callback_id: str) -> Response:
    """Say what became of an unknown callback."""
    outcome = read_body(OutcomeBody).outcome
    return _answer(callback_json(callbacks.resolve(ticket.portal_id, _id(callback_id), ticket.user_id, outcome)))


@blueprint.post("/<callback_id>/retry")
@ticket_required
def retry(ticket: Ticket, callback_id: str) -> Response:
    """Ask for the same once more: a new callback."""
    callback = callbacks.retry(ticket.portal_id, _id(callback_id), ticket.user_id)
    return _answer(callback_json(callback), 201, Location=f"/api/v1/callbacks/{callback.id}")

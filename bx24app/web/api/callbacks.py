"""``/api/v1/callbacks``: starting callbacks and deciding about them."""

import re
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from bx24app.errors import (
    Bitrix24Unavailable,
    BudgetExhausted,
    IdempotencyKeyReused,
    InvalidRequest,
    LimitReached,
    NumberInHand,
    PortalDisconnected,
    RateLimited,
    RuleRefused,
    TooLate,
)
from bx24app.inputs import (
    SPELLED,
    WRITTEN_WHOLE,
    CardKind,
    Consent,
    Decor,
    Identifier,
    Text,
    TolerantModel,
    TypedNumber,
)
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks import change
from bx24app.services.callbacks import queries as callback_queries
from bx24app.services.callbacks import request as callback_request
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.request import AcceptedCallback, CallbackRequest
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.decoration import SentTexts
from bx24app.services.runtime.slots import Slots
from bx24app.services.websites import api_submit
from bx24app.services.websites.api_submit import ApiPost
from bx24app.services.websites.changing import key_changes
from bx24app.web.api.idempotency_key import IdempotencyKey
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import (
    AcceptedSchema,
    CallbackSchema,
    ExplainedCallback,
    accepted_schema,
    callback_schema,
    explained_callback_schema,
    json_response,
)
from bx24app.web.guards import principal_required, read_body, read_headers
from bx24app.web.moments import UtcMoment

blueprint = Blueprint("callbacks", __name__, url_prefix="/api/v1/callbacks")

MAX_WAIT_SECONDS = 10
# Who waits holds a thread: whoever finds all of these taken is answered at once.
WAITS_OF_PORTAL, WAITS_AT_ONCE = 2, 4
_waits = Slots[int](WAITS_OF_PORTAL, WAITS_AT_ONCE)
_TIME_LIKE = re.compile("sched", re.IGNORECASE)
# What asking the portal, or being accepted under its access, may meet.
PORTAL_REFUSALS = (PortalDisconnected, Bitrix24Unavailable, ExchangeError)


class CrmEntityBody(TolerantModel):
    """A card of the CRM."""

    type: CardKind
    id: Annotated[int, Field(gt=0, lt=2**31), WRITTEN_WHOLE]


class CallbackBody(TolerantModel):
    """What ``POST /callbacks`` takes with a ticket."""

    to_number: TypedNumber
    line_id: Identifier | None = None
    voice_id: Identifier | None = None
    text: Annotated[Text, Field(max_length=4000)] | None = None
    scheduled_at: UtcMoment | None = None
    crm_entity: CrmEntityBody | None = None
    # As the card has it: the callback is found by it.
    customer_name: Decor = ""

    def requested(self) -> CallbackRequest:
        """The request for the use case."""
        entity = self.crm_entity
        return CallbackRequest(
            to_number=self.to_number,
            line_id=self.line_id,
            voice_id=self.voice_id,
            text=self.text,
            scheduled_at=self.scheduled_at,
            crm_entity_type=entity.type if entity else None,
            crm_entity_id=entity.id if entity else None,
            customer_name=self.customer_name,
        )


class KeyedBody(TolerantModel):
    """What ``POST /callbacks`` takes under an API key; other fields are named among the callback's decisions."""

    model_config = ConfigDict(extra="allow")

    to_number: TypedNumber
    line_id: Identifier | None = None
    voice_id: Identifier | None = None
    text: Annotated[Text, Field(max_length=4000)] | None = None
    scheduled_at: UtcMoment | None = None
    name: Decor = ""
    topic: Decor = ""
    page: Decor = ""
    # The customer has agreed to the form's text on the site's own page.
    consent: Consent = False
    language: Decor = ""

    @model_validator(mode="after")
    def _names_its_time(self) -> "KeyedBody":
        """Refuse a misspelt time: without it the customer would be called now."""
        if any(map(_TIME_LIKE.search, self.model_extra or ())):
            raise ValueError("the time of the call is scheduled_at")
        return self

    def asked(self) -> ApiPost:
        """The request for the use case."""
        return ApiPost(
            to_number=self.to_number,
            line_id=self.line_id,
            voice_id=self.voice_id,
            text=self.text,
            scheduled_at=self.scheduled_at,
            texts=SentTexts(self.name, self.topic, self.page, self.language, self.model_extra or {}),
            consents=self.consent,
        )


class StartBody(RootModel[CallbackBody | KeyedBody]):
    """What ``POST /callbacks`` takes: the first with a ticket, the second under an API key."""


class ScheduleBody(TolerantModel):
    """What ``PATCH /callbacks/<id>`` takes."""

    scheduled_at: UtcMoment


class OutcomeBody(TolerantModel):
    """What ``POST /callbacks/<id>/resolve`` takes."""

    outcome: Annotated[Literal["reached", "not_reached", "dial_again"], SPELLED]


class StartHeaders(BaseModel):
    """The headers of ``POST /callbacks``."""

    key: Annotated[IdempotencyKey | None, Field(alias="Idempotency-Key")] = None
    prefer: Annotated[str, Field(alias="Prefer")] = ""


def _wait_seconds(prefer: str) -> float:
    """``Prefer: wait=N`` (RFC 7240); anything else asks for no waiting."""
    match = re.search(r"\bwait\s*=\s*\"?(\d{1,4})\"?", prefer)
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0


@blueprint.post("")
@operation(
    {201: AcceptedSchema, 200: AcceptedSchema},
    body=StartBody,
    headers=StartHeaders,
    refuses=(InvalidRequest, NumberInHand, IdempotencyKeyReused, RuleRefused, *PORTAL_REFUSALS),
)
@principal_required(Role.OPERATOR, lets_keys_in=True)
def start(principal: Principal) -> Response:
    """Accept a callback; 201 once it is committed, 200 for the same request under the same key."""
    headers = read_headers(StartHeaders)
    accepted = _accept(principal, headers.key)
    callback, seconds = accepted.callback, _wait_seconds(headers.prefer)
    if seconds:
        with _waits.hold(callback.portal_id) as is_held:
            if is_held:
                callback = callback_queries.wait_until_dialled(callback.portal_id, callback.id, seconds)
    shown = accepted_schema(replace(accepted, callback=callback))
    if accepted.replayed:
        return json_response(shown, 200, **{"Idempotent-Replayed": "true"})
    return json_response(shown, 201, Location=f"/api/v1/callbacks/{callback.id}")


def _accept(principal: Principal, key: str | None) -> AcceptedCallback:
    if principal.form_id is not None:
        return api_submit.submit_with_key(principal.form_id, read_body(KeyedBody).asked(), key)
    return callback_request.request_callback(principal, read_body(CallbackBody).requested(), key)


def _by(principal: Principal) -> str | None:
    return "api" if principal.form_id else None


@blueprint.get("/<uuid:callback_id>")
@operation({200: ExplainedCallback})
@principal_required(Role.VIEWER, lets_keys_in=True)
def show(principal: Principal, callback_id: UUID) -> Response:
    """One callback with its attempts and its why."""
    named = callback_queries.get_named_callback(principal, callback_id)
    return json_response(explained_callback_schema(named))


@blueprint.patch("/<uuid:callback_id>")
@operation({200: CallbackSchema}, body=ScheduleBody, refuses=(TooLate, RateLimited, LimitReached, BudgetExhausted))
@principal_required(Role.OPERATOR, lets_keys_in=True)
def reschedule(principal: Principal, callback_id: UUID) -> Response:
    """Move a waiting callback to another time."""
    at, callback = read_body(ScheduleBody).scheduled_at, callback_queries.get_shown_callback(principal, callback_id)
    if principal.form_id is not None:
        changed = key_changes.move_with_key(principal.form_id, callback, at)
    else:
        changed = change.reschedule(principal.portal.id, callback.id, principal.user_id, at)
    return json_response(callback_schema(changed))


@blueprint.post("/<uuid:callback_id>/cancel")
@operation({200: CallbackSchema}, refuses=(TooLate,))
@principal_required(Role.OPERATOR, lets_keys_in=True)
def cancel(principal: Principal, callback_id: UUID) -> Response:
    """Withdraw a waiting callback; 409 once it is being dialled."""
    id = callback_queries.get_shown_callback(principal, callback_id).id
    return json_response(callback_schema(change.cancel(principal.portal.id, id, principal.user_id, _by(principal))))


@blueprint.post("/<uuid:callback_id>/resolve")
@operation({200: CallbackSchema}, body=OutcomeBody, refuses=(TooLate,))
@principal_required(Role.OPERATOR)
def resolve(principal: Principal, callback_id: UUID) -> Response:
    """Say what became of an unknown callback."""
    outcome, id = read_body(OutcomeBody).outcome, callback_queries.get_shown_callback(principal, callback_id).id
    return json_response(callback_schema(change.resolve(principal.portal.id, id, principal.user_id, outcome)))


@blueprint.post("/<uuid:callback_id>/retry")
@operation({201: CallbackSchema}, refuses=(TooLate, NumberInHand, InvalidRequest, *PORTAL_REFUSALS))
@principal_required(Role.OPERATOR)
def retry(principal: Principal, callback_id: UUID) -> Response:
    """Ask for the same once more: a new callback."""
    callback = change.retry(principal, callback_queries.get_shown_callback(principal, callback_id))
    return json_response(callback_schema(callback), 201, Location=f"/api/v1/callbacks/{callback.id}")

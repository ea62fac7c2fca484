"""``/api/v1/webhooks``: whom a form tells of its callbacks (docs/webhooks.md)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import InvalidRequest, NotFound
from bx24app.inputs import Flag, Text, TolerantModel
from bx24app.models import WebhookDelivery, utcnow
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.webhooks import subscriptions
from bx24app.services.webhooks.subscriptions import ListedWebhook, NewWebhook
from bx24app.web.addresses import FormKey
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_body, read_query

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

Url = Annotated[Text, Field(min_length=1, max_length=2000)]


class WebhookBody(TolerantModel):
    """What ``POST /webhooks`` takes."""

    form_key: FormKey
    url: Url


class ChangeBody(TolerantModel):
    """What ``PATCH /webhooks/<id>`` takes; a field left out stays as it is."""

    url: Url | None = None
    is_on: Flag | None = None


class WebhookQuery(BaseModel):
    """What ``GET /webhooks`` takes."""

    model_config = ConfigDict(extra="forbid")

    form_key: FormKey | None = None


class WebhookSchema(BaseModel):
    """A webhook, never with its secret; ``pending`` is how much it has not been told yet."""

    id: int
    form_key: str
    url: str
    is_on: bool
    off_reason: str | None
    created_by: int | None
    created_by_name: str | None
    # Who last changed its address or its secret.
    changed_by: int | None
    changed_by_name: str | None
    created_at: datetime
    last_ok_at: datetime | None
    failing_since: datetime | None
    former_secret_until: datetime | None
    pending: int


class NewSecret(WebhookSchema):
    """A webhook with its new secret, which is shown this once."""

    secret: str = Field(repr=False)


class WebhooksSchema(BaseModel):
    """The webhooks of a portal, oldest first."""

    webhooks: list[WebhookSchema]


DeliveryState = Literal["pending", "waiting", "delivered", "given_up"]


class DeliverySchema(BaseModel):
    """Something told to a webhook; a ping has no callback."""

    id: int
    event_id: UUID
    type: str
    callback_id: UUID | None
    callback_state: str | None
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_error: str | None
    made_at: datetime
    next_attempt_at: datetime | None
    done_at: datetime | None


class DeliveriesSchema(BaseModel):
    """Deliveries, the newest first."""

    deliveries: list[DeliverySchema]


NOT_STORED = {"form_key", "former_secret_until", "pending", "created_by_name", "changed_by_name"}


def _names(found: Iterable[ListedWebhook]) -> dict[int, str]:
    webhooks = [listed.webhook for listed in found]
    ids = [id for webhook in webhooks for id in (webhook.created_by, webhook.changed_by)]
    return people.names_of(webhooks[0].portal_id, ids) if webhooks else {}


def _schema(listed: ListedWebhook, names: dict[int, str] | None = None) -> WebhookSchema:
    webhook = listed.webhook
    names = _names([listed]) if names is None else names
    own = WebhookSchema.model_fields.keys() - NOT_STORED
    former = webhook.former_until if webhook.former_until and webhook.former_until > utcnow() else None
    return WebhookSchema(
        **{name: getattr(webhook, name) for name in own},
        form_key=listed.form_key,
        former_secret_until=former,
        pending=listed.pending,
        created_by_name=names.get(webhook.created_by or 0),
        changed_by_name=names.get(webhook.changed_by or 0),
    )


def _made(made: NewWebhook, status: int) -> Response:
    return json_response(NewSecret(**dict(_schema(made.listed)), secret=made.secret), status)


def _state(delivery: WebhookDelivery) -> DeliveryState:
    if delivery.done_at is None:
        return "waiting" if delivery.attempts else "pending"
    return "given_up" if delivery.last_error else "delivered"


def _told(delivery: WebhookDelivery) -> DeliverySchema:
    callback = delivery.payload.get("callback") or {}
    told = {
        "type": delivery.payload["type"],
        "callback_id": callback.get("id"),
        "callback_state": callback.get("state"),
        "state": _state(delivery),
        "next_attempt_at": None if delivery.done_at else delivery.due_at,
    }
    own = {name: getattr(delivery, name) for name in DeliverySchema.model_fields.keys() - told.keys()}
    return DeliverySchema.model_validate({**own, **told})


@blueprint.get("")
@operation({200: WebhooksSchema}, query=WebhookQuery)
@principal_required(Role.ADMINISTRATOR)
def show_all(principal: Principal) -> Response:
    """The portal's webhooks; ``form_key=`` shows those of one form."""
    found = subscriptions.list_webhooks(principal.portal.id, read_query(WebhookQuery).form_key)
    names = _names(found)
    return json_response(WebhooksSchema(webhooks=[_schema(listed, names) for listed in found]))


@blueprint.post("")
@operation({201: NewSecret}, body=WebhookBody, refuses=(InvalidRequest, NotFound))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def add(principal: Principal) -> Response:
    """Add one to a form: 201 with the secret, which is shown this once."""
    body = read_body(WebhookBody)
    return _made(subscriptions.add_webhook(principal.portal.id, body.form_key, body.url, principal.user_id), 201)


@blueprint.get("/<id:webhook_id>")
@operation({200: WebhookSchema})
@principal_required(Role.ADMINISTRATOR)
def show(principal: Principal, webhook_id: int) -> Response:
    """One webhook."""
    return json_response(_schema(subscriptions.get_webhook(principal.portal.id, webhook_id)))


@blueprint.patch("/<id:webhook_id>")
@operation({200: WebhookSchema}, body=ChangeBody, refuses=(InvalidRequest,))
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def change(principal: Principal, webhook_id: int) -> Response:
    """Change its address, or switch it on or off."""
    body = read_body(ChangeBody)
    portal_id, user_id = principal.portal.id, principal.user_id
    changed = subscriptions.change_webhook(portal_id, webhook_id, user_id, body.url, body.is_on)
    return json_response(_schema(changed))


@blueprint.delete("/<id:webhook_id>")
@operation({204: None})
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def remove(principal: Principal, webhook_id: int) -> tuple[str, int]:
    """Remove it."""
    subscriptions.remove_webhook(principal.portal.id, webhook_id, principal.user_id)
    return "", 204


@blueprint.post("/<id:webhook_id>/rotate")
@operation({200: NewSecret})
@principal_required(Role.ADMINISTRATOR, needs_proof=True)
def rotate(principal: Principal, webhook_id: int) -> Response:
    """Make a new secret, shown this once; the old one signs too for 24 hours."""
    return _made(subscriptions.rotate_secret(principal.portal.id, webhook_id, principal.user_id), 200)


@blueprint.post("/<id:webhook_id>/test")
@operation({202: DeliverySchema}, refuses=(InvalidRequest,))
@principal_required(Role.ADMINISTRATOR)
def test(principal: Principal, webhook_id: int) -> Response:
    """Send a ping: 202, and its fate among the deliveries a moment later."""
    return json_response(_told(subscriptions.send_test(principal.portal.id, webhook_id)), 202)


@blueprint.get("/<id:webhook_id>/deliveries")
@operation({200: DeliveriesSchema})
@principal_required(Role.ADMINISTRATOR)
def deliveries(principal: Principal, webhook_id: int) -> Response:
    """The last 50, the newest first."""
    found = subscriptions.list_deliveries(principal.portal.id, webhook_id)
    return json_response(DeliveriesSchema(deliveries=[_told(delivery) for delivery in found]))


@blueprint.post("/deliveries/<id:delivery_id>/redeliver")
@operation({202: DeliverySchema})
@principal_required(Role.ADMINISTRATOR)
def redeliver(principal: Principal, delivery_id: int) -> Response:
    """Tell the same once more: 202."""
    return json_response(_told(subscriptions.redeliver(principal.portal.id, delivery_id)), 202)

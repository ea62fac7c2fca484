"""``/api/v1/webhooks``: whom a form tells of its callbacks (docs/webhooks.md)."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.errors import InvalidRequest, NotFound
from bx24app.models import WebhookDelivery, utcnow
from bx24app.services import webhooks
from bx24app.services.tickets import Ticket
from bx24app.services.webhooks import Listed, Made
from bx24app.web.addresses import FormKey
from bx24app.web.callbacks import Text
from bx24app.web.guards import administrator_required, read_body, read_query
from bx24app.web.openapi import operation
from bx24app.web.shapes import answer

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

Url = Annotated[Text, Field(min_length=1, max_length=2000)]


class WebhookBody(BaseModel):
    """What ``POST /webhooks`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form_key: FormKey
    url: Url


class ChangeBody(BaseModel):
    """What ``PATCH /webhooks/<id>`` takes; a field left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url | None = None
    is_on: bool | None = None


class Query(BaseModel):
    """What ``GET /webhooks`` takes."""

    model_config = ConfigDict(extra="forbid")

    form_key: FormKey | None = None


class WebhookShape(BaseModel):
    """A webhook, never with its secret; ``pending`` is how much it has not been told yet."""

    id: int
    form_key: str
    url: str
    is_on: bool
    off_reason: str | None
    created_at: datetime
    last_ok_at: datetime | None
    failing_since: datetime | None
    former_secret_until: datetime | None
    pending: int


class NewSecret(WebhookShape):
    """A webhook with its new secret, which is shown this once."""

    secret: str = Field(repr=False)


class WebhooksShape(BaseModel):
    """The webhooks of a portal, oldest first."""

    webhooks: list[WebhookShape]


DeliveryState = Literal["pending", "waiting", "delivered", "given_up"]


class DeliveryShape(BaseModel):
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


class DeliveriesShape(BaseModel):
    """Deliveries, the newest first."""

    deliveries: list[DeliveryShape]


def _shape(listed: Listed) -> WebhookShape:
    webhook = listed.webhook
    own = WebhookShape.model_fields.keys() - {"form_key", "former_secret_until", "pending"}
    former = webhook.former_until if webhook.former_until and webhook.former_until > utcnow() else None
    return WebhookShape(
        **{name: getattr(webhook, name) for name in own},
        form_key=listed.form_key,
        former_secret_until=former,
        pending=listed.pending,
    )


def _made(made: Made, status: int) -> Response:
    return answer(NewSecret(**dict(_shape(made.listed)), secret=made.secret), status)


def _state(delivery: WebhookDelivery) -> DeliveryState:
    if delivery.done_at is None:
        return "waiting" if delivery.attempts else "pending"
    return "given_up" if delivery.last_error else "delivered"


def _told(delivery: WebhookDelivery) -> DeliveryShape:
    callback = delivery.payload.get("callback") or {}
    told = {
        "type": delivery.payload["type"],
        "callback_id": callback.get("id"),
        "callback_state": callback.get("state"),
        "state": _state(delivery),
        "next_attempt_at": None if delivery.done_at else delivery.due_at,
    }
    own = {name: getattr(delivery, name) for name in DeliveryShape.model_fields.keys() - told.keys()}
    return DeliveryShape.model_validate({**own, **told})


@blueprint.get("")
@operation({200: WebhooksShape}, query=Query)
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """The portal's webhooks; ``form_key=`` shows those of one form."""
    found = webhooks.list_webhooks(ticket.portal_id, read_query(Query).form_key)
    return answer(WebhooksShape(webhooks=[_shape(listed) for listed in found]))


@blueprint.post("")
@operation({201: NewSecret}, body=WebhookBody, refuses=(InvalidRequest, NotFound))
@administrator_required
def add(ticket: Ticket) -> Response:
    """Add one to a form: 201 with the secret, which is shown this once."""
    body = read_body(WebhookBody)
    return _made(webhooks.add(ticket.portal_id, body.form_key, body.url), 201)


@blueprint.get("/<id:webhook_id>")
@operation({200: WebhookShape})
@administrator_required
def show(ticket: Ticket, webhook_id: int) -> Response:
    """One webhook."""
    return answer(_shape(webhooks.get(ticket.portal_id, webhook_id)))


@blueprint.patch("/<id:webhook_id>")
@operation({200: WebhookShape}, body=ChangeBody, refuses=(InvalidRequest,))
@administrator_required
def change(ticket: Ticket, webhook_id: int) -> Response:
    """Change its address, or switch it on or off."""
    body = read_body(ChangeBody)
    return answer(_shape(webhooks.change(ticket.portal_id, webhook_id, body.url, body.is_on)))


@blueprint.delete("/<id:webhook_id>")
@operation({204: None})
@administrator_required
def remove(ticket: Ticket, webhook_id: int) -> tuple[str, int]:
    """Remove it."""
    webhooks.remove(ticket.portal_id, webhook_id)
    return "", 204


@blueprint.post("/<id:webhook_id>/rotate")
@operation({200: NewSecret})
@administrator_required
def rotate(ticket: Ticket, webhook_id: int) -> Response:
    """Make a new secret, shown this once; the old one signs too for 24 hours."""
    return _made(webhooks.rotate(ticket.portal_id, webhook_id), 200)


@blueprint.post("/<id:webhook_id>/test")
@operation({202: DeliveryShape}, refuses=(InvalidRequest,))
@administrator_required
def test(ticket: Ticket, webhook_id: int) -> Response:
    """Send a ping: 202, and its fate among the deliveries a moment later."""
    return answer(_told(webhooks.test(ticket.portal_id, webhook_id)), 202)


@blueprint.get("/<id:webhook_id>/deliveries")
@operation({200: DeliveriesShape})
@administrator_required
def deliveries(ticket: Ticket, webhook_id: int) -> Response:
    """The last 50, the newest first."""
    found = webhooks.list_deliveries(ticket.portal_id, webhook_id)
    return answer(DeliveriesShape(deliveries=[_told(delivery) for delivery in found]))


@blueprint.post("/deliveries/<id:delivery_id>/redeliver")
@operation({202: DeliveryShape})
@administrator_required
def redeliver(ticket: Ticket, delivery_id: int) -> Response:
    """Tell the same once more: 202."""
    return answer(_told(webhooks.redeliver(ticket.portal_id, delivery_id)), 202)

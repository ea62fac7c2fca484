"""``/api/v1/webhooks``: whom a form tells of its callbacks (docs/webhooks.md)."""

from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from bx24app.models import WebhookDelivery, utcnow
from bx24app.services import webhooks
from bx24app.services.tickets import Ticket
from bx24app.services.webhooks import Listed, Made
from bx24app.web.callbacks import Text
from bx24app.web.guards import administrator_required, read_body

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")

# Ids are 32 bits wide in the database.
ID = "int(max=2147483647)"
Url = Annotated[Text, Field(min_length=1, max_length=2000)]


class WebhookBody(BaseModel):
    """What ``POST /webhooks`` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    form_key: Annotated[Text, Field(min_length=1, max_length=32)]
    url: Url


class ChangeBody(BaseModel):
    """What ``PATCH /webhooks/<id>`` takes; a field left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url | None = None
    is_on: bool | None = None


def _moment(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def webhook_json(listed: Listed) -> dict[str, Any]:
    """A webhook as the API shows it: never with its secret."""
    webhook = listed.webhook
    former = webhook.former_until if webhook.former_until and webhook.former_until > utcnow() else None
    return {
        "id": webhook.id,
        "form_key": listed.form_key,
        "url": webhook.url,
        "is_on": webhook.is_on,
        "off_reason": webhook.off_reason,
        "created_at": _moment(webhook.created_at),
        "last_ok_at": _moment(webhook.last_ok_at),
        "failing_since": _moment(webhook.failing_since),
        "former_secret_until": _moment(former),
        "pending": listed.pending,
    }


def _made(made: Made, status: int) -> Response:
    response = jsonify({**webhook_json(made.listed), "secret": made.secret})
    response.status_code = status
    return response


def _state(delivery: WebhookDelivery) -> str:
    if delivery.done_at is None:
        return "waiting" if delivery.attempts else "pending"
    return "given_up" if delivery.last_error else "delivered"


def delivery_json(delivery: WebhookDelivery) -> dict[str, Any]:
    """A delivery as the API shows it; ``state`` is ``pending``, ``waiting``, ``delivered`` or ``given_up``."""
    callback = delivery.payload.get("callback") or {}
    return {
        "id": delivery.id,
        "event_id": str(delivery.event_id),
        "type": delivery.payload["type"],
        "callback_id": callback.get("id"),
        "callback_state": callback.get("state"),
        "state": _state(delivery),
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "made_at": _moment(delivery.made_at),
        "next_attempt_at": None if delivery.done_at else _moment(delivery.due_at),
        "done_at": _moment(delivery.done_at),
    }


@blueprint.get("")
@administrator_required
def show_all(ticket: Ticket) -> Response:
    """The portal's webhooks; ``form_key=`` shows those of one form."""
    found = webhooks.list_webhooks(ticket.portal_id, request.args.get("form_key"))
    return jsonify({"webhooks": [webhook_json(listed) for listed in found]})


@blueprint.post("")
@administrator_required
def add(ticket: Ticket) -> Response:
    """Add one to a form: 201 with the secret, which is shown this once."""
    body = read_body(WebhookBody)
    return _made(webhooks.add(ticket.portal_id, body.form_key, body.url), 201)


@blueprint.get(f"/<{ID}:webhook_id>")
@administrator_required
def show(ticket: Ticket, webhook_id: int) -> Response:
    """One webhook."""
    return jsonify(webhook_json(webhooks.get(ticket.portal_id, webhook_id)))


@blueprint.patch(f"/<{ID}:webhook_id>")
@administrator_required
def change(ticket: Ticket, webhook_id: int) -> Response:
    """Change its address, or switch it on or off."""
    body = read_body(ChangeBody)
    return jsonify(webhook_json(webhooks.change(ticket.portal_id, webhook_id, body.url, body.is_on)))


@blueprint.delete(f"/<{ID}:webhook_id>")
@administrator_required
def remove(ticket: Ticket, webhook_id: int) -> tuple[str, int]:
    """Remove it."""
    webhooks.remove(ticket.portal_id, webhook_id)
    return "", 204


@blueprint.post(f"/<{ID}:webhook_id>/rotate")
@administrator_required
def rotate(ticket: Ticket, webhook_id: int) -> Response:
    """Make a new secret, shown this once; the old one signs too for 24 hours."""
    return _made(webhooks.rotate(ticket.portal_id, webhook_id), 200)


@blueprint.post(f"/<{ID}:webhook_id>/test")
@administrator_required
def test(ticket: Ticket, webhook_id: int) -> tuple[Response, int]:
    """Send a ping: 202, and its fate among the deliveries a moment later."""
    return jsonify(delivery_json(webhooks.test(ticket.portal_id, webhook_id))), 202


@blueprint.get(f"/<{ID}:webhook_id>/deliveries")
@administrator_required
def deliveries(ticket: Ticket, webhook_id: int) -> Response:
    """The last 50, the newest first."""
    found = webhooks.list_deliveries(ticket.portal_id, webhook_id)
    return jsonify({"deliveries": [delivery_json(delivery) for delivery in found]})


@blueprint.post(f"/deliveries/<{ID}:delivery_id>/redeliver")
@administrator_required
def redeliver(ticket: Ticket, delivery_id: int) -> tuple[Response, int]:
    """Tell the same once more: 202."""
    return jsonify(delivery_json(webhooks.redeliver(ticket.portal_id, delivery_id))), 202

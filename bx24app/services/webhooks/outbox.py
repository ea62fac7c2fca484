"""Noting for webhooks that a form's callback has changed its state, in the transaction that changes it.

A listener on every flush, so that no use case can forget it. The rows stand or fall with the change: a change that
was not committed is told to nobody, a committed one is never lost. Nothing but the database itself can keep them from
being written (they are made of values that are stored anyway, and the webhook's row is held meanwhile), and then the
change could not be written either; sending is the business of ``deliveries``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, event, insert, inspect, select
from sqlalchemy.orm import Session, UOWTransaction
from uuid6 import uuid7

from bx24app.models import Callback, Form, Webhook, WebhookDelivery, utcnow
from bx24app.models.webhook import DELIVERED_WITHIN

STATE_CHANGED = "callback.state_changed"
PING = "ping"
# Held, but not kept from being used: a webhook that is removed at this moment takes these rows with it.
_WEBHOOKS = (
    select(Webhook.id, Webhook.form_id, Form.key)
    .join(Form, Form.id == Webhook.form_id)
    .where(Webhook.form_id.in_(bindparam("form_ids", expanding=True)), Webhook.is_on)
    .with_for_update(of=Webhook, read=True, key_share=True)
)


def _note_changes(session: Session, _: UOWTransaction) -> None:
    rows = (row for row in (*session.new, *session.dirty) if isinstance(row, Callback) and row.form_id is not None)
    record_changes(session, [row for row in rows if inspect(row).attrs.state.history.added])


def record_changes(session: Session, changed: Sequence[Callback]) -> None:
    """Note that these callbacks are in a new state, those of forms at least; for rows that no flush has seen."""
    form_ids = {callback.form_id for callback in changed if callback.form_id is not None}
    if not form_ids:
        return
    rows = [
        new_delivery(webhook_id, _state_changed(callback, form_key), callback.id)
        for webhook_id, form_id, form_key in session.execute(_WEBHOOKS, {"form_ids": list(form_ids)})
        for callback in changed
        if callback.form_id == form_id
    ]
    if rows:
        session.execute(insert(WebhookDelivery), rows)


def new_delivery(webhook_id: int, told: dict[str, Any], callback_id: UUID | None = None) -> dict[str, Any]:
    """The columns of a delivery of ``told``, due now; ``told`` gets its ``event_id`` and time here."""
    now, event_id = utcnow(), uuid7()
    return {
        "webhook_id": webhook_id,
        "callback_id": callback_id,
        "event_id": event_id,
        "payload": {"event_id": str(event_id), "made_at": _time(now), **told},
        "made_at": now,
        "due_at": now,
        "expires_at": now + DELIVERED_WITHIN,
        "attempts": 0,
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def _state_changed(callback: Callback, form_key: str) -> dict[str, Any]:
    """What is told: neither the number (it is read when this is sent) nor anybody's name."""
    previous = inspect(callback).attrs.state.history.deleted
    return {
        "type": STATE_CHANGED,
        "callback": {
            "id": str(callback.id),
            "state": str(callback.state),
            "previous_state": str(previous[0]) if previous and previous[0] else None,
            "reason": callback.reason,
            "form_key": form_key,
            "source": str(callback.source),
            "scheduled_at": _time(callback.scheduled_at),
            "created_at": _time(callback.created_at),
            "ended_at": _time(callback.ended_at),
            "retry_of": str(callback.retry_of) if callback.retry_of else None,
        },
    }


def init_app() -> None:
    """Listen to the sessions of this process, once."""
    if not event.contains(Session, "after_flush", _note_changes):
        event.listen(Session, "after_flush", _note_changes)

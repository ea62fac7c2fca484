"""The outbox: it records for webhooks that a form's callback has changed its state, in the same transaction.

A listener runs on every flush, so that no use case can forget it. The rows are committed together with the change:
a change that is rolled back is never sent, a committed one is never lost. Writing them cannot fail where writing the
change succeeds, because they hold only values that are stored anyway and the webhook's row is locked meanwhile.
``delivery`` and ``sender`` send them later.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Insert, bindparam, event, func, insert, inspect, literal_column, select
from sqlalchemy.orm import Session, UOWTransaction

from bx24app.database import is_postgresql
from bx24app.models import Callback, Form, Webhook, WebhookDelivery, utcnow
from bx24app.models.ids import new_id
from bx24app.models.websites.webhook import DELIVERED_WITHIN
from bx24app.services.webhooks.order import waits_of

STATE_CHANGED = "callback.state_changed"
PING = "ping"
# This lock only keeps the webhook from being removed: its removal waits, and then deletes these rows too.
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
    """Record that these callbacks are in a new state; for changes that the flush listener does not see.

    Callbacks without a form are ignored. Runs in the caller's transaction.
    """
    form_ids = {callback.form_id for callback in changed if callback.form_id is not None}
    if not form_ids:
        return
    rows = [
        new_delivery(webhook_id, _state_changed(callback, form_key, _former_state(callback)), callback.id)
        for webhook_id, form_id, form_key in session.execute(_WEBHOOKS, {"form_ids": list(form_ids)})
        for callback in changed
        if callback.form_id == form_id
    ]
    if rows:
        waits = waits_of(session, {row["callback_id"] for row in rows})
        for row in rows:
            row["due_at"] = max(row["due_at"], waits.get((row["webhook_id"], row["callback_id"]), row["due_at"]))
        session.execute(insert(WebhookDelivery), rows)


def new_delivery(webhook_id: int, content: dict[str, Any], callback_id: UUID | None = None) -> dict[str, Any]:
    """Make the columns of a delivery of ``content`` that is due now."""
    now = utcnow()
    return {
        "webhook_id": webhook_id,
        "callback_id": callback_id,
        "event_id": new_id(),
        "payload": {"made_at": _time(now), **content},
        "made_at": now,
        "due_at": now,
        "expires_at": now + DELIVERED_WITHIN,
        "attempts": 0,
    }


def delivery_values(callback: Callback, form_key: str) -> dict[str, Any]:
    """Make the parameters of ``inserting_deliveries`` that are not columns of the callback."""
    now = callback.created_at
    return {
        "delivery_payload": {"made_at": _time(now), **_state_changed(callback, form_key, None)},
        "delivery_expires_at": now + DELIVERED_WITHIN,
    }


def inserting_deliveries(after: CTE | None = None) -> Insert:
    """Make an insert of one delivery of a new callback for each webhook of its form.

    With ``after`` it inserts only where that statement has inserted a row. When a webhook is removed at the same
    moment, the statement fails by its foreign key.
    """
    made_at = bindparam("c_created_at", type_=WebhookDelivery.made_at.type)
    columns = {
        "webhook_id": Webhook.id,
        "callback_id": bindparam("c_id", type_=WebhookDelivery.callback_id.type),
        "event_id": func.gen_random_uuid() if is_postgresql() else func.lower(func.hex(func.randomblob(16))),
        "payload": bindparam("delivery_payload", type_=WebhookDelivery.payload.type),
        "made_at": made_at,
        "due_at": made_at,
        "expires_at": bindparam("delivery_expires_at", type_=WebhookDelivery.expires_at.type),
        "attempts": literal_column("0"),
    }
    rows = select(*columns.values()).where(Webhook.form_id == bindparam("c_form_id"), Webhook.is_on)
    return insert(WebhookDelivery).from_select(list(columns), rows if after is None else rows.where(_has_rows(after)))


def _has_rows(cte: CTE) -> ColumnElement[bool]:
    return select(literal_column("1")).select_from(cte).exists()


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def _former_state(callback: Callback) -> str | None:
    former = inspect(callback).attrs.state.history.deleted
    return str(former[0]) if former and former[0] else None


def _state_changed(callback: Callback, form_key: str, former: str | None) -> dict[str, Any]:
    """Make the content of a delivery, without names and without the number, which is read when it is sent."""
    return {
        "type": STATE_CHANGED,
        "callback": {
            "id": str(callback.id),
            "state": str(callback.state),
            "previous_state": former,
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
    """Listen to the sessions of this process; idempotent."""
    if not event.contains(Session, "after_flush", _note_changes):
        event.listen(Session, "after_flush", _note_changes)

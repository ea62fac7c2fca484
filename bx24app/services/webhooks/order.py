"""The order of what one webhook is told of a callback: nothing is due before what was to be told before it.

Else whoever looks for the next delivery would look through all that wait for another one, however many they are.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, false, func, select, update
from sqlalchemy.orm import Session

from bx24app.models import WebhookDelivery

_IS_PENDING = WebhookDelivery.done_at.is_(None)


def waits_of(session: Session, callback_ids: Collection[UUID]) -> dict[tuple[int, UUID], datetime]:
    """Return until when something waits to be told of some callbacks, by webhook and callback."""
    key = (WebhookDelivery.webhook_id, WebhookDelivery.callback_id)
    of_them = select(*key, func.max(WebhookDelivery.due_at)).where(key[1].in_(callback_ids), _IS_PENDING)
    return {(webhook_id, id): due_at for webhook_id, id, due_at in session.execute(of_them.group_by(*key)) if id}


def wait_of(session: Session, delivery: WebhookDelivery) -> datetime | None:
    """Return until when something waits that is to be told before a delivery; None: nothing does."""
    before = (*_same(delivery), WebhookDelivery.id < delivery.id)
    return session.scalar(select(func.max(WebhookDelivery.due_at)).where(*before))


def move_later(session: Session, delivery: WebhookDelivery) -> None:
    """Let what is to be told after a delivery be due with it."""
    later = (*_same(delivery), WebhookDelivery.id > delivery.id)
    session.execute(update(WebhookDelivery).where(*later).values(due_at=delivery.due_at))


def _same(delivery: WebhookDelivery) -> tuple[ColumnElement[bool], ...]:
    """What waits to be told the same webhook of the same callback; a test is of none."""
    of_callback = WebhookDelivery.callback_id == delivery.callback_id if delivery.callback_id else false()
    return of_callback, WebhookDelivery.webhook_id == delivery.webhook_id, _IS_PENDING

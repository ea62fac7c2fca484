"""Delivering what webhooks are to be told: signed, in order, repeated for a day, never to a private address.

A delivery that was sent but whose answer was lost is sent again under the same ``event_id``. A webhook has one delivery
on its way at a time, and a site that fails waits, so that a slow or dead site keeps no thread from others.
"""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from bx24app.crypto import SealError, keyring
from bx24app.database import change_many, purge, reading, writing
from bx24app.log import name_portal
from bx24app.models import Callback, Portal, Webhook, WebhookDelivery, utcnow
from bx24app.services.webhooks.sender import DeliveryResult, SignedRequest, send_once

log = structlog.get_logger(__name__)

PER_PORTAL = 4
# After so many in a row the thread is free for others.
DELIVERIES_PER_ROUND = 10
# Longer than a name server, connecting and answering together may take.
DELIVERY_LEASE = timedelta(seconds=60)
DELIVERY_BACKOFF_SECONDS = (10, 30, 120, 300, 900, 1800, 3600, 7200)
# A site that fails is left alone a little, whichever delivery is next.
WEBHOOK_PAUSE_SECONDS = (5, 15, 60, 300)
DELIVERIES_KEPT = timedelta(days=14)
GONE = 410


@dataclass(frozen=True)
class DeliveryLease:
    """A delivery that this thread alone may make, while the lease on its webhook stands."""

    webhook_id: int
    delivery_id: int
    lease_fence: int


def _due(now: datetime, webhook_id: int | None) -> Select[Webhook, int]:
    """The next delivery: the oldest due one whose callback has no earlier one pending, of an idle webhook."""
    earlier, other = aliased(WebhookDelivery), aliased(Webhook)
    out_of_order = (
        select(earlier.id)
        .where(earlier.webhook_id == WebhookDelivery.webhook_id, earlier.callback_id == WebhookDelivery.callback_id)
        .where(earlier.done_at.is_(None), earlier.id < WebhookDelivery.id)
        .exists()
    )
    under_way = (
        select(func.count())
        .select_from(other)
        .where(other.portal_id == Webhook.portal_id, other.leased_until >= now)
        .scalar_subquery()
    )
    return (
        select(Webhook, WebhookDelivery.id)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(WebhookDelivery.done_at.is_(None), WebhookDelivery.due_at <= now)
        .where(Webhook.is_on, or_(Webhook.waits_until.is_(None), Webhook.waits_until <= now))
        .where(or_(Webhook.leased_until.is_(None), Webhook.leased_until < now))
        .where(~out_of_order, under_way < PER_PORTAL)
        .where(Webhook.id == webhook_id if webhook_id is not None else and_(True))
        .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
        .limit(1)
    )


def lease_delivery(webhook_id: int | None = None) -> DeliveryLease | None:
    """Take the next due delivery (of one webhook), or None. Commits; the claim ends with its lease."""
    with reading() as session:
        if session.execute(_due(utcnow(), webhook_id)).first() is None:
            return None
    with writing() as session:
        now = utcnow()
        query = _due(now, webhook_id).with_for_update(of=Webhook, skip_locked=True, key_share=True)
        found = session.execute(query).first()
        if found is None:
            return None
        webhook, delivery_id = found
        return DeliveryLease(webhook.id, delivery_id, webhook.lease(now, DELIVERY_LEASE))


def deliver(claim: DeliveryLease) -> DeliveryResult:
    """Deliver a claimed one and record what came of it."""
    letter = _write(claim)
    receipt = DeliveryResult(None, "secret_unreadable") if letter is None else send_once(letter)
    _record(claim, receipt)
    log.info("webhook_told", webhook=claim.webhook_id, status=receipt.status, ok=receipt.error is None)
    return receipt


def _write(claim: DeliveryLease) -> SignedRequest | None:
    """Put the letter together; None when its secret does not open."""
    with reading() as session:
        webhook = session.get_one(Webhook, claim.webhook_id)
        delivery = session.get_one(WebhookDelivery, claim.delivery_id)
        member_id = session.get_one(Portal, webhook.portal_id).member_id
        callback = session.get(Callback, delivery.callback_id) if delivery.callback_id else None
    name_portal(member_id)
    payload = {"event_id": str(delivery.event_id), **delivery.payload}
    if callback is not None:
        payload["callback"] = {**payload["callback"], "to_number": callback.to_number or None}
    try:
        secrets = webhook.secrets(keyring, member_id, utcnow())
    except SealError:
        log.warning("webhook_secret_unreadable", webhook=webhook.id)
        return None
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return SignedRequest(webhook.url, delivery.event_id, body, tuple(secrets))


def _record(claim: DeliveryLease, receipt: DeliveryResult) -> None:
    with writing() as session:
        webhook = _leased_webhook(session, claim)
        delivery = session.get(WebhookDelivery, claim.delivery_id)
        if webhook is None or delivery is None:
            return  # Removed meanwhile, or another worker has taken over: it tells the same again.
        now = utcnow()
        webhook.release()
        delivery.attempts += 1
        if receipt.error is None:
            webhook.last_ok_at = now
            webhook.note_success()
            delivery.end(now, receipt.status, None)
        elif receipt.status == GONE:
            webhook.switch(is_on=False, reason="gone")
            delivery.end(now, receipt.status, receipt.error)
        else:
            webhook.note_failure(now, now + _jittered(WEBHOOK_PAUSE_SECONDS, webhook.failures))
            _put_off(delivery, now, receipt)


def _leased_webhook(session: Session, claim: DeliveryLease) -> Webhook | None:
    """The webhook, locked, if the lease still stands."""
    webhook = session.get(Webhook, claim.webhook_id, with_for_update={"key_share": True})
    return webhook if webhook is not None and webhook.holds(claim.lease_fence) else None


def _put_off(delivery: WebhookDelivery, now: datetime, receipt: DeliveryResult) -> None:
    delivery.last_status, delivery.last_error = receipt.status, receipt.error
    delivery.due_at = now + _jittered(DELIVERY_BACKOFF_SECONDS, delivery.attempts - 1)
    if delivery.due_at >= delivery.expires_at:
        delivery.end(now, receipt.status, receipt.error)


def _jittered(steps: tuple[int, ...], number: int) -> timedelta:
    return timedelta(seconds=steps[min(number, len(steps) - 1)] * random.uniform(0.8, 1.2))  # noqa: S311  No secret.


def deliver_round(claimed: DeliveryLease | None) -> None:
    """Deliver, then what else this webhook is to be told, but not for ever: others wait too."""
    for _ in range(DELIVERIES_PER_ROUND):
        if claimed is None or deliver(claimed).error is not None:
            return
        claimed = lease_delivery(claimed.webhook_id)
    _release(claimed)


def _release(claimed: DeliveryLease | None) -> None:
    """Give a claim back that was not followed."""
    if claimed is not None:
        with writing() as session:
            webhook = _leased_webhook(session, claimed)
            if webhook is not None:
                webhook.release()


def purge_deliveries() -> int:
    """Give up what could not be delivered in time, and forget what was told two weeks ago; returns how many."""
    now = utcnow()
    is_late = WebhookDelivery.done_at.is_(None) & (WebhookDelivery.expires_at < now)
    given_up = {"done_at": now, "last_error": func.coalesce(WebhookDelivery.last_error, "not_sent")}
    late = change_many(WebhookDelivery, is_late, given_up)
    return late + purge(WebhookDelivery, WebhookDelivery.done_at < now - DELIVERIES_KEPT, oldest_first=True)

"""Make the deliveries of the outbox: signed, in order, repeated for a day, never to a private address.

A delivery whose answer was lost is sent again under the same ``event_id``. A webhook has only one delivery under way
at a time, and a webhook that failed waits before its next one, so that a slow or dead site does not block the threads.
"""

import json
import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ScalarSelect, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from bx24app import metrics
from bx24app.crypto import SealError, keyring
from bx24app.database import change_many, purge, reading, writing
from bx24app.log import name_portal
from bx24app.models import Callback, Portal, PortalState, Webhook, WebhookDelivery, utcnow
from bx24app.models.lease import is_lasting, is_over
from bx24app.outgoing.retry_after import LONGEST_WAIT
from bx24app.services.runtime import slow_portals
from bx24app.services.webhooks.order import move_later
from bx24app.services.webhooks.sender import DeliveryResult, SignedRequest, send_once

log = structlog.get_logger(__name__)

PER_PORTAL = 4
# After so many deliveries of one webhook in a row the thread serves other webhooks.
DELIVERIES_PER_ROUND = 10
# The lease must outlast the name server, the connection and the answer together.
DELIVERY_LEASE = timedelta(seconds=60)
DELIVERY_BACKOFF_SECONDS = (10, 30, 120, 300, 900, 1800, 3600, 7200)
# After a failure the whole webhook pauses for this time, whichever delivery is next; or for as long as its site asks.
WEBHOOK_PAUSE_SECONDS = (5, 15, 60, 300)
DELIVERIES_KEPT = timedelta(days=14)
GONE = 410


@dataclass(frozen=True)
class DeliveryLease:
    """The right of this thread to make one delivery, while it holds the lease of the webhook."""

    webhook_id: int
    delivery_id: int
    portal_id: int
    lease_fence: int


def due_deliveries(now: datetime, webhook_id: int | None = None, besides: Collection[int] = ()) -> Select[Webhook, int]:
    """Select the next delivery: of the idle webhooks, the one whose next is due for the longest time.

    Each webhook is asked for its next, so that what one that waits has kept costs the others nothing.
    """
    other = aliased(Webhook)
    under_way = (
        select(func.count())
        .select_from(other)
        .where(other.portal_id == Webhook.portal_id, is_lasting(other.leased_until, now, DELIVERY_LEASE))
        .scalar_subquery()
    )
    return (
        select(Webhook, WebhookDelivery.id)
        .join(Portal, Portal.id == Webhook.portal_id)
        .join(WebhookDelivery, WebhookDelivery.id == _next_of_webhook(now))
        .where(Portal.state != PortalState.UNINSTALLED)
        .where(Webhook.is_on, is_over(Webhook.waits_until, now, LONGEST_WAIT))
        .where(is_over(Webhook.leased_until, now, DELIVERY_LEASE))
        .where(under_way < PER_PORTAL, Webhook.portal_id.not_in(besides))
        .where(Webhook.id == webhook_id if webhook_id is not None else and_(True))
        .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
        .limit(1)
    )


def _next_of_webhook(now: datetime) -> ScalarSelect[int]:
    """The oldest due delivery of a webhook whose callback has no earlier one pending."""
    one, earlier = aliased(WebhookDelivery), aliased(WebhookDelivery)
    out_of_order = (
        select(earlier.id)
        .where(earlier.callback_id == one.callback_id, earlier.webhook_id == one.webhook_id)
        .where(earlier.done_at.is_(None), earlier.id < one.id)
        .exists()
    )
    return (
        select(one.id)
        .where(one.webhook_id == Webhook.id, one.done_at.is_(None), one.due_at <= now, ~out_of_order)
        .order_by(one.due_at, one.id)
        .limit(1)
        .correlate(Webhook)
        .scalar_subquery()
    )


def lease_delivery(besides: Collection[int] = (), webhook_id: int | None = None) -> DeliveryLease | None:
    """Lease the next due delivery; None when nothing is due. Commits.

    ``besides`` are portals that get none now; with ``webhook_id`` only that of this webhook.
    """
    with reading() as session:
        if session.execute(due_deliveries(utcnow(), webhook_id, besides)).first() is None:
            return None
    with writing() as session:
        now = utcnow()
        query = due_deliveries(now, webhook_id, besides).with_for_update(of=Webhook, skip_locked=True, key_share=True)
        row = session.execute(query).first()
        if row is None:
            return None
        webhook, delivery_id = row
        return DeliveryLease(webhook.id, delivery_id, webhook.portal_id, webhook.lease(now, DELIVERY_LEASE))


def deliver(lease: DeliveryLease) -> DeliveryResult:
    """Make a leased delivery and record its result; commits."""
    request = _signed_request(lease)
    result = DeliveryResult(None, "secret_unreadable") if request is None else send_once(request)
    _record(lease, result)
    metrics.count_delivery(result.status, is_taken=result.error is None)
    log.info("webhook_delivery", webhook=lease.webhook_id, status=result.status, ok=result.error is None)
    return result


def _signed_request(lease: DeliveryLease) -> SignedRequest | None:
    """Read what is sent and the secrets that sign it; None when a secret cannot be opened."""
    with reading() as session:
        webhook = session.get_one(Webhook, lease.webhook_id)
        delivery = session.get_one(WebhookDelivery, lease.delivery_id)
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


def _record(lease: DeliveryLease, result: DeliveryResult) -> None:
    with writing() as session:
        webhook = _leased_webhook(session, lease)
        delivery = session.get(WebhookDelivery, lease.delivery_id)
        if webhook is None or delivery is None:
            return  # The webhook was removed, or another worker has the lease and makes the delivery again.
        now = utcnow()
        webhook.release()
        delivery.attempts += 1
        if result.error is None:
            webhook.last_ok_at = now
            webhook.note_success()
            delivery.end(now, result.status, None)
        elif result.status == GONE:
            webhook.switch(is_on=False, reason="gone")
            delivery.end(now, result.status, result.error)
        else:
            pause = max(_jittered(WEBHOOK_PAUSE_SECONDS, webhook.failures), result.wait)
            webhook.note_failure(now, now + pause)
            _postpone(session, delivery, now, result)


def _leased_webhook(session: Session, lease: DeliveryLease) -> Webhook | None:
    """Lock and return the webhook; None when the lease is not held any more."""
    webhook = session.get(Webhook, lease.webhook_id, with_for_update={"key_share": True})
    return webhook if webhook is not None and webhook.holds(lease.lease_fence) else None


def _postpone(session: Session, delivery: WebhookDelivery, now: datetime, result: DeliveryResult) -> None:
    delivery.last_status, delivery.last_error = result.status, result.error
    delivery.due_at = now + _jittered(DELIVERY_BACKOFF_SECONDS, delivery.attempts - 1)
    if delivery.due_at >= delivery.expires_at:
        delivery.end(now, result.status, result.error)
    # What a site asks for gives nothing up: it may let a delivery wait until its time is over.
    delivery.due_at = max(delivery.due_at, now + result.wait)
    if delivery.done_at is None:
        move_later(session, delivery)


def _jittered(steps: tuple[int, ...], number: int) -> timedelta:
    return timedelta(seconds=steps[min(number, len(steps) - 1)] * random.uniform(0.8, 1.2))  # noqa: S311  No secret.


def deliver_round(lease: DeliveryLease | None) -> None:
    """Make a delivery, then the next ones of the same webhook, a few and for a second; stops at a failure."""
    began = time.monotonic()
    for _ in range(DELIVERIES_PER_ROUND):
        if lease is None or deliver(lease).error is not None or time.monotonic() - began > slow_portals.ROUND_SECONDS:
            return
        lease = lease_delivery(webhook_id=lease.webhook_id)
    _release(lease)


def _release(lease: DeliveryLease | None) -> None:
    """Give back a lease whose delivery was not made."""
    if lease is not None:
        with writing() as session:
            webhook = _leased_webhook(session, lease)
            if webhook is not None:
                webhook.release()


def purge_deliveries() -> int:
    """End the deliveries that expired, and delete those that ended two weeks ago; returns how many of both."""
    now = utcnow()
    is_late = WebhookDelivery.done_at.is_(None) & (WebhookDelivery.expires_at < now)
    given_up = {"done_at": now, "last_error": func.coalesce(WebhookDelivery.last_error, "not_sent")}
    late = change_many(WebhookDelivery, is_late, given_up)
    return late + purge(WebhookDelivery, WebhookDelivery.done_at < now - DELIVERIES_KEPT, oldest_first=True)

"""Webhooks as administrators manage them: add, change, test and remove them, rotate secrets, list deliveries."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.orm import Session

from bx24app.crypto import keyring
from bx24app.database import purge, reading, writing
from bx24app.errors import AddressRefused, InvalidRequest, LimitReached, NotFound
from bx24app.models import Form, Portal, Webhook, WebhookDelivery, utcnow
from bx24app.models.websites.webhook import MAX_URL
from bx24app.outgoing.errors import AddressForbidden
from bx24app.services.security.journal import JournalPage, Recorded, record
from bx24app.services.webhooks import outbox, sender
from bx24app.services.webhooks.order import move_later, wait_of
from bx24app.urls import normal_url

# A site with more receivers than this should distribute the events itself.
MAX_PER_FORM = 5
DELIVERIES_SHOWN = 50
# As many as are shown. A few are deleted with each new one, so that no press takes long.
PINGS_KEPT = DELIVERIES_SHOWN
OLD_PINGS_AT_ONCE = 100


@dataclass(frozen=True)
class ListedWebhook:
    """A webhook with the key of its form and the number of its pending deliveries."""

    webhook: Webhook
    form_key: str
    pending: int


@dataclass(frozen=True)
class NewWebhook:
    """A webhook with its new secret, which is shown only this once."""

    listed: ListedWebhook
    secret: str = field(repr=False)


def _listed(portal_id: int) -> Select[Webhook, str, int]:
    pending = (
        select(func.count())
        .where(WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.done_at.is_(None))
        .scalar_subquery()
    )
    return (
        select(Webhook, Form.key, pending)
        .join(Form, Form.id == Webhook.form_id)
        .where(Webhook.portal_id == portal_id)
        .order_by(Webhook.id)
    )


def list_webhooks(portal_id: int, form_key: str | None = None) -> list[ListedWebhook]:
    """List the webhooks of a portal, with ``form_key`` only those of that form."""
    query = _listed(portal_id)
    if form_key is not None:
        query = query.where(Form.key == form_key)
    with reading() as session:
        return [ListedWebhook(*row) for row in session.execute(query)]


def get_webhook(portal_id: int, webhook_id: int) -> ListedWebhook:
    """Return one webhook; raises ``NotFound``."""
    with reading() as session:
        row = session.execute(_listed(portal_id).where(Webhook.id == webhook_id)).first()
    if row is None:
        raise NotFound
    return ListedWebhook(*row)


def _checked(url: str) -> str:
    """Check an address, and return it as it is requested; each delivery checks what it resolves to.

    Raises ``InvalidRequest``, ``AddressRefused``.
    """
    try:
        address = normal_url(url)
    except ValueError:
        raise InvalidRequest("url") from None
    if len(address) > MAX_URL:
        raise InvalidRequest("url")
    try:
        sender.webhook_policy().check(address)
    except AddressForbidden:
        raise AddressRefused("url") from None
    return address


def _new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def add_webhook(portal_id: int, form_key: str, url: str, user_id: int | None) -> NewWebhook:
    """Add a webhook to a form, for the user ``user_id``; its secret is returned only now. Commits.

    Raises ``NotFound`` (form), ``AddressRefused``, ``InvalidRequest`` (``url``; ``form_key`` when it has too many).
    """
    checked, secret = _checked(url), _new_secret()
    with writing() as session:
        portal = session.get_one(Portal, portal_id)
        present = (Form.portal_id == portal_id, Form.key == form_key, Form.removed_at.is_(None))
        # Locked, or many at once would pass the limit.
        form = session.scalar(select(Form).where(*present).with_for_update())
        if form is None:
            raise NotFound
        if session.scalars(select(func.count()).where(Webhook.form_id == form.id)).one() >= MAX_PER_FORM:
            raise LimitReached("form_key")
        webhook = Webhook(portal_id=portal_id, form_id=form.id, url=checked, created_by=user_id)
        webhook.keep_secret(keyring, portal.member_id, secret, utcnow())
        session.add(webhook)
        record(session, _recorded(webhook, user_id), {"webhook": ""}, {"webhook": "created"})
        session.flush()
    return NewWebhook(get_webhook(portal_id, webhook.id), secret)


def _host_of(webhook: Webhook) -> str:
    """The host alone: paths of addresses often hold a secret."""
    return urlsplit(webhook.url).hostname or ""


def _recorded(webhook: Webhook, user_id: int | None) -> Recorded:
    return Recorded(webhook.portal_id, user_id, JournalPage.WEBHOOKS, _host_of(webhook))


@contextmanager
def _changing(portal_id: int, webhook_id: int) -> Iterator[tuple[Session, Webhook]]:
    with writing() as session:
        query = select(Webhook).where(Webhook.portal_id == portal_id, Webhook.id == webhook_id).with_for_update()
        webhook = session.scalar(query)
        if webhook is None:
            raise NotFound
        yield session, webhook


def change_webhook(
    portal_id: int, webhook_id: int, user_id: int | None, url: str | None = None, is_on: bool | None = None
) -> ListedWebhook:
    """Change the address or the switch; None leaves it unchanged. Commits.

    Pending deliveries go to the new address. Raises ``NotFound``, ``AddressRefused``, ``InvalidRequest``.
    """
    checked = None if url is None else _checked(url)
    with _changing(portal_id, webhook_id) as (session, webhook):
        old = {"host": _host_of(webhook), "is_on": webhook.is_on}
        if checked is not None and checked != webhook.url:
            webhook.url, webhook.changed_by = checked, user_id
            webhook.note_success()
        if is_on is not None and is_on != webhook.is_on:
            webhook.switch(is_on=is_on)
        record(session, _recorded(webhook, user_id), old, {"host": _host_of(webhook), "is_on": webhook.is_on})
    return get_webhook(portal_id, webhook_id)


def rotate_secret(portal_id: int, webhook_id: int, user_id: int | None) -> NewWebhook:
    """Give a webhook a new secret; the former one signs beside it for 24 hours. Commits. Raises ``NotFound``."""
    secret = _new_secret()
    with _changing(portal_id, webhook_id) as (session, webhook):
        member_id = session.get_one(Portal, portal_id).member_id
        webhook.keep_secret(keyring, member_id, secret, utcnow())
        webhook.changed_by = user_id
        record(session, _recorded(webhook, user_id), {"secret": ""}, {"secret": "rotated"})
    return NewWebhook(get_webhook(portal_id, webhook_id), secret)


def remove_webhook(portal_id: int, webhook_id: int, user_id: int | None) -> None:
    """Remove a webhook for the user ``user_id`` with its pending deliveries; commits. Raises ``NotFound``."""
    get_webhook(portal_id, webhook_id)
    # They may be very many, and in one transaction everybody would wait for them.
    while purge(WebhookDelivery, WebhookDelivery.webhook_id == webhook_id):
        pass
    with _changing(portal_id, webhook_id) as (session, webhook):
        record(session, _recorded(webhook, user_id), {"webhook": ""}, {"webhook": "removed"})
        session.delete(webhook)


def send_test(portal_id: int, webhook_id: int) -> WebhookDelivery:
    """Send a ``ping`` as soon as a worker can, and end the webhook's pause; commits.

    One that still waits is sent now instead of another one; of those that have ended the last are kept.
    Raises ``NotFound``, ``InvalidRequest`` when the webhook is switched off.
    """
    with _changing(portal_id, webhook_id) as (session, webhook):
        if not webhook.is_on:
            raise InvalidRequest("is_on")
        webhook.waits_until = None
        waiting = session.scalar(_pings(webhook.id).where(WebhookDelivery.done_at.is_(None)).limit(1))
        if waiting is not None:
            waiting.repeat(utcnow())
            return waiting
        row = outbox.new_delivery(webhook.id, {"type": outbox.PING, "webhook_id": webhook.id})
        delivery_id = session.scalars(insert(WebhookDelivery).returning(WebhookDelivery.id), row).one()
        _forget_old_pings(session, webhook.id)
        return session.get_one(WebhookDelivery, delivery_id)


def _pings(webhook_id: int) -> Select[WebhookDelivery]:
    """Select the pings of a webhook, the newest first: all else that it is told is about a callback."""
    query = select(WebhookDelivery).where(
        WebhookDelivery.callback_id.is_(None), WebhookDelivery.webhook_id == webhook_id
    )
    return query.order_by(WebhookDelivery.id.desc())


def _forget_old_pings(session: Session, webhook_id: int) -> None:
    old = _pings(webhook_id).with_only_columns(WebhookDelivery.id).offset(PINGS_KEPT).limit(OLD_PINGS_AT_ONCE)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(session.scalars(old).all())))


def list_deliveries(portal_id: int, webhook_id: int) -> list[WebhookDelivery]:
    """List the last 50 deliveries of a webhook, the newest first; raises ``NotFound``."""
    get_webhook(portal_id, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    with reading() as session:
        return list(session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(DELIVERIES_SHOWN)))


def redeliver(portal_id: int, delivery_id: int) -> WebhookDelivery:
    """Send a delivery once more under the same ``event_id``; commits. Raises ``NotFound``."""
    with reading() as session:
        webhook_id = session.scalar(select(WebhookDelivery.webhook_id).where(WebhookDelivery.id == delivery_id))
    if webhook_id is None:
        raise NotFound
    with _changing(portal_id, webhook_id) as (session, webhook):
        delivery = session.get(WebhookDelivery, delivery_id)
        if delivery is None:
            raise NotFound
        webhook.waits_until = None
        now = utcnow()
        delivery.repeat(now)
        delivery.due_at = max(now, wait_of(session, delivery) or now)
        move_later(session, delivery)
        return delivery

"""What the panel of webhooks shows: each with its form, and what became of what was sent."""

from dataclasses import dataclass
from datetime import datetime

from flask_babel import gettext as _

from bx24app.models import WebhookDelivery
from bx24app.services.webhooks.subscriptions import ListedWebhook
from bx24app.web.moments import iso


@dataclass(frozen=True)
class WebhookRow:
    """A webhook in the list."""

    id: int
    url: str
    form_name: str
    is_on: bool
    off_words: str
    failing_since: str | None
    last_ok_at: str | None
    pending: int
    created_by: str
    changed_by: str


def webhook_row(listed: ListedWebhook, form_names: dict[str, str], names: dict[int, str]) -> WebhookRow:
    """A webhook with the names of its form and of whoever made and changed it."""
    hook = listed.webhook
    return WebhookRow(
        id=hook.id,
        url=hook.url,
        form_name=form_names.get(listed.form_key, ""),
        is_on=hook.is_on,
        off_words=_("Your server answered 410 (gone), so nothing more is sent.") if hook.off_reason else "",
        failing_since=_moment(hook.failing_since),
        last_ok_at=_moment(hook.last_ok_at),
        pending=listed.pending,
        created_by=names.get(hook.created_by or 0, ""),
        changed_by=names.get(hook.changed_by or 0, ""),
    )


@dataclass(frozen=True)
class DeliveryRow:
    """One thing sent to a webhook."""

    id: int
    made_at: str | None
    what: str
    outcome: str
    last_status: int | None
    last_error: str | None
    is_over: bool


def delivery_row(delivery: WebhookDelivery) -> DeliveryRow:
    """A delivery in words; ``last_error`` says why there was no answer, or what the site answered instead of 2xx."""
    callback = delivery.payload.get("callback") or {}
    return DeliveryRow(
        id=delivery.id,
        made_at=_moment(delivery.made_at),
        what=str(callback["state"]) if callback else _("Test"),
        outcome=_delivered(delivery),
        last_status=delivery.last_status,
        last_error=_trouble(delivery.last_error),
        is_over=delivery.done_at is not None,
    )


def _delivered(delivery: WebhookDelivery) -> str:
    if delivery.done_at is None:
        return str(_("Will be tried again") if delivery.attempts else _("On its way"))
    return str(_("Not delivered") if delivery.last_error else _("Delivered"))


def _trouble(error: str | None) -> str | None:
    """Why a delivery was not taken: ours in words, the site's as it stands."""
    words = {
        "timeout": _("no answer within ten seconds"),
        "reset": _("the connection broke"),
        "unreachable": _("no connection"),
        "address_forbidden": _("the address is not public"),
        "redirect": _("redirects are not followed"),
        "not_sent": _("not sent in time"),
    }
    return words.get(error, error) if error else None


def _moment(at: datetime | None) -> str | None:
    return iso(at) if at else None

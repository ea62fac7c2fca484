"""Rows of every kind that a worker leases before it does something about them."""

from collections.abc import Callable, Collection
from datetime import timedelta

from flask import Flask

from bx24app.database import writing
from bx24app.models import (
    Callback,
    KeptClick,
    NotifiedPerson,
    RuleRun,
    TimelineEntry,
    ToDo,
    Webhook,
    WebhookDelivery,
    WebsiteRequest,
    utcnow,
)
from bx24app.services.crm import crm_requests
from bx24app.services.native.automation import rule_runs
from bx24app.services.native.follow_up import sending, to_dos
from bx24app.services.native.timeline import kept_clicks
from bx24app.services.native.timeline import queue as entries
from bx24app.services.webhooks import delivery
from tests.support.waiting import accept, add_form


def due_everywhere(app: Flask, portal_id: int = 1) -> None:
    """Something of a portal is due for every kind of row that the worker leases."""
    id = accept(app, portal_id, form_id=add_form(app, portal_id), expires_at=utcnow() + timedelta(days=9))
    now = utcnow()
    with app.app_context(), writing() as session:
        form_id = session.get_one(Callback, id).form_id
        hook = Webhook(portal_id=portal_id, form_id=form_id, url="https://site.example.com/", secret_sealed="none")
        session.add(hook)
        session.flush()
        told = {"payload": {}, "due_at": now, "expires_at": now + timedelta(hours=1)}
        run = {"token_digest": "0" * 64, "user_id": 1, "properties": {}, "made_at": now}
        card = {"origin": id, "entity_type": "LEAD", "entity_id": 1}
        entry = TimelineEntry(portal_id=portal_id, due_at=now, **card)
        session.add(entry)
        session.flush()
        click = {"action": "call_now", "changes": 0, "token_digest": "0" * 64, "token_sealed": "none", "made_at": now}
        session.add_all(
            [
                WebsiteRequest(callback_id=id, form_id=form_id, number_digest="0" * 64),
                KeptClick(portal_id=portal_id, entry_id=entry.id, due_at=now, **click),
                RuleRun(portal_id=portal_id, due_at=now, **run),
                ToDo(portal_id=portal_id, callback_id=id, due_at=now, asks=0, tries=0, made_at=now),
                NotifiedPerson(portal_id=portal_id, user_id=1, due_at=now),
                WebhookDelivery(webhook_id=hook.id, **told),
            ]
        )


LEASES: dict[str, Callable[[Collection[int]], object]] = {
    "deliver_webhooks": delivery.lease_delivery,
    "find_crm_customers": crm_requests.lease_crm_request,
    "prove_clicks": kept_clicks.lease_click,
    "show_in_timeline": entries.lease_entry,
    "work_on_rules": rule_runs.lease_rule_run,
    "make_to_dos": to_dos.lease_to_do,
    "send_notifications": sending.lease_person,
}

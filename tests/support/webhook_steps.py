"""Steps of the webhook tests: a form, its webhook, customers who ask, and deliveries made here and now."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Callback, Form, Source, Webhook, WebhookDelivery, utcnow
from bx24app.services.webhooks import delivery
from tests.support.actors import Actor, json_of
from tests.support.sites import Site, a_site

KEY = "hk3vJ8sQ2mZp"


@pytest.fixture
def site() -> Iterator[Site]:
    with a_site() as opened:
        yield opened


@pytest.fixture
def form(app: Flask, manager: Actor) -> int:
    with app.app_context(), writing() as session:
        row = Form(portal_id=1, key=KEY, name="Shop", line_id="reg150907")
        session.add(row)
        session.flush()
        return row.id


def asked(app: Flask, form_id: int | None, number: str = "+4930901820") -> UUID:
    """A customer's request, as the intake stores it."""
    now = utcnow()
    with app.app_context(), writing() as session:
        callback = Callback(
            portal_id=1,
            to_number=number,
            line_id="reg150907",
            line_name="Sales line",
            text="Callback request.",
            source=Source.WEBSITE,
            form_id=form_id,
            due_at=now,
            expires_at=now + timedelta(hours=1),
            created_at=now,
            attempts=[],
            decisions=[],
        )
        callback.accept(now)
        session.add(callback)
    return callback.id


def added(administrator: Actor, site: Site) -> dict[str, Any]:
    response = administrator.asks("POST", "/webhooks", {"form_key": KEY, "url": site.url})
    assert response.status_code == 201, response.text
    return json_of(response)


def told_all(app: Flask) -> None:
    """Deliver everything that is due, here and now."""
    with app.app_context():
        while (claim := delivery.lease_delivery()) is not None:
            delivery.deliver(claim)


def hurry(app: Flask) -> None:
    """Every pause is over."""
    with app.app_context(), writing() as session:
        session.execute(update(Webhook).values(waits_until=None))
        session.execute(update(WebhookDelivery).values(due_at=utcnow()))


def change(app: Flask, callback_id: UUID, work: Callable[[Callback], object]) -> None:
    with app.app_context(), writing() as session:
        work(session.get_one(Callback, callback_id, with_for_update=True))


def listed(administrator: Actor, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json_of(administrator.asks("GET", f"/webhooks/{webhook['id']}/deliveries"))[
        "deliveries"
    ]
    return found

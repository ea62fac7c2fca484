"""Steps of the customer of a website's request in the CRM."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Throttle, WebsiteRequest, utcnow
from bx24app.services.crm import crm_requests
from bx24app.services.crm import lookup as crm_lookup
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor

PAGE = "https://shop.example.com/sofas?utm_source=ad&utm_campaign=spring&x=1"


def asks(visitor: Visitor, number: str = CUSTOMER, **body: Any) -> UUID:
    response = visitor.asks(number, **({"name": "Anna", "topic": "Sofa", "page": PAGE} | body))
    assert response.status_code == 202, response.text
    return UUID(json_of(response)["reference"])


def worked(app: Flask) -> None:
    """Everything that is due is followed, here and now."""
    with app.app_context():
        while (claim := crm_requests.lease_crm_request()) is not None:
            crm_lookup.process_crm_request(claim)


def later(app: Flask) -> None:
    """The pauses and the leases are over."""
    with app.app_context(), writing() as session:
        due = WebsiteRequest.crm_due_at.is_not(None)
        values = {"crm_due_at": utcnow() - timedelta(seconds=1), "leased_until": None}
        session.execute(update(WebsiteRequest).where(due).values(values))
        session.execute(update(Throttle).values(level=0, dial_at=None, half_free_at=None, spare_at=None))


def kept(app: Flask, id: UUID) -> tuple[WebsiteRequest, Callback]:
    with app.app_context(), reading() as session:
        request = session.scalars(select(WebsiteRequest).where(WebsiteRequest.callback_id == id)).one()
        return request, session.get_one(Callback, id)


def card(app: Flask, id: UUID) -> tuple[str, str | None, int | None]:
    request, callback = kept(app, id)
    return request.crm_state, callback.crm_entity_type, callback.crm_entity_id


def visitor_of_shop(app: Flask, administrator: Actor, origin: str) -> Visitor:
    """A visitor of a form that makes a lead of whom the CRM does not know."""
    administrator.opens()
    wanted = {"name": "Shop", "line_id": "reg150907", "default_country": "DE", "creates_lead": True}
    wanted["fields"] = {"name": "optional", "topic": "optional"}
    form = json_of(administrator.asks("POST", "/forms", wanted))
    return Visitor(app.test_client(), form["key"], origin=origin)

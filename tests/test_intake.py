"""Requests from websites: taken once, answered honestly, and silent to strangers."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.extensions import reading
from bx24app.models import Callback, WebsiteRequest
from tests.actors import CUSTOMER, Actor, json_of
from tests.visitors import Visitor


@pytest.fixture
def form(manager: Actor, administrator: Actor) -> dict[str, Any]:
    administrator.opens()
    line_id = next(iter(administrator.portal.lines))
    response = administrator.asks("POST", "/forms", {"name": "Main site", "line_id": line_id, "default_country": "DE"})
    assert response.status_code == 201, response.text
    return json_of(response)


@pytest.fixture
def visitor(app: Flask, environ: dict[str, str], form: dict[str, Any]) -> Visitor:
    return Visitor(app.test_client(), form["key"], origin=environ["BX24APP_PUBLIC_URL"])


def test_a_request_is_taken_and_its_link_shows_where_it_stands(app: Flask, visitor: Visitor) -> None:
    response = visitor.asks("030 901820", name="Anna", page="https://example.com/a?utm_source=ad&x=1")
    answer = json_of(response)
    assert (response.status_code, answer["state"]) == (202, "queued")
    status = json_of(visitor.looks(answer["status_url"]))
    assert (status["state"], status["can_cancel"]) == ("queued", True)
    with app.app_context(), reading() as session:
        callback = session.scalars(select(Callback)).one()
        beside = session.scalars(select(WebsiteRequest)).one()
    assert (callback.to_number, callback.source, str(callback.id)) == (CUSTOMER, "website", answer["reference"])
    assert "Anna" in callback.text
    assert (beside.utm, beside.address, beside.name) == ({"utm_source": "ad"}, "203.0.113.7", "Anna")


def test_the_hosted_form_and_the_customers_page_are_shown(visitor: Visitor) -> None:
    page = visitor.client.get(f"/w/{visitor.form_key}", headers={"Accept": "text/html"})
    assert (page.status_code, 'name="number"' in page.text) == (200, True)
    url = json_of(visitor.asks())["status_url"]
    shown = visitor.looks(url, Accept="text/html")
    assert (shown.status_code, "You are next" in shown.text) == (200, True)

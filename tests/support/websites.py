"""Forms of a portal and the people who use them, ready for tests."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bx24app.services.websites import challenge
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor

MakeVisitor = Callable[..., Visitor]


class BackEnd:
    """The server of a website, with a key of one of the portal's forms."""

    def __init__(self, client: FlaskClient, key: dict[str, Any]) -> None:
        self.client, self.id, self.secret = client, key["id"], key["secret"]

    def asks(self, method: str, path: str, json: object = None, **headers: str) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.secret}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.client.open("/api/v1" + path, method=method, json=json, headers=sent)

    def requests_callback(self, number: str = CUSTOMER, key: str | None = None, **body: Any) -> TestResponse:
        headers = {"Idempotency_Key": key} if key else {}
        return self.asks("POST", "/callbacks", {"to_number": number, **body}, **headers)


MakeBackEnd = Callable[[Visitor], BackEnd]

# How hard a browser has to work is measured once (test_proof_of_work.py); visitors of all other tests get off lightly.
EASY_COST, EASY_COUNTER = 50, (20, 60)


@pytest.fixture(autouse=True)
def easy_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let visitors solve their challenges in no time."""
    monkeypatch.setattr(challenge, "PROOF_COST", EASY_COST)
    monkeypatch.setattr(challenge, "PROOF_COUNTER", EASY_COUNTER)


@pytest.fixture
def desk(manager: Actor, administrator: Actor) -> Actor:
    """The administrator with the desk open; lines and voices are known."""
    administrator.opens("CRM_LEAD_DETAIL_TAB", ID="1")
    return administrator


@pytest.fixture
def visitor_of(app: Flask, environ: dict[str, str], desk: Actor) -> MakeVisitor:
    """Make a form with some settings, and a visitor with it open."""

    def make(**settings: Any) -> Visitor:
        line_id = next(iter(desk.portal.lines))
        body = {"name": "Main site", "line_id": line_id, "default_country": "DE", **settings}
        response = desk.asks("POST", "/forms", body)
        assert response.status_code == 201, response.text
        return Visitor(app.test_client(), json_of(response)["key"], origin=environ["BX24APP_PUBLIC_URL"])

    return make


@pytest.fixture
def visitor(visitor_of: MakeVisitor) -> Visitor:
    """A visitor of a form with nothing but a name and a line."""
    return visitor_of()


@pytest.fixture
def back_end_of(app: Flask, desk: Actor) -> MakeBackEnd:
    def make(visitor: Visitor) -> BackEnd:
        response = desk.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "Shop server"})
        assert response.status_code == 201, response.text
        return BackEnd(app.test_client(), json_of(response))

    return make


@pytest.fixture
def back_end(visitor: Visitor, back_end_of: MakeBackEnd) -> BackEnd:
    return back_end_of(visitor)

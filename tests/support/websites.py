"""Forms of a portal and the people who use them, ready for tests."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from bx24app.services.websites import challenge
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor

MakeVisitor = Callable[..., Visitor]


# How hard a browser has to work is measured once (test_proof_of_work.py); visitors of all other tests get off lightly.
EASY_COUNTER = (20, 60)


@pytest.fixture(autouse=True)
def easy_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let visitors solve their challenges in no time."""
    monkeypatch.setattr(challenge, "PROOF_COUNTER", EASY_COUNTER)


@pytest.fixture
def desk(manager: Actor, administrator: Actor) -> Actor:
    """The administrator with the desk open; lines and voices are known."""
    administrator.opens()
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

"""Answers that come byte by byte: every exchange has an end, and what one portal takes of us has a bound."""

import time

import pytest
from flask import Flask

from bx24app.bitrix24 import client
from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.connections import portal_clients
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import NotSent, NoUsableAnswer
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of

EXCHANGE = 0.6
# Much longer than an exchange, and shorter than anybody would wait for a test.
DRIPPING = 4.0
SLACK = 1.0
HOW = ("drip_head", "drip_body")
LINES = "voximplant.line.get"


@pytest.fixture(autouse=True)
def hurried(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole exchanges end sooner than after 20 seconds; single reads do not."""
    monkeypatch.setattr(client, "EXCHANGE_SECONDS", EXCHANGE)
    for kept in ("bx24app.portals", "bx24app.authorization_server"):
        app.extensions[kept]._adapter._seconds = EXCHANGE


@pytest.mark.parametrize("how", HOW)
def test_an_answer_that_drips_has_an_end(app: Flask, manager: Actor, portal: FakePortal, how: str) -> None:
    known = json_of(manager.asks("GET", "/lines"))["lines"]
    portal.faults.add(how, LINES, seconds=DRIPPING)
    began = time.monotonic()
    refused = manager.asks("GET", "/lines?refresh=1")
    assert time.monotonic() - began < EXCHANGE + SLACK
    assert (refused.status_code, json_of(refused)["code"]) == (503, "bitrix24_unavailable")
    assert json_of(manager.asks("GET", "/lines?refresh=1"))["lines"] == known


@pytest.mark.parametrize("how", HOW)
def test_an_authorization_server_that_drips_has_an_end(
    app: Flask, administrator: Actor, fake: FakeBitrix24, how: str
) -> None:
    fake.auth_server.faults.add(how, "app.info", seconds=DRIPPING)
    began = time.monotonic()
    assert administrator.installs().status_code == 503
    assert time.monotonic() - began < EXCHANGE + SLACK


@pytest.mark.parametrize("how", HOW)
def test_a_renewal_that_drips_has_an_end(app: Flask, fake: FakeBitrix24, how: str) -> None:
    server: AuthorizationServer = app.extensions["bx24app.authorization_server"]
    fake.auth_server.faults.add(how, "oauth/token", seconds=DRIPPING)
    began = time.monotonic()
    with pytest.raises(NoUsableAnswer):
        server.renew("none")
    assert time.monotonic() - began < EXCHANGE + SLACK


def test_the_exchanges_of_one_piece_of_work_end_together(app: Flask, manager: Actor, portal: FakePortal) -> None:
    """The second of two dripping answers has only what the first has left, and a third is not asked for."""
    portal.faults.add("drip_body", "profile", seconds=DRIPPING, times=3)
    endpoint = f"{portal.url}/rest/"
    began, asked = time.monotonic(), len(portal.requests)
    with app.app_context(), ending_within(EXCHANGE * 1.5):
        for expected in (NoUsableAnswer, NoUsableAnswer, NotSent):
            with pytest.raises(expected):
                portal_clients.client(endpoint, "none").invoke("profile")
    assert time.monotonic() - began < EXCHANGE * 1.5 + SLACK
    assert len(portal.requests) == asked + 2

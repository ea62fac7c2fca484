"""Silence, broken connections, maintenance pages, empty and cut answers, wherever a server is asked.

Dials have their own rules: ``test_dialling``.
"""

import time
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Credential, Portal, PortalState, RestCall, utcnow
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of, post_frame

# Long enough for every answer that does come, on a busy machine too.
PATIENCE = 2.0
SILENCE = 5.0
LINES = "voximplant.line.get"
# Before the server has done what it was asked, and after.
BEFORE = ("hang_before", "drop_before", "html_502")
AFTER = ("hang_after", "drop_after", "html_502_after", "empty", "truncated_json", "malformed_result")
SEEN = {"hang": "timeout", "drop": "reset"}
TICKET = 'name="bx24app-ticket"'


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take silence for silence sooner than after the platform's 60 seconds."""
    for module in ("client", "authorization"):
        monkeypatch.setattr(f"bx24app.bitrix24.{module}.READ_TIMEOUT", (PATIENCE, PATIENCE))


def expire(app: Flask, portal: FakePortal) -> None:
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))


def state(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.state)).one()


def test_a_read_that_is_answered_with_another_object_takes_it_for_lines(manager: Actor, portal: FakePortal) -> None:
    portal.faults.add("malformed_result", LINES)
    answered = manager.asks("GET", "/lines?refresh=1")
    assert answered.status_code == 200
    assert json_of(answered)["lines"] == [{"id": "RESULT", "name": "yes"}]


# An answer that is one is read as it is.
@pytest.mark.parametrize("kind", [kind for kind in BEFORE + AFTER if kind != "malformed_result"])
def test_a_read_says_so_and_what_was_known_stays(app: Flask, manager: Actor, portal: FakePortal, kind: str) -> None:
    known = json_of(manager.asks("GET", "/lines"))["lines"]
    portal.faults.add(kind, LINES, seconds=SILENCE)
    began = time.monotonic()
    refused = manager.asks("GET", "/lines?refresh=1")
    assert time.monotonic() - began < SILENCE
    assert (refused.status_code, json_of(refused)["code"]) == (503, "bitrix24_unavailable")
    assert json_of(manager.asks("GET", "/lines"))["lines"] == known
    with app.app_context(), reading() as session:
        refused_ones = select(RestCall.error).where(RestCall.method == LINES, RestCall.error.is_not(None))
        noted = session.scalars(refused_ones).all()
    assert noted == [SEEN.get(kind.partition("_")[0], "unreadable")]
    assert state(app) == PortalState.INSTALLED


@pytest.mark.parametrize("kind", BEFORE + AFTER)
def test_an_opening_is_vouched_for_without_any_rights(
    administrator: Actor, manager: Actor, portal: FakePortal, kind: str
) -> None:
    portal.faults.add(kind, "batch", seconds=SILENCE)
    response = post_frame(administrator.client, "/", administrator.launches())
    assert response.status_code == 200
    assert TICKET in response.text
    # Who is an administrator only the portal can say.
    assert "Settings" not in response.text
    assert "Settings" in administrator.opens().text


@pytest.mark.parametrize("kind", BEFORE + AFTER)
def test_an_installation_waits_for_a_portal_that_answers(
    app: Flask, administrator: Actor, portal: FakePortal, kind: str
) -> None:
    portal.faults.add(kind, "batch", seconds=SILENCE)
    response = administrator.installs()
    assert response.status_code == 503
    assert "Bitrix24 does not answer" in response.text
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal)).all() == []
    assert administrator.installs().status_code == 200


@pytest.mark.parametrize("kind", BEFORE + AFTER)
def test_an_installation_waits_for_an_authorization_server_that_answers(
    app: Flask, administrator: Actor, fake: FakeBitrix24, portal: FakePortal, kind: str
) -> None:
    fake.auth_server.faults.add(kind, "app.info", seconds=SILENCE)
    assert administrator.installs().status_code == 503
    assert portal.requests == []
    assert administrator.installs().status_code == 200


@pytest.mark.parametrize("kind", BEFORE)
def test_a_renewal_that_was_not_executed_is_tried_again(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal, kind: str
) -> None:
    expire(app, portal)
    fake.auth_server.faults.add(kind, "oauth/token", seconds=SILENCE)
    assert manager.asks("GET", "/lines?refresh=1").status_code == 503
    assert state(app) == PortalState.INSTALLED
    assert manager.asks("GET", "/lines?refresh=1").status_code == 200


@pytest.mark.parametrize("kind", AFTER)
def test_a_renewal_whose_answer_is_lost_leads_to_the_way_back(
    app: Flask, administrator: Actor, manager: Actor, fake: FakeBitrix24, portal: FakePortal, kind: str
) -> None:
    """The refresh token is spent, and its successor known to nobody: only a person's visit brings new ones."""
    expire(app, portal)
    fake.auth_server.faults.add(kind, "oauth/token", seconds=SILENCE)
    assert manager.asks("GET", "/lines?refresh=1").status_code == 503
    assert state(app) == PortalState.INSTALLED
    refused = manager.asks("GET", "/lines?refresh=1")
    assert (refused.status_code, json_of(refused)["code"]) == (409, "portal_disconnected")
    assert state(app) == PortalState.DISCONNECTED
    assert administrator.opens().status_code == 200
    assert state(app) == PortalState.INSTALLED
    assert manager.asks("GET", "/lines?refresh=1").status_code == 200


@pytest.mark.parametrize("kind", BEFORE + AFTER)
def test_with_both_silent_nobody_is_let_in(manager: Actor, fake: FakeBitrix24, portal: FakePortal, kind: str) -> None:
    portal.faults.add(kind, "batch", seconds=SILENCE)
    fake.auth_server.faults.add(kind, "app.info", seconds=SILENCE)
    response = post_frame(manager.client, "/", manager.launches())
    assert (response.status_code, TICKET in response.text) == (503, False)

"""Somebody who has proven nothing costs next to nothing: no row, no part of a portal's pace, few questions."""

import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from bx24app.database import is_postgresql, reading, writer_lock
from bx24app.models import RestCall, Throttle, TokenBucket
from bx24app.services.native.automation import rule_posts
from bx24app.services.runtime import local_limit
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import proof_limits, token_proof
from bx24app.services.websites import api_keys, rejections, status_page
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_call_events import fields
from tests.support.actors import Actor, json_of, post_frame
from tests.support.rule_steps import LINE, ONCE, Runs, registered, runs
from tests.support.statements import statements
from tests.support.websites import MakeVisitor

__all__ = ["registered", "runs"]

FLOOD = 400


@pytest.fixture
def still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit fills again, however slow the machine is."""
    monkeypatch.setattr(local_limit, "time", SimpleNamespace(monotonic=lambda: 1000.0))


def stored(app: Flask) -> tuple[int, float, int]:
    """Rows of the REST log, what counts against the portal's pace, and rows of limits."""
    with app.app_context(), reading() as session:
        rows = session.scalars(select(func.count()).select_from(RestCall)).one()
        limits = session.scalars(select(func.count()).select_from(TokenBucket)).one()
        return rows, session.scalars(select(Throttle.level)).one(), limits


def forge(manager: Actor, client: FlaskClient, *, token: str = "", address: str = "203.0.113.9") -> int:
    """Open the desk with a made-up token, knowing the portal's ``member_id`` alone; returns the status."""
    post = manager.launches()
    form = {**post.form, "AUTH_ID": token or secrets.token_hex(35), "APPLICATION_TOKEN": ""}
    environ = {"REMOTE_ADDR": address}
    return client.post("/", query_string=post.query, data=form, environ_base=environ).status_code


def flood(manager: Actor, app: Flask, times: int) -> list[int]:
    def one(number: int) -> int:
        return forge(manager, app.test_client(), address=f"203.0.113.{number % 100}")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(times)))


@pytest.mark.usefixtures("still_limits")
def test_a_flood_of_made_up_tokens_stores_and_counts_nothing_and_delays_no_dial(
    app: Flask, manager: Actor, portal: FakePortal, fake: FakeBitrix24, eventually: Eventually
) -> None:
    before, asked, server = stored(app), len(portal.requests), len(fake.auth_server.server.requests)
    statuses = flood(manager, app, FLOOD)
    while 429 not in statuses and len(statuses) < 5 * FLOOD:
        # On a busy machine most were turned away because too many were asked about at once.
        statuses += flood(manager, app, FLOOD)
    assert {403, 429} <= set(statuses) <= {403, 429, 503}
    after = stored(app)
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] <= before[1]
    assert len(portal.requests) - asked <= proof_limits.QUESTIONS_TO_PORTAL + 2
    assert len(fake.auth_server.server.requests) - server <= proof_limits.FAILURES_PER_PORTAL + 5
    began = time.monotonic()
    with working(app):
        created = manager.requests_callback()
        assert created.status_code == 201
        eventually(lambda: bool(portal.telephony.calls))
    assert time.monotonic() - began < 5


def test_people_of_the_portal_open_the_desk_during_a_flood(app: Flask, manager: Actor, administrator: Actor) -> None:
    flood(manager, app, proof_limits.QUESTIONS_TO_PORTAL * 2)
    assert administrator.opens().status_code == 200
    flood(manager, app, FLOOD)
    assert manager.opens().status_code == 200


@pytest.mark.usefixtures("still_limits")
def test_what_others_send_from_an_address_keeps_no_portal_out_that_has_proven_itself_there(
    manager: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp, still_limits: None
) -> None:
    """Events of all portals come from Bitrix24's addresses, and a building may have one for everybody."""
    shared, post = "203.0.113.9", manager.launches()

    def opens(token: str, member_id: str = "") -> int:
        made_up = {"member_id": member_id or portal.member_id, "APPLICATION_TOKEN": ""}
        form = {**post.form, "AUTH_ID": token, **made_up}
        sent = {"REMOTE_ADDR": shared}
        return client.post("/", query_string=post.query, data=form, environ_base=sent).status_code

    assert opens(post.form["AUTH_ID"]) == 200
    others = [opens(secrets.token_hex(35), secrets.token_hex(16)) for _ in range(proof_limits.FAILURES_PER_ADDRESS + 5)]
    assert others[-1] == 429
    assert opens(post.form["AUTH_ID"]) == 200
    # Whoever has proven themselves there has a limit of their own.
    own = [opens(secrets.token_hex(35)) for _ in range(proof_limits.FAILURES_PER_ADDRESS + 5)]
    assert own[0] == 403
    assert own[-1] == 429


def test_made_up_portals_take_no_more_than_their_share_at_any_door(
    still_limits: None,
    client: FlaskClient,
    manager: Actor,
    portal: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
) -> None:
    """From as many addresses as somebody likes; who is known is asked about all the same."""
    server = fake.auth_server.server
    for kind in ("ONAPPINSTALL", "ONAPPUPDATE"):
        asked = len(server.requests)
        for number in range(proof_limits.UNKNOWN_PORTALS + 10):
            made_up = {"member_id": secrets.token_hex(16), "access_token": secrets.token_hex(35)}
            sent = fields(portal, application, kind, {"VERSION": "2"}, **made_up)
            client.post("/events", data=sent, environ_base={"REMOTE_ADDR": f"2001:db8:{number:x}::1"})
        assert len(server.requests) - asked <= proof_limits.UNKNOWN_PORTALS
    genuine = Actor(client, portal, application, portal.administrator).launches().form["AUTH_ID"]
    sent = fields(portal, application, "ONAPPUPDATE", {"VERSION": "2"}, access_token=genuine)
    assert client.post("/events", data=sent).status_code == 200


def test_genuine_tokens_take_no_more_than_their_share_of_the_authorization_server(
    still_limits: None,
    client: FlaskClient,
    manager: Actor,
    portal: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every employee has one, and each of these posts is a question; strangers use up nothing of a portal's share."""
    most = 5
    monkeypatch.setattr(token_proof, "PROVEN_OF_PORTAL", LocalLimit("proven_of_portal", most))
    made_up = {"application_token": "f" * 32, "access_token": "f" * 70}
    for number in range(most):
        sent = fields(portal, application, "ONAPPUPDATE", {"VERSION": "2"}, **made_up)
        told = client.post("/events", data=sent, environ_base={"REMOTE_ADDR": f"203.0.113.{number}"})
        assert told.status_code in (403, 429)
    server = fake.auth_server.server
    genuine = Actor(client, portal, application, portal.administrator).launches().form["AUTH_ID"]
    sent = fields(portal, application, "ONAPPUPDATE", {"VERSION": "2"}, access_token=genuine)
    asked = len(server.requests)
    statuses = [client.post("/events", data=sent).status_code for _ in range(most + 5)]
    # The installation has asked too.
    assert statuses[0] == 200
    assert set(statuses[most:]) == {503}
    assert len(server.requests) - asked == statuses.count(200)
    assert manager.opens().status_code == 200


def test_an_address_is_refused_after_a_while_and_others_are_not(manager: Actor, client: FlaskClient) -> None:
    statuses = [forge(manager, client) for _ in range(proof_limits.FAILURES_PER_ADDRESS + 5)]
    assert statuses[: proof_limits.FAILURES_PER_ADDRESS] == [403] * proof_limits.FAILURES_PER_ADDRESS
    assert set(statuses[proof_limits.FAILURES_PER_ADDRESS :]) == {429}
    assert forge(manager, client, address="203.0.113.10") == 403
    assert manager.opens().status_code == 200


@pytest.mark.parametrize("path", ["/", "/session", "/install"])
def test_a_refused_token_is_asked_about_once(
    manager: Actor, client: FlaskClient, portal: FakePortal, fake: FakeBitrix24, path: str
) -> None:
    # Whether the portal has moved is looked at once a minute.
    forge(manager, client)
    asked = len(portal.requests) + len(fake.auth_server.server.requests)
    post = manager.launches()
    for _ in range(5):
        answer = post_frame(client, path, post, AUTH_ID="f" * 70)
        assert answer.status_code == 403
    assert len(portal.requests) + len(fake.auth_server.server.requests) == asked + 1


def test_what_is_proven_costs_nothing(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_limits, "LAUNCHES_OF_PERSON", LocalLimit("launches_of_person", 1_000))
    for _ in range(proof_limits.FAILURES_PER_ADDRESS * 2):
        assert manager.opens().status_code == 200


def test_an_unknown_portal_costs_one_question(
    manager: Actor, client: FlaskClient, portal: FakePortal, fake: FakeBitrix24
) -> None:
    asked, server = len(portal.requests), len(fake.auth_server.server.requests)
    post = manager.launches()
    assert post_frame(client, "/", post, member_id="0" * 32, AUTH_ID="e" * 70).status_code == 403
    assert len(portal.requests) == asked
    assert len(fake.auth_server.server.requests) == server + 1


def test_portals_that_nobody_knows_cost_few_questions_together(
    manager: Actor, client: FlaskClient, fake: FakeBitrix24
) -> None:
    """Their names are made up, so no limit of one portal stops them; people of portals that we know come in."""
    server, post = len(fake.auth_server.server.requests), manager.launches()
    statuses = []
    for number in range(proof_limits.UNKNOWN_PORTALS + 20):
        form = {**post.form, "AUTH_ID": secrets.token_hex(35), "member_id": secrets.token_hex(16)}
        sent = {"REMOTE_ADDR": f"203.0.113.{number}"}
        path = "/install" if number % 2 else "/"
        statuses.append(client.post(path, query_string=post.query, data=form, environ_base=sent).status_code)
    assert set(statuses) == {403, 429}
    # A few come back while the test runs.
    assert len(fake.auth_server.server.requests) - server <= proof_limits.UNKNOWN_PORTALS + 10
    assert manager.opens().status_code == 200


@pytest.mark.parametrize(
    "address", ["203.0.113.{}", "2001:db8:7:{}::1"], ids=["addresses of a /24", "networks of a /48"]
)
def test_one_network_keeps_no_new_portal_out(
    still_limits: None,
    client: FlaskClient,
    manager: Actor,
    application: FakeApp,
    fake: FakeBitrix24,
    address: str,
) -> None:
    """As many addresses as there are in it, at every door; the portal's people have an address elsewhere."""
    server, post = len(fake.auth_server.server.requests), manager.launches()
    for number in range(proof_limits.UNKNOWN_PORTALS + 20):
        form = {**post.form, "AUTH_ID": secrets.token_hex(35), "member_id": secrets.token_hex(16)}
        sent = {"REMOTE_ADDR": address.format(number)}
        client.post("/install" if number % 2 else "/", query_string=post.query, data=form, environ_base=sent)
    assert len(fake.auth_server.server.requests) - server == proof_limits.UNKNOWN_OF_NETWORK.size
    new = fake.add_portal("beta")
    assert Actor(client, new, application, new.administrator).installs().status_code == 200


def test_updates_that_cannot_be_proven_now_write_once(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp, fake: FakeBitrix24
) -> None:
    fake.auth_server.faults.add("html_502", "app.info", times=9)
    made_up = {"application_token": "f" * 32, "access_token": "f" * 70}
    with statements(app) as ran:
        for name in ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUPDATE"):
            sent = fields(portal, application, name, {"VERSION": "2"}, **made_up)
            assert client.post("/events", data=sent).status_code == 503
    assert len([sql for sql in ran if sql.startswith("UPDATE")]) == 1
    assert len([sql for sql in ran if "BEGIN IMMEDIATE" in sql]) <= 1


def test_updates_with_the_right_token_write_what_is_new(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    sent = fields(portal, application, "ONAPPUPDATE", {"VERSION": "2"})
    with statements(app) as ran:
        for _ in range(5):
            assert client.post("/events", data=sent).status_code == 200
    assert len([sql for sql in ran if sql.startswith("UPDATE")]) <= 2
    assert len([sql for sql in ran if "BEGIN IMMEDIATE" in sql or "FOR UPDATE" in sql]) <= 2


def test_whoever_has_used_up_a_link_a_key_or_their_runs_waits_for_no_writer(
    app: Flask, visitor_of: MakeVisitor, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(limits={})
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    with app.app_context():
        secret = api_keys.create_key(1, visitor.form_key, "CRM", None).secret
        if is_postgresql():
            pytest.skip("PostgreSQL has no lock that all writers wait for")
    for holder, name in ((status_page, "CHANGES_EVER"), (api_keys, "REQUESTS_PER_MINUTE"), (rule_posts, "RUNS_A_DAY")):
        monkeypatch.setattr(holder, name, 1)
    monkeypatch.setattr(sys.modules["bx24app.database.writer_lock"], "WAIT_SECONDS", 0.2)
    bearer = {"Authorization": f"Bearer {secret}"}
    answers: dict[str, Callable[[], int | None]] = {
        "link": lambda: app.test_client().post(f"{path}/cancel").status_code,
        "key": lambda: app.test_client().get("/api/v1/callbacks", headers=bearer).status_code,
        "run": lambda: runs(ONCE, "DEAL_1", number="+49 30 901820", line=LINE).delivery.status,
    }
    assert {name: answer() for name, answer in answers.items()} == {"link": 200, "key": 200, "run": 200}
    with app.app_context(), writer_lock():
        assert {name: answer() for name, answer in answers.items()} == {"link": 429, "key": 429, "run": 429}


def test_the_same_again_and_more_of_what_is_too_much_wait_for_no_writer(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that was worked for once, and tokens of a page, may be sent as often as somebody likes."""
    visitor = visitor_of(limits={"address_hour": 3})
    monkeypatch.setattr(rejections, "WRITES_FOR_ADDRESS", 0)
    monkeypatch.setattr(sys.modules["bx24app.database.writer_lock"], "WAIT_SECONDS", 0.2)
    proof = visitor.works()
    answers: dict[str, Callable[[], TestResponse]] = {
        "visitor": lambda: visitor.asks(altcha=proof, idempotency_key="k"),
        "spent": lambda: visitor.asks("+493090182001", altcha=proof),
        "plain": lambda: visitor.asks("+493090182002", token=visitor.opens()),
        "staff": lambda: manager.requests_callback("+493090182009", key="the same key again"),
    }
    first = {name: answer() for name, answer in answers.items()}
    assert {name: answer.status_code for name, answer in first.items()} == {
        "visitor": 202, "spent": 400, "plain": 202, "staff": 201
    }  # fmt: skip
    answers["plain"]()
    with app.app_context():
        if is_postgresql():
            pytest.skip("PostgreSQL has no lock that all writers wait for")
        with writer_lock():
            again = {name: answer() for name, answer in answers.items()}
    assert {name: answer.status_code for name, answer in again.items()} == {
        "visitor": 202, "spent": 400, "plain": 429, "staff": 200
    }  # fmt: skip
    for name in ("visitor", "staff"):
        same = "reference" if name == "visitor" else "id"
        assert json_of(again[name])[same] == json_of(first[name])[same]

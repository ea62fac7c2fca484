"""What operators see of the app at ``/metrics``, and who may see it."""

import ast
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from bx24app.database import writing
from bx24app.metrics import instruments
from bx24app.models import (
    Callback,
    Credential,
    CredentialState,
    Portal,
    PortalState,
    State,
    Throttle,
    WebhookDelivery,
    utcnow,
)
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal, tokens
from bx24app.services.runtime.kept_answer import ANSWERS_STATE
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_call_events import fields
from tests.support import ROOT
from tests.support.actors import Actor, json_of
from tests.support.remembered import remember
from tests.support.scrapes import Scrape, scrape
from tests.support.sites import Site, status
from tests.support.statements import statements
from tests.support.waiting import NUMBER, accept, work
from tests.support.webhook_steps import added, asked, form, hurry, site, told_all

__all__ = ["form", "site"]

START = "voximplant.callback.start"


@pytest.fixture
def token() -> str:
    return remember(f"canary-{secrets.token_urlsafe(40)}")


@pytest.fixture
def environ(environ: dict[str, str], token: str) -> dict[str, str]:
    return {**environ, "BX24APP_METRICS_TOKEN": token}


Look = Callable[[], Scrape]


@pytest.fixture
def look(app: Flask, token: str) -> Look:
    """Scrape, as if the answers that are kept were old."""

    def now() -> Scrape:
        app.extensions.pop(ANSWERS_STATE, None)
        return scrape(app.test_client().get, token)

    return now


def grown(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    return after.get(name, **labels) - before.get(name, **labels)


def test_a_stranger_is_told_nothing_and_makes_no_work(app: Flask, client: FlaskClient, token: str) -> None:
    wrong = ["", "Bearer", "Bearer ", f"Bearer {token[:-1]}", f"Bearer {token}x", token, f"Basic {token}", "Bearer ü"]
    with statements(app) as ran:
        answers = [client.get("/metrics", headers={"Authorization": value}) for value in wrong]
        answers.append(client.get(f"/metrics?token={token}"))
    assert {answer.status_code for answer in answers} == {401}
    assert all(len(answer.data) < 10 and "bx24app" not in answer.text for answer in answers)
    assert ran == []


def test_without_a_token_there_is_no_such_page(other_app: Callable[..., Flask], token: str) -> None:
    closed = other_app(METRICS_TOKEN="")
    with statements(closed) as ran:
        for header in ("Bearer ", "Bearer None", f"Bearer {token}"):
            answer = closed.test_client().get("/metrics", headers={"Authorization": header})
            assert (answer.status_code, "bx24app_" in answer.text) == (404, False)
    assert ran == []


def test_a_call_is_followed_from_its_request_to_its_end(
    manager: Actor, worker: Worker, portal: FakePortal, look: Look, eventually: Eventually
) -> None:
    before = look()
    id = json_of(manager.requests_callback())["id"]
    eventually(lambda: manager.sees(id)["state"] == "started")
    call = portal.telephony.calls[0]
    call.manager_answers()
    eventually(lambda: manager.sees(id)["state"] == "answered")
    call.customer_answers()
    call.hang_up()
    eventually(lambda: manager.sees(id)["state"] == "completed")
    after = look()
    counted = {
        "bx24app_callbacks_accepted_total": {"source": "staff"},
        "bx24app_dial_wait_seconds_count": {"source": "staff"},
        "bx24app_answer_wait_seconds_count": {"source": "staff"},
        "bx24app_rest_requests_total": {"method": START, "code": "ok"},
        "bx24app_http_requests_total": {"method": "POST", "route": "/api/v1/callbacks", "status": "2xx"},
        "bx24app_http_request_seconds_count": {"route": "/api/v1/callbacks"},
    }
    assert {name: grown(before, after, name, **labels) for name, labels in counted.items()} == dict.fromkeys(counted, 1)
    for outcome in ("dialling", "started", "answered", "completed"):
        assert grown(before, after, "bx24app_attempts_total", outcome=outcome) == 1, outcome
        assert grown(before, after, "bx24app_callback_changes_total", source="staff", state=outcome) == 1, outcome
    # Its dial came at once, and the wait of the histogram is that of the person.
    assert grown(before, after, "bx24app_dial_wait_seconds_sum") < 30
    assert grown(before, after, "bx24app_events_total", event="ONVOXIMPLANTCALLSTART", late="no") == 1
    assert after.get("bx24app_job_last_success_timestamp_seconds", job_name="dial") > time.time() - 60
    assert grown(before, after, "bx24app_job_seconds_count", job_name="dial", step="work") == 1


@pytest.mark.parametrize(
    ("kind", "options", "outcome", "code"),
    [
        ("error", {"code": "ACCESS_DENIED"}, "refused", "bitrix24_access_denied"),
        ("error", {"code": "QUERY_LIMIT_EXCEEDED"}, "not_executed", "bitrix24_busy"),
        ("drop_after", {}, "unknown", "reset"),
    ],
)
def test_what_becomes_of_a_dial_is_counted(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    look: Look,
    kind: str,
    options: dict[str, str],
    outcome: str,
    code: str,
) -> None:
    portal.faults.add(kind, START, **options)
    before = look()
    accept(app)
    work(app)
    after = look()
    assert grown(before, after, "bx24app_attempts_total", outcome=outcome) == 1
    assert grown(before, after, "bx24app_attempts_total", outcome="started") == 0
    assert grown(before, after, "bx24app_rest_requests_total", method=START, code=code) == 1


def test_a_person_who_waited_for_access_is_seen_in_the_histogram(app: Flask, manager: Actor, look: Look) -> None:
    """A dial that is put off by some seconds again and again has waited since the call was asked for."""
    id = accept(app)
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        callback.expires_at -= timedelta(minutes=20)
    before = look()
    work(app)
    after = look()
    assert 1200 <= grown(before, after, "bx24app_dial_wait_seconds_sum", source="website") < 1260


def test_what_is_rolled_back_is_not_counted(app: Flask, manager: Actor, look: Look) -> None:
    id = accept(app)
    before = look()
    with app.app_context():
        with suppress(ZeroDivisionError), writing() as session:
            session.get_one(Callback, id).cancel(utcnow())
            session.flush()
            _ = 1 / 0
        assert grown(before, look(), "bx24app_callback_changes_total") == 0
        with writing() as session:
            session.get_one(Callback, id).cancel(utcnow())
    assert grown(before, look(), "bx24app_callback_changes_total", state="cancelled", source="website") == 1


def test_webhooks_are_counted_by_what_their_sites_say(
    app: Flask, administrator: Actor, site: Site, form: int, look: Look
) -> None:
    administrator.opens()
    added(administrator, site)
    site.answers += [status(503), status(404), lambda handler: handler.connection.close()]
    before = look()
    asked(app, form)
    for _ in range(4):
        told_all(app)
        hurry(app)
    after = look()
    for result in ("5xx", "4xx", "no_answer", "taken"):
        assert grown(before, after, "bx24app_webhook_deliveries_total", result=result) == 1, result


def test_renewals_are_counted_by_their_result(
    app: Flask, manager: Actor, portal: FakePortal, fake: FakeBitrix24, application: FakeApp, look: Look
) -> None:
    before = look()
    with app.app_context():
        id = tokens.service_credential_id(1)
        for condition in ("", "silent", "refused"):
            with writing() as session:
                session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
            if condition == "silent":
                fake.auth_server.faults.add("html_502", "oauth/token")
            if condition == "refused":
                portal.cloud.registry.revoke(application.client_id, portal.member_id)
            try:
                token_renewal.open_access(id)
            except ExchangeError:
                assert condition
    after = look()
    counted = {
        result: grown(before, after, "bx24app_renewals_total", result=result)
        for result in ("renewed", "failed", "refused")
    }
    assert counted == {"renewed": 1, "failed": 1, "refused": 1}


def test_events_count_once_they_are_proven(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp, look: Look
) -> None:
    before = look()
    call: dict[str, Any] = {"CALL_ID": "x.1", "PHONE_NUMBER": NUMBER}
    now, old = str(int(time.time())), str(int(time.time()) - 300)
    start = fields(portal, application, "ONVOXIMPLANTCALLSTART", call)
    sent = [
        (start | {"ts": now}, 200),
        (start | {"ts": old}, 200),
        ({name: value for name, value in start.items() if name != "ts"}, 200),
        (start | {"event": "ONSOMETHINGNEW", "ts": now}, 200),
        (start | {"auth[application_token]": "x" * 32, "ts": now}, 403),
        (start | {"event": "ONAPPPAYMENT", "ts": now}, 200),
    ]
    for event, answer in sent:
        assert client.post("/events", data=event).status_code == answer
    after = look()
    assert grown(before, after, "bx24app_events_total") == 4
    for late in ("yes", "no", "not_told"):
        assert grown(before, after, "bx24app_events_total", event="ONVOXIMPLANTCALLSTART", late=late) == 1
    assert grown(before, after, "bx24app_events_total", event="other") == 1


def test_the_gauges_are_those_of_the_database(app: Flask, manager: Actor, form: int, look: Look) -> None:
    accept(app, to_number="+4930901821", due_at=utcnow() - timedelta(minutes=5))
    accept(app, to_number="+4930901822")
    accept(app, to_number="+4930901823", due_at=utcnow() + timedelta(hours=1), source="staff")
    unknown = accept(app, to_number="+4930901824")
    with app.app_context(), writing() as session:
        now = utcnow()
        asks = session.get_one(Callback, unknown)
        asks.state, asks.asks_since, asks.updated_at = State.UNKNOWN, now - timedelta(hours=2), now
        session.execute(update(Throttle).values(dial_at=now + timedelta(minutes=1), paused_for="overload_limit"))
        session.execute(update(Portal).values(state=PortalState.DISCONNECTED))
        session.execute(update(Credential).values(state=CredentialState.DEAD))
    found = look()
    assert found.get("bx24app_callbacks", state="queued", source="website") == 2
    assert found.get("bx24app_callbacks", state="scheduled", source="staff") == 1
    assert found.get("bx24app_callbacks", state="unknown") == 1
    assert (found.get("bx24app_callbacks_due"), found.get("bx24app_callbacks_overdue")) == (2, 1)
    assert 300 <= found.get("bx24app_oldest_due_seconds") < 360
    assert found.get("bx24app_callbacks_waiting_for_person") == 1
    assert 7200 <= found.get("bx24app_oldest_question_seconds") < 7260
    assert found.get("bx24app_portals", state="disconnected") == 1
    assert found.get("bx24app_portals_at_limit", told_by="portal") == 1
    assert found.get("bx24app_portals_at_limit", told_by="app") == 0
    assert found.get("bx24app_credentials", state="dead") >= 1
    assert found.get("bx24app_credentials", state="alive") == 0
    assert found.get("bx24app_database_bytes") > 100_000
    assert found.get("bx24app_database_up") == 1


def test_webhooks_that_wait_have_an_age(app: Flask, administrator: Actor, site: Site, form: int, look: Look) -> None:
    administrator.opens()
    added(administrator, site)
    assert look().get("bx24app_oldest_webhook_seconds") == 0
    asked(app, form)
    with app.app_context(), writing() as session:
        session.execute(update(WebhookDelivery).values(made_at=utcnow() - timedelta(hours=3)))
    found = look()
    assert found.get("bx24app_webhooks_pending") == 1
    assert 10_800 <= found.get("bx24app_oldest_webhook_seconds") < 10_860


def test_the_database_is_asked_once_in_ten_seconds_and_no_writer_waits(
    app: Flask, manager: Actor, client: FlaskClient, token: str
) -> None:
    scrape(client.get, token)
    with statements(app) as ran:
        for _ in range(5):
            scrape(client.get, token)
        assert ran == []
        app.extensions.pop(ANSWERS_STATE)
        # Who writes has SQLite's lock, and rows of PostgreSQL.
        with app.app_context(), writing() as session:
            session.execute(update(Portal).values(state=PortalState.UNPAID))
            with ThreadPoolExecutor(1) as other:
                found = other.submit(scrape, app.test_client().get, token).result(5)
    assert found.get("bx24app_portals", state="installed") == 1
    assert {sql.split()[0] for sql in ran} <= {"BEGIN", "SELECT", "UPDATE"}


def test_without_a_database_the_process_tells_what_it_has_counted(
    manager: Actor, other_app: Callable[..., Flask], token: str, tmp_path: Any
) -> None:
    lost = other_app(DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder.db")
    found = scrape(lost.test_client().get, token)
    assert found.get("bx24app_database_up") == 0
    assert found.get("bx24app_http_requests_total") > 0
    assert "bx24app_callbacks_due" not in found.names


def test_labels_hold_nothing_that_others_choose(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, token: str
) -> None:
    portal.faults.add("error", START, code="A_CODE_OF_THEIRS", words="words of theirs")
    accept(app)
    work(app)
    client.open("/healthz", method="BREW")
    client.get(f"/nowhere/{NUMBER}")
    client.get(f"/c/{NUMBER}")
    manager.asks("GET", f"/callbacks?q={NUMBER[-6:]}")
    text = client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    for theirs in (NUMBER[1:], NUMBER[-6:], portal.member_id, "theirs", "THEIRS", "BREW", "reg150907", "alpha"):
        assert theirs not in text, theirs
    routes = {rule.rule for rule in app.url_map.iter_rules()} | {"none"}
    assert {part.split('"')[0] for part in text.split('route="')[1:]} <= routes


def test_every_method_that_portals_are_asked_for_has_its_name() -> None:
    """Else it would be counted as another one."""
    senders = {"RequestLabel", "_ask", "_try", "_unless_gone"}
    for path in (ROOT / "bx24app" / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                named = node.args if name in senders else []
            elif isinstance(node, ast.Assign) and "method" in ast.unparse(node.targets[0]):
                named = [node.value]
                named += node.value.elts if isinstance(node.value, ast.Tuple) else []
            texts = [one.value for one in named if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            assert {text for text in texts if "." in text} <= instruments.REST_METHODS, path

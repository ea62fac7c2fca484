"""Every log line says which request or job it is about, and for which portal, and nothing about people."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient

from bx24app.errors import DatabaseBusy
from bx24app.services.security import signing
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import Actor, post_frame
from tests.support.waiting import NUMBER, accept, seen

ID = "X-Request-ID"


class Lines(logging.Handler):
    """What the operator's log holds, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[str] = []
        [ours] = [handler for handler in logging.getLogger().handlers if handler.get_name() == "bx24app"]
        self.setFormatter(ours.formatter)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("bx24app"):
            self.whole.append(self.format(record))

    def about(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.whole) if line["event"] == event]


@pytest.fixture
def lines(app: Flask) -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("told", ["req-2026-11-26", "a" * 64, "0A1b2C3d"])
def test_an_id_that_looks_sane_is_kept(client: FlaskClient, told: str) -> None:
    assert client.get("/healthz", headers={ID: told}).headers[ID] == told


@pytest.mark.parametrize("told", ["", "short", "a" * 65, "a b c d e f", "x" * 8 + "\xe9", "<script>alert", NUMBER[1:]])
def test_any_other_is_replaced(client: FlaskClient, told: str) -> None:
    given = [client.get("/healthz", headers={ID: told}).headers[ID] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in given)
    assert given[0] != given[1]


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/callbacks", "/w/unknownform1", "/openapi"])
def test_answers_of_every_kind_carry_it(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={ID: "req-12345"}).headers[ID] == "req-12345"
    assert client.delete("/healthz", headers={ID: "req-12345"}).headers[ID] == "req-12345"


def test_a_mistake_of_ours_is_logged_with_the_id_that_the_answer_has(
    app: Flask, client: FlaskClient, lines: Lines
) -> None:
    def breaks() -> str:
        raise RuntimeError("a mistake")

    app.view_functions["operations.healthz"] = breaks
    answer = client.get("/healthz")
    assert answer.status_code == 500
    assert [line["request_id"] for line in lines.about("failed")] == [answer.headers[ID]]


def test_a_request_names_its_portal_once_it_is_proven(
    administrator: Actor, lines: Lines, portal: FakePortal, fake: FakeBitrix24, application: FakeApp
) -> None:
    other = fake.add_portal("beta")
    assert administrator.installs().status_code == 200
    neighbour = Actor(administrator.client, other, application, other.administrator)
    assert neighbour.installs().status_code == 200
    installed = lines.about("installed")
    assert [line["portal"] for line in installed] == [portal.member_id, other.member_id]
    assert len({line["request_id"] for line in installed}) == 2
    forged = administrator.launches()
    form = {**forged.form, "AUTH_ID": "nobody-knows-this"}
    refused = administrator.client.post("/", query_string=forged.query, data=form)
    assert refused.status_code == 403
    [unproven] = lines.about("unverified")
    assert "portal" not in unproven
    assert unproven["request_id"] == refused.headers[ID]


def test_nothing_of_a_request_is_left_for_the_next(app: Flask, manager: Actor, lines: Lines) -> None:
    assert manager.asks("GET", "/callbacks").status_code == 200
    assert structlog.contextvars.get_contextvars() == {}
    manager.client.get("/nowhere")
    assert structlog.contextvars.get_contextvars() == {}


def test_an_event_with_a_wrong_token_names_no_portal(
    manager: Actor, portal: FakePortal, lines: Lines, client: FlaskClient
) -> None:
    auth = {"member_id": portal.member_id, "application_token": "x" * 32}
    event = dict(http_build_query({"event": "ONVOXIMPLANTCALLINIT", "data": {}, "ts": "1795470751", "auth": auth}))
    assert client.post("/events", data=event).status_code == 403
    assert all("portal" not in line for line in lines.about("unverified"))


def test_a_job_is_named_with_the_portal_that_it_works_for(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    fake: FakeBitrix24,
    application: FakeApp,
    lines: Lines,
    eventually: Eventually,
) -> None:
    other = fake.add_portal("beta")
    Actor(manager.client, other, application, other.administrator).installs()
    ids = [(accept(app), 1), (accept(app, portal_id=2), 2)]
    with working(app):
        eventually(lambda: all(seen(app, *id).attempts for id in ids))
        eventually(lambda: len(lines.about("dialled")) == 2)
    dialled = {line["callback"]: line for line in lines.about("dialled")}
    assert {line["job"] for line in dialled.values()} == {"dial"}
    assert [dialled[str(id)]["portal"] for id, _ in ids] == [portal.member_id, other.member_id]
    assert all("request_id" not in line for line in dialled.values())
    assert NUMBER not in "".join(lines.whole)
    assert post_frame(manager.client, "/", manager.launches()).status_code == 200


@pytest.mark.parametrize("error", [DatabaseBusy, RuntimeError])
@pytest.mark.parametrize("path", ["", "/cancel", "/reschedule"])
def test_no_line_holds_a_customer_s_link(
    client: FlaskClient, lines: Lines, monkeypatch: pytest.MonkeyPatch, error: type[Exception], path: str
) -> None:
    def fails(_: str) -> None:
        raise error

    monkeypatch.setattr(signing, "read_link", fails)
    method = "POST" if path else "GET"
    status = client.open(f"/c/the-signed-link{path}", method=method, json={} if path else None).status_code
    assert status in (500, 503)
    [line] = lines.about("failed") + lines.about("database_busy")
    assert line["route"] == f"/c/<signed>{path}"
    assert "the-signed-link" not in "".join(lines.whole)

"""Requests from websites: taken once, answered honestly, and silent to strangers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.exc import DBAPIError

from bx24app.database import compiled, db, group_commit, reading, writing
from bx24app.models import Callback, DecoyRequest, Portal, PortalSettings, Rejection, WebsiteRequest, utcnow
from bx24app.services.security.last_restore import is_signed_since
from bx24app.services.websites import challenge, rejections
from bx24app.worker.worker import Worker
from tests.conftest import Eventually, OtherApp
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

EVENING = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
OFFICE = {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]], "thu": [["09:00", "18:00"]]}}


def rows(app: Flask, model: type[Any]) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


def watch_writes(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, Any]]]:
    """Collect the statements of every guarded write, with their parameters."""
    trips: list[list[tuple[str, Any]]] = []

    @contextmanager
    def watched(*_: float) -> Iterator[Any]:
        trips.append([])
        with compiled.compiled_writing() as run:

            def noted(bound: compiled.Bound) -> Any:
                trips[-1].append((bound.sql, bound.parameters))
                return run(bound)

            yield noted

    monkeypatch.setattr(group_commit, "compiled_writing", watched)
    return trips


def test_a_request_is_taken_and_its_link_shows_where_it_stands(app: Flask, visitor: Visitor) -> None:
    response = visitor.asks("030 901820", name="Anna", page="https://example.com/a?utm_source=ad&x=1")
    answer = json_of(response)
    assert (response.status_code, answer["state"]) == (202, "queued")
    assert set(answer) == {"reference", "status_url", "state", "expected_at"}
    status = json_of(visitor.looks(answer["status_url"]))
    assert (status["state"], status["can_cancel"], status["can_reschedule"]) == ("queued", True, True)
    [callback], [beside] = rows(app, Callback), rows(app, WebsiteRequest)
    assert (callback.to_number, callback.source, str(callback.id)) == (CUSTOMER, "website", answer["reference"])
    assert "Anna" in callback.text
    assert (beside.utm, beside.address, beside.name) == ({"utm_source": "ad"}, "203.0.113.7", "Anna")
    assert (beside.consent_text, beside.consent_at) == (None, None)


def test_a_request_for_a_known_form_asks_the_database_once(app: Flask, visitor: Visitor) -> None:
    proof, lent, asking = visitor.works(), [], threading.get_ident()

    def note(*_: object) -> None:
        # The ring that wakes a worker is sent by a thread of its own.
        if threading.get_ident() == asking:
            lent.append(1)

    with app.app_context():
        is_signed_since(utcnow())  # Which a process asks once.
        event.listen(db.engine, "checkout", note)
        try:
            assert visitor.asks(altcha=proof).status_code == 202
        finally:
            event.remove(db.engine, "checkout", note)
    assert len(lent) == 1


@pytest.mark.parametrize(
    ("before", "after", "statuses"),
    [
        ({}, {"is_on": False}, (202, 403)),
        ({"is_on": False}, {"is_on": True}, (403, 202)),
        ({}, {"consent_text": "You may call me."}, (202, 400)),
        ({"blocked_prefixes": ["+4930"]}, {"blocked_prefixes": []}, (422, 202)),
        ({}, None, (202, 404)),
    ],
    ids=["off", "on", "stricter", "laxer", "removed"],
)
def test_a_change_of_the_form_counts_for_the_next_request(
    desk: Actor,
    visitor_of: MakeVisitor,
    before: dict[str, Any],
    after: dict[str, Any] | None,
    statuses: tuple[int, int],
) -> None:
    visitor = visitor_of(**before)
    proofs = [visitor.works() for _ in statuses]
    found = [visitor.asks("030 901820", altcha=proofs[0]).status_code]
    address = f"/forms/{visitor.form_key}"
    changed = desk.asks("DELETE", address) if after is None else desk.asks("PATCH", address, after)
    assert changed.status_code in (200, 204)
    found.append(visitor.asks("030 901821", altcha=proofs[1]).status_code)
    assert tuple(found) == statuses


def test_a_worker_dials_what_was_taken(
    visitor: Visitor, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    url = json_of(visitor.asks())["status_url"]
    eventually(lambda: json_of(visitor.looks(url))["state"] == "started")
    assert [dial["number"] for dial in portal.telephony.dials] == [CUSTOMER]
    assert json_of(visitor.looks(url))["can_cancel"] is False


def test_consent_is_kept_with_text_version_time_and_address(app: Flask, desk: Actor, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(consent_text="You may call me.")
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"consent_text": "You may call me back."})
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"name": "Other", "consent_text": "You may call me back."})
    assert visitor.asks(consent=True).status_code == 202
    [beside] = rows(app, WebsiteRequest)
    assert (beside.consent_text, beside.consent_version) == ("You may call me back.", 2)
    assert (beside.consent_at, beside.address) == (beside.created_at, "203.0.113.7")


def test_the_same_request_again_gets_the_same_answer(app: Flask, visitor: Visitor) -> None:
    first = json_of(visitor.asks(idempotency_key="one", name="Anna"))
    again = visitor.asks(idempotency_key="one", name="Anna")
    assert (again.status_code, json_of(again)) == (202, first)
    assert len(rows(app, Callback)) == 1
    assert rows(app, DecoyRequest) == []


def test_the_same_proof_again_is_a_repeat_under_its_key_and_a_replay_under_another(
    app: Flask, visitor: Visitor
) -> None:
    proof = visitor.works()
    first = visitor.asks(altcha=proof, idempotency_key="one")
    assert json_of(visitor.asks(altcha=proof, idempotency_key="one")) == json_of(first)
    replayed = visitor.asks("040 42828", altcha=proof, idempotency_key="two")
    assert (replayed.status_code, json_of(replayed)["code"]) == (400, "invalid_request")
    assert [row.rule for row in rows(app, Rejection)] == ["proof_unspent"]


def test_the_same_key_with_another_request_is_refused(visitor: Visitor) -> None:
    visitor.asks(idempotency_key="one", name="Anna")
    response = visitor.asks(idempotency_key="one", name="Bert")
    assert (response.status_code, json_of(response)["code"]) == (422, "idempotency_key_reused")


def test_a_repeat_is_answered_after_the_hours_have_ended(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(hours=OFFICE)
    with time_machine.travel(datetime(2026, 11, 26, 16, 59, 50, tzinfo=UTC)):
        first = json_of(visitor.asks(idempotency_key="one"))
    with time_machine.travel(datetime(2026, 11, 26, 17, 0, 10, tzinfo=UTC)):
        assert json_of(visitor.asks(idempotency_key="one")) == first
        assert visitor.asks(idempotency_key="two").status_code == 409


def test_outside_of_the_hours_free_times_are_offered(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(hours=OFFICE)
    with time_machine.travel(EVENING):
        response = visitor.asks()
        refused = json_of(response)
        assert (response.status_code, refused["code"]) == (409, "outside_hours")
        assert refused["slots"][0] == "2026-11-26T08:00:00Z"
        offered = json_of(visitor.client.get(f"/w/{visitor.form_key}/slots"))
        assert (offered["is_open"], offered["slots"]) == (False, refused["slots"])
        taken = json_of(visitor.asks(scheduled_at=refused["slots"][0]))
        assert (taken["state"], taken["expected_at"]) == ("scheduled", refused["slots"][0])


@pytest.mark.parametrize("after", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "never", ""])
def test_free_times_after_any_moment_can_be_asked(visitor: Visitor, after: str) -> None:
    assert visitor.client.get(f"/w/{visitor.form_key}/slots", query_string={"from": after}).status_code == 200


def test_without_javascript_the_page_leads_to_the_customers_page(app: Flask, visitor: Visitor) -> None:
    form = {"number": "030 901820", "token": visitor.opens(), "idempotency_key": "one", "name": "Anna"}
    headers = {"Accept": "text/html,*/*;q=0.8", "Origin": visitor.origin}
    path = f"/w/{visitor.form_key}/callbacks"
    wrong = visitor.client.post(path, data=form | {"number": "12"}, headers=headers)
    assert (wrong.status_code, "This is not a phone number" in wrong.text, "Anna" in wrong.text) == (
        422,
        True,
        True,
    )
    response = visitor.client.post(path, data=form, headers=headers)
    assert response.status_code == 303
    assert "You&#39;re next" in visitor.client.get(response.headers["Location"], headers=headers).text
    # What was not worked for has a third of the limits, and a token is used once.
    again = visitor.client.post(path, data=form | {"number": "040 42828", "idempotency_key": "two"}, headers=headers)
    assert (again.status_code, [row.rule for row in rows(app, Rejection)][-1]) == (400, "proof_unspent")
    fresh = form | {"number": "040 42828", "token": visitor.opens()}
    more = visitor.client.post(path, data=fresh, headers=headers)
    assert (more.status_code, [row.rule for row in rows(app, Rejection)][-1]) == (429, "address_hour")
    assert visitor.asks("040 42828", idempotency_key="three").status_code == 202


def test_refusals_speak_the_visitors_language_among_the_forms(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of()
    visitor.language = "ru-RU,ru;q=0.9"
    assert "номер" in json_of(visitor.asks("12345"))["detail"].lower()
    only_english = visitor_of(languages=["en"])
    only_english.language = "ru"
    assert json_of(only_english.asks("12345"))["detail"].startswith("This is not a phone number")


def test_a_visitor_is_not_told_that_a_number_is_listed_and_the_portal_is(
    desk: Actor, visitor: Visitor, app: Flask
) -> None:
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201
    listed, other = visitor.asks(idempotency_key="one"), visitor.asks("040 42828")
    assert (listed.status_code, set(json_of(listed))) == (other.status_code, set(json_of(other)))
    assert [str(row.id) for row in rows(app, DecoyRequest)] == [json_of(listed)["reference"]]
    assert [row.to_number for row in rows(app, Callback)] == ["+494042828"]
    [rejection] = rows(app, Rejection)
    assert (rejection.rule, rejection.inputs["network"]) == ("do_not_call", "203.0.113.7")
    assert CUSTOMER not in str(rejection.inputs)
    assert json_of(visitor.asks(idempotency_key="one"))["reference"] == json_of(listed)["reference"]
    assert len(rows(app, Rejection)) == 1


@pytest.mark.parametrize(
    ("switch", "rule"), [({"websites_off": True}, "websites_on"), ({"default_line_id": ""}, "line")]
)
def test_a_form_that_is_closed_says_so(
    app: Flask, desk: Actor, visitor_of: MakeVisitor, switch: dict[str, Any], rule: str
) -> None:
    visitor = visitor_of(line_id=None)
    desk.asks("PATCH", "/settings", {"default_line_id": next(iter(desk.portal.lines))})
    assert visitor.asks("040 42828").status_code == 202
    assert desk.asks("PATCH", "/settings", switch).status_code == 200
    response = visitor.asks()
    assert (response.status_code, json_of(response)["code"]) == (403, "not_permitted")
    assert rows(app, Rejection)[-1].rule == rule
    [form] = json_of(desk.asks("GET", "/forms"))["forms"]
    assert form["problems"] == [rule]
    page = visitor.client.get(f"/w/{visitor.form_key}")
    assert (page.status_code, "We can't call you back now" in page.text) == (200, True)


@pytest.mark.parametrize("state", ["disconnected", "unpaid", "uninstalled"])
def test_a_portal_that_the_app_cannot_work_for_takes_no_requests(app: Flask, visitor: Visitor, state: str) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(state=state))
    response = visitor.asks()
    assert (response.status_code, json_of(response)["code"]) == (403, "not_permitted")
    assert [(row.rule, row.inputs["state"]) for row in rows(app, Rejection)] == [("portal_ready", state)]


def test_a_removed_form_is_gone_and_what_it_took_is_dialled(
    desk: Actor, visitor: Visitor, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    portal.events.pause()
    url = json_of(visitor.asks())["status_url"]
    assert desk.asks("DELETE", f"/forms/{visitor.form_key}").status_code == 204
    assert visitor.posts({"number": CUSTOMER}).status_code == 404
    assert visitor.client.get(f"/w/{visitor.form_key}").status_code == 404
    eventually(lambda: len(portal.telephony.dials) == 1)
    assert visitor.looks(url).status_code == 200


@rows_in_one_world(
    ("body", "status"),
    [
        (b"{" * 5000, 400),
        (b"[" * 8000, 400),
        (b"", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'"number"', 400),
        (b'{"number": ["\xff"]}', 400),
        (b'{"number": ["\\ud800"]}', 400),
        (b'{"number": 1e999}', 400),
        (b'{"number": NaN}', 400),
        (b'{"number": "1", "number": {}}', 400),
        (b'{"number": "' + b"1" * 70_000 + b'"}', 413),
        (b"x" * 2_000_000, 413),
    ],
)
@rows_in_one_world("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_bodies_that_are_no_requests_are_refused_clearly(
    app: Flask, visitor: Visitor, body: bytes, status: int, kind: str
) -> None:
    headers = {"Origin": visitor.origin, "Content-Type": kind}
    response = visitor.client.post(f"/w/{visitor.form_key}/callbacks", data=body, headers=headers)
    assert response.status_code == status
    assert json_of(response)["code"] == "invalid_request"
    assert rows(app, Callback) == []


def test_a_flood_of_refusals_is_counted_but_does_not_fill_the_database(desk: Actor, visitor: Visitor) -> None:
    flood = rejections.ROWS_AN_HOUR + 7
    for _ in range(flood):
        assert visitor.posts({"number": "12345", "altcha": ""}).status_code == 400
    shown = json_of(desk.asks("GET", f"/forms/{visitor.form_key}/refusals?limit=200"))
    assert shown["counts"] == {"proof": flood}
    # One address has a row for each of a few in a minute; the others are counted.
    assert rejections.WRITES_FOR_ADDRESS <= len(shown["refusals"]) <= rejections.ROWS_AN_HOUR
    assert sum(row["count"] for row in shown["refusals"]) == flood


def test_a_refusal_keeps_its_rule_and_no_whole_number(app: Flask, visitor: Visitor) -> None:
    visitor.asks("+1 212 555 0146")
    [refusal] = rows(app, Rejection)
    assert (refusal.rule, refusal.inputs["country"], refusal.inputs["network"]) == ("country", "US", "203.0.113.7")
    assert "2125550146" not in str(refusal.inputs)
    assert len(refusal.inputs["number_digest"]) == 64


def test_sites_of_the_form_may_post_and_frame_and_no_others(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(allowed_origins=["https://Shop.example/", "https://müller.example"])
    path = f"/w/{visitor.form_key}"
    page = visitor.client.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors 'self' https://shop.example https://xn--mller-kva.example")
    assert page.headers["Referrer-Policy"] == "same-origin"
    asked = visitor.client.options(f"{path}/callbacks", headers={"Origin": "https://shop.example"})
    assert asked.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = visitor.client.options(f"{path}/callbacks", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example/path",
        "ftp://shop.example",
        "shop.example",
        "https://*.example",
        "https://a b",
        "*",
        "null",
    ],
)
def test_an_origin_that_is_none_is_not_kept(desk: Actor, origin: str) -> None:
    response = desk.asks("POST", "/forms", {"name": "x", "default_country": "DE", "allowed_origins": [origin]})
    assert (response.status_code, json_of(response)["errors"][0]["field"]) == (400, "allowed_origins.0")


def test_only_trusted_proxies_say_whose_address_it_is(app: Flask, visitor: Visitor, other_app: OtherApp) -> None:
    visitor.headers = {"X-Forwarded-For": "192.0.2.99"}
    visitor.asks()
    assert rows(app, WebsiteRequest)[-1].address == "203.0.113.7"
    behind = Visitor(other_app(TRUSTED_PROXIES="1").test_client(), visitor.form_key, origin=visitor.origin)
    behind.headers = {"X-Forwarded-For": "10.9.9.9, 192.0.2.99"}
    assert behind.asks("040 42828").status_code == 202
    assert rows(app, WebsiteRequest)[-1].address == "192.0.2.99"


def test_another_portals_forms_are_not_found(desk: Actor, visitor: Visitor, app: Flask) -> None:
    other = desk.portal.cloud.add_portal("beta")
    stranger = Actor(app.test_client(), other, desk.application, other.administrator)
    assert stranger.installs().status_code == 200
    path = f"/forms/{visitor.form_key}"
    asked = [
        stranger.asks("GET", path),
        stranger.asks("PATCH", path, {"is_on": False}),
        stranger.asks("DELETE", path),
        stranger.asks("GET", f"{path}/refusals"),
        stranger.asks("POST", "/rules/test", {"form_key": visitor.form_key, "number": CUSTOMER}),
        stranger.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "x"}),
    ]
    assert [response.status_code for response in asked] == [404] * 6
    assert json_of(stranger.asks("GET", "/forms"))["forms"] == []


def test_what_is_for_administrators_is_not_for_managers(manager: Actor, visitor: Visitor) -> None:
    paths = ["/forms", f"/forms/{visitor.form_key}", "/api-keys", "/do-not-call", "/do-not-call/export"]
    assert [manager.asks("GET", path).status_code for path in paths] == [403] * 5
    assert manager.asks("POST", "/rules/test", {"form_key": visitor.form_key, "number": "1"}).status_code == 403


@pytest.mark.parametrize("budget", [None, 5])
def test_a_request_is_kept_in_one_trip(
    app: Flask, visitor_of: MakeVisitor, monkeypatch: pytest.MonkeyPatch, budget: int | None
) -> None:
    visitor = visitor_of(budget_calls=budget)
    trips = watch_writes(monkeypatch)
    for key in (None, "one"):
        taken = visitor.asks(f"030 90182{len(key or '')}", idempotency_key=key, name="Anna")
        assert taken.status_code == 202, taken.text
    assert len(rows(app, Callback)) == len(rows(app, WebsiteRequest)) == 2
    assert len(trips) == 2
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql"):
        assert [len(statements) for statements in trips] == [1, 1]


def test_a_change_by_another_process_counts_at_once(
    app: Flask, visitor: Visitor, administrator: Actor, other_app: OtherApp
) -> None:
    assert visitor.asks().status_code == 202
    other = other_app()
    with other.app_context(), writing() as session:
        session.execute(update(PortalSettings).values(websites_off=True))
    assert visitor.asks("040 42828").status_code == 403
    with other.app_context(), writing() as session:
        session.scalars(select(Portal)).one().settings.websites_off = False
    assert visitor.asks("040 42828").status_code == 202


def test_what_a_database_server_logs_of_a_refusal_tells_nothing_of_the_visitor(
    app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    @contextmanager
    def watched(*_: float) -> Iterator[Any]:
        try:
            with compiled.compiled_writing() as run:
                yield run
        except DBAPIError as error:
            refused.append(f"{error} {error.orig.diag.message_detail}")  # type: ignore[union-attr]
            raise

    monkeypatch.setattr(group_commit, "compiled_writing", watched)
    proof = visitor.works()
    assert visitor.asks(name="Clara Fall", altcha=proof).status_code == 202
    assert visitor.asks("040 42828", name="Clara Fall", altcha=proof).status_code == 400
    for status in (202, 202, 202, 202, 429):
        assert visitor.asks(name="Clara Fall").status_code == status
    # SQLite's writers stand in line, so that nobody meets a request of the same moment.
    assert len(refused) == (2 if app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql") else 0)
    for words in refused:
        assert "division by zero" in words
        assert not any(secret in words for secret in ("Clara", "901820", "4042828"))


@pytest.mark.parametrize("budget", [None, 5])
def test_a_planned_request_for_a_number_in_hand_is_called_besides(
    app: Flask, visitor_of: MakeVisitor, budget: int | None
) -> None:
    visitor = visitor_of(budget_calls=budget)
    assert visitor.asks().status_code == 202
    later = (utcnow() + timedelta(hours=2)).isoformat()
    planned = json_of(visitor.asks(scheduled_at=later))
    assert planned["state"] == "scheduled"
    assert (len(rows(app, Callback)), len(rows(app, DecoyRequest))) == (2, 0)


def test_nothing_is_lost_where_references_are_not_watched(app: Flask, visitor: Visitor) -> None:
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        with app.app_context():
            event.listen(db.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA foreign_keys=OFF"))
    for _ in range(2):
        assert visitor.asks().status_code == 202
    assert [len(rows(app, model)) for model in (Callback, WebsiteRequest, DecoyRequest)] == [1, 1, 1]


def test_the_driver_need_not_read_the_one_statement_again(
    app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = watch_writes(monkeypatch)
    assert visitor.asks(name="Anna", idempotency_key="one").status_code == 202
    [statements] = trips
    for sql, parameters in statements:
        assert len(sql) <= 4096
        assert len(parameters) <= 50


def test_an_address_gets_so_many_challenges_a_minute_and_others_are_not_kept_out(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge, "CHALLENGES_FOR_ADDRESS", 5)
    path = f"/w/{visitor.form_key}/challenge"
    answers = [visitor.client.get(path, environ_base={"REMOTE_ADDR": "203.0.113.7"}) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert json_of(answers[-1])["code"] == "rate_limited"
    assert visitor.client.get(path, environ_base={"REMOTE_ADDR": "203.0.113.8"}).status_code == 200
    # Whoever gets none sends the form with the token of the page, as a browser without script does.
    assert visitor.asks(token=visitor.opens()).status_code == 202

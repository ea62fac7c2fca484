"""Numbers and lines of any length from outside: refused or taken, never a mistake of ours."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, request, request_started
from flask.testing import FlaskClient
from sqlalchemy import select

from bx24app.bitrix24.telephony import HistoryRow
from bx24app.database import migrations, reading
from bx24app.models import Callback, DecoyRequest, Rejection
from bx24app.services.runtime.kept_answer import ANSWERS_STATE
from bx24app.web.heads import LONGEST_LIST, first_of_list
from tests.conftest import OtherApp
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.scenarios.test_call_events import fields
from tests.support.actors import Actor, json_of
from tests.support.statements import statements
from tests.support.tables import rows_in_one_world
from tests.support.waiting import NUMBER
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}
LONG = "9" * 25
CALL = {"CALL_ID": "callback.1", "CALL_TYPE": "4", "CALL_FAILED_CODE": "200", "PORTAL_USER_ID": "1"}
FIELDS = (
    "CALL_TYPE",
    "USER_ID",
    "PORTAL_USER_ID",
    "CALL_DURATION",
    "COST",
    "CALL_FAILED_CODE",
    "CALL_ID",
    "PHONE_NUMBER",
)
NUMBERS = (LONG, "-" + LONG, str(2**31), str(2**63), "1" * 4000, "1e400", "-1", "NaN", "Infinity", "0." + "3" * 5000)


@rows_in_one_world("name", FIELDS)
def test_no_number_in_an_event_fails(
    client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp, name: str
) -> None:
    for value in NUMBERS:
        sent = fields(portal, application, "ONVOXIMPLANTCALLEND", {**CALL, name: value})
        status = client.post("/events", data=sent).status_code
        assert status in (200, 400), value
        if name == "CALL_TYPE":
            assert status == 400, value


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", LONG, "1e400", "-1"])
def test_no_moment_in_an_event_fails(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp, moment: str
) -> None:
    sent = fields(portal, application, "ONVOXIMPLANTCALLEND", CALL | {"CALL_START_DATE": moment})
    assert client.post("/events", data=sent).status_code == 200
    assert HistoryRow.model_validate({"ID": 1, "CALL_ID": "c", "CALL_START_DATE": moment}).CALL_START_DATE is None


@rows_in_one_world("ts", [LONG, "1" * 4000, "-1", "1.5"])
def test_no_time_of_an_event_fails(
    client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp, ts: str
) -> None:
    for name in ("ONVOXIMPLANTCALLEND", "ONAPPUNINSTALL", "ONAPPPAYMENT", "ONAPPUPDATE"):
        assert client.post("/events", data=fields(portal, application, name, CALL) | {"ts": ts}).status_code == 400


@pytest.mark.parametrize(
    "line",
    [
        "9" * 140_000,
        NUMBER + "," + "n" * 140_000,
        NUMBER + ',"' + "n" * 140_000,
        '"' * 140_001,
        NUMBER + ";" + ";" * 140_000,
        "\t" * 140_000,
    ],
)
def test_no_line_of_a_list_fails(desk: Actor, line: str) -> None:
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/plain"}
    response = desk.client.post("/api/v1/do-not-call/import", data=f"+494042828\n{line}\n{NUMBER}", headers=headers)
    assert response.status_code == 200
    assert [one["outcome"] for one in json_of(response)["lines"]][::2] in (["added", "added"], ["added", "known"])


BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/callbacks", {"to_number": NUMBER, "crm_entity": {"type": "LEAD", "id": "?"}}),
    ("POST", "/callbacks", {"to_number": NUMBER, "scheduled_at": "?"}),
    ("PATCH", "/settings", {"retries": "?"}),
    ("PATCH", "/settings", {"line_cap": "?"}),
    ("POST", "/forms", {"name": "x", "default_country": "DE", "limits": {**PLENTY, "number_day": "?"}}),
    ("POST", "/forms", {"name": "x", "default_country": "DE", "budget_calls": "?"}),
    ("POST", "/forms", {"name": "x", "default_country": "DE", "budget_money": "?"}),
    ("POST", "/forms", {"name": "x", "default_country": "DE", "retries": "?"}),
    ("POST", "/rules/test", {"number": "?"}),
    ("POST", "/do-not-call", {"number": "?"}),
]
WRITTEN = (
    LONG,
    "-" + LONG,
    "1" * 4000,
    "1" * 5000,
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    '"' + "1" * 4000 + '"',
    "2.5e300",
)


@rows_in_one_world(("method", "path", "body"), BODIES)
def test_no_number_in_a_body_fails(desk: Actor, method: str, path: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "application/json"}
    for written in WRITTEN:
        sent = json.dumps(body).replace('"?"', written)
        response = desk.client.open(f"/api/v1{path}", method=method, data=sent, headers=headers)
        assert 400 <= response.status_code < 500, (written[:30], response.text)


@pytest.mark.parametrize("field", ["number", "scheduled_at", "name", "consent", "altcha", "token", "idempotency_key"])
def test_no_number_in_a_visitors_body_fails(visitor_of: MakeVisitor, field: str) -> None:
    visitor = visitor_of(limits=PLENTY)
    for written in WRITTEN:
        sent = json.dumps({"number": NUMBER, field: "?"}).replace('"?"', written)
        path = f"/w/{visitor.form_key}/callbacks"
        response = visitor.client.post(path, data=sent, headers={"Content-Type": "application/json"})
        assert 400 <= response.status_code < 500, written[:30]


@rows_in_one_world("query", ["limit=?", "cursor=?", "from=?", "to=?", "q=?", "state=?"])
def test_no_number_in_a_query_fails(desk: Actor, query: str) -> None:
    for path in ("/callbacks", "/do-not-call"):
        for value in NUMBERS:
            assert desk.asks("GET", f"{path}?{query.replace('?', value)}").status_code in (200, 400)


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def count(app: Flask, model: type[Any]) -> int:
    with app.app_context(), reading() as session:
        return len(session.scalars(select(model)).all())


def test_one_number_is_limited_over_all_forms_of_a_portal(app: Flask, visitor_of: MakeVisitor) -> None:
    forms = [visitor_of(limits=PLENTY | {"number_day": 3}) for _ in range(5)]
    answers = [forms[turn % 5].asks(NUMBER, scheduled_at=TOMORROW) for turn in range(8)]
    assert [answer.status_code for answer in answers] == [202] * 8
    assert forms[4].asks("040 42828").status_code == 202
    assert (count(app, Callback), count(app, DecoyRequest), count(app, Rejection)) == (4, 5, 5)


def test_without_javascript_it_is_too(app: Flask, visitor_of: MakeVisitor) -> None:
    forms = [visitor_of(limits=PLENTY | {"number_day": 3}) for _ in range(3)]
    answers = [form.asks(NUMBER, token=form.opens(), scheduled_at=TOMORROW) for form in forms]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert (count(app, Callback), count(app, DecoyRequest), count(app, Rejection)) == (1, 2, 2)


@pytest.fixture
def behind_a_proxy(other_app: OtherApp) -> Flask:
    return other_app(TRUSTED_PROXIES="1")


V6 = "2001:db8:1111:2222:3333:4444:5555:6666"


@pytest.mark.parametrize(
    "forwarded",
    [
        [f"203.0.113.7:{51000 + turn}" for turn in range(4)],
        [f"[{V6}]:{51000 + turn}" for turn in range(4)],
        [f"[{V6[:-4]}{turn}]:51001" for turn in range(4)],
        [f"{V6}%eth{turn}" for turn in range(4)],
        ["203.0.113.7", " 203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7:1"],
        ["unknown", "_hidden", "a" * 300, "203.0.113.7.example:1"],
        [f"[{V6}]x{turn}" for turn in range(4)],
    ],
)
def test_the_port_of_an_address_escapes_no_limit(
    behind_a_proxy: Flask, visitor_of: MakeVisitor, forwarded: list[str]
) -> None:
    visitor = visitor_of(limits=PLENTY | {"address_hour": 2})
    visitor.client = behind_a_proxy.test_client()
    statuses = []
    for turn, address in enumerate(forwarded):
        visitor.headers = {"X-Forwarded-For": address}
        statuses.append(visitor.asks(f"+493090182{turn}").status_code)
    assert statuses == [202, 202, 429, 429]


@pytest.mark.parametrize(
    "path", ["/nope", "/legal/terms", "/static/x/y", "/api/v1/me", "/c/abc", "/w/nokey", "/w/nokey/slots"]
)
def test_of_endless_lists_in_a_head_a_few_entries_are_read(app: Flask, client: FlaskClient, path: str) -> None:
    """Comparing each with each of ours held up everybody for 40 ms a request, and anybody may ask."""
    read: list[int] = []

    def count(_: Flask, **__: object) -> None:
        lists = (request.accept_languages, request.accept_mimetypes, request.accept_encodings)
        read.extend(len(found) for found in lists)
        read.append(len(request.if_none_match.as_set()))

    long = {"Accept-Language": "x,", "Accept": "a/b;c=d,", "Accept-Encoding": "x,", "If-None-Match": '"a{}",'}
    head = {name: ("ru," if name == "Accept-Language" else "") + entry * 2000 for name, entry in long.items()}
    with request_started.connected_to(count, app):
        response = client.get(path, headers=head)
    assert response.status_code < 500
    assert 0 < max(read) <= LONGEST_LIST / 2 + 1
    assert "<html" not in response.text or 'lang="ru"' in response.text


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("", ""),
        ("ru-RU,ru;q=0.9", "ru-RU,ru;q=0.9"),
        ("a" * LONGEST_LIST, "a" * LONGEST_LIST),
        ("a" * LONGEST_LIST + ",b", "a" * LONGEST_LIST),
        ("a" * (LONGEST_LIST + 1), ""),
        ("ru," + "b" * LONGEST_LIST, "ru"),
    ],
)
def test_no_entry_of_a_list_in_a_head_is_read_in_part(sent: str, seen: str) -> None:
    assert first_of_list(sent) == seen


def test_readiness_reads_no_migration_twice(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(migrations, "ScriptDirectory", None)
    app.extensions.pop(ANSWERS_STATE)  # As if a second had passed.
    with statements(app) as ran:
        assert client.get("/readyz").status_code == 200
    assert 0 < len(ran) <= 4


def test_repeated_hints_of_a_payment_write_nothing(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    hint = fields(portal, application, "ONAPPPAYMENT", {})
    unknown = {name: value.replace(portal.member_id, "f" * 32) for name, value in hint.items()}
    assert client.post("/events", data=hint).status_code == 200
    with statements(app) as ran:
        for sent in (hint, unknown, hint):
            assert client.post("/events", data=sent).status_code == 200
    assert ran
    assert not [sql for sql in ran if "UPDATE" in sql or "BEGIN IMMEDIATE" in sql]


NAMELESS = b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"


def test_a_part_without_a_name_fails_at_no_door(client: FlaskClient, desk: Actor, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of()
    link = json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    doors = ["/", "/install", "/placement", "/session", "/events", "/robot", f"/w/{visitor.form_key}/callbacks"]
    for path in (*doors, f"/c/{link}/reschedule", f"/c/{link}/cancel"):
        answer = client.post(path, data=NAMELESS, content_type="multipart/form-data; boundary=x")
        assert answer.status_code < 500, path

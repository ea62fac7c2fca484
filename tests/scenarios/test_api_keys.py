"""API keys of sites' back ends: shown once, bound to one form, limited, revoked."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import ApiKey, Rejection, WebsiteRequest
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.websites import api_keys
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor
from tests.support.websites import BackEnd, MakeBackEnd, MakeVisitor


def test_a_key_is_shown_once_and_kept_as_a_digest(app: Flask, desk: Actor, back_end: BackEnd) -> None:
    assert back_end.secret.startswith("cbk_")
    [listed] = json_of(desk.asks("GET", "/api-keys"))["api_keys"]
    assert listed["prefix"] == back_end.secret[: len(listed["prefix"])]
    assert (listed["name"], listed["last_used_at"], listed["revoked_at"]) == ("Shop server", None, None)
    assert back_end.secret not in desk.asks("GET", "/api-keys").text
    with app.app_context(), reading() as session:
        [row] = session.scalars(select(ApiKey))
    assert back_end.secret not in str(vars(row))
    assert back_end.secret[10:] not in repr(api_keys.NewApiKey(row, back_end.secret))


def test_a_back_end_asks_and_the_worker_dials(
    app: Flask, back_end: BackEnd, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    response = back_end.requests_callback(
        "030 901820", name="Anna", topic="Order", page="https://shop.example/?utm_campaign=may", consent=True
    )
    created = json_of(response)
    assert (response.status_code, created["source"], created["to_number"]) == (201, "api", CUSTOMER)
    assert "Anna" in created["text"]
    eventually(lambda: [dial["number"] for dial in portal.telephony.dials] == [CUSTOMER])
    with app.app_context(), reading() as session:
        [beside] = session.scalars(select(WebsiteRequest))
    assert (beside.name, beside.topic, beside.utm, beside.address) == ("Anna", "Order", {"utm_campaign": "may"}, None)


def test_the_same_idempotency_key_gives_the_same_callback(back_end: BackEnd) -> None:
    first, again = back_end.requests_callback(key="one"), back_end.requests_callback(key="one")
    assert (first.status_code, again.status_code) == (201, 200)
    assert (json_of(again)["id"], again.headers["Idempotent-Replayed"]) == (json_of(first)["id"], "true")
    other = back_end.requests_callback("040 42828", key="one")
    assert (other.status_code, json_of(other)["code"]) == (422, "idempotency_key_reused")


def test_a_number_in_hand_is_told_with_its_id_only_to_its_own_form(
    manager: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    first, second = back_end_of(visitor_of(name="One")), back_end_of(visitor_of(name="Two"))
    created = json_of(first.requests_callback())
    own, other = first.requests_callback(), second.requests_callback()
    assert (own.status_code, json_of(own)["code"], json_of(own)["id"]) == (
        409,
        "duplicate_open_callback",
        created["id"],
    )
    assert (other.status_code, json_of(other)["code"], "id" in json_of(other)) == (
        409,
        "duplicate_open_callback",
        False,
    )


def test_a_key_reaches_the_callbacks_of_its_own_form_and_nothing_else(
    manager: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    first, second = back_end_of(visitor_of(name="One")), back_end_of(visitor_of(name="Two"))
    own = json_of(first.requests_callback())["id"]
    staff = json_of(manager.requests_callback("+4930901821"))["id"]
    other = json_of(second.requests_callback("+4930901822"))["id"]
    assert [row["id"] for row in json_of(first.asks("GET", "/callbacks"))["callbacks"]] == [own]
    assert first.asks("GET", f"/callbacks/{own}").status_code == 200
    later = {"scheduled_at": (datetime.now(UTC) + timedelta(hours=2)).isoformat()}
    for foreign in (staff, other):
        asked = [
            first.asks("GET", f"/callbacks/{foreign}"),
            first.asks("PATCH", f"/callbacks/{foreign}", later),
            first.asks("POST", f"/callbacks/{foreign}/cancel"),
        ]
        assert [response.status_code for response in asked] == [404] * 3
    assert json_of(first.asks("PATCH", f"/callbacks/{own}", later))["state"] == "scheduled"
    assert json_of(first.asks("POST", f"/callbacks/{own}/cancel"))["state"] == "cancelled"
    words = [decision["words"] for decision in manager.sees(own)["decisions"]]
    assert words[1:] == ["Moved to another time (the website)", "Cancelled (the website)"]


@rows_in_one_world(
    ("method", "path"),
    [
        ("GET", "/lines"),
        ("GET", "/voices"),
        ("GET", "/settings"),
        ("GET", "/forms"),
        ("GET", "/api-keys"),
        ("GET", "/do-not-call"),
        ("POST", "/rules/test"),
        ("POST", "/callbacks/0192f0c1-2345-7890-abcd-ef0123456789/retry"),
        ("POST", "/callbacks/0192f0c1-2345-7890-abcd-ef0123456789/resolve"),
    ],
)
def test_a_key_opens_nothing_of_the_desk(back_end: BackEnd, method: str, path: str) -> None:
    assert back_end.asks(method, path, {}).status_code == 401


def test_a_revoked_key_and_one_of_a_removed_form_are_refused(
    desk: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    visitor = visitor_of()
    revoked, kept = back_end_of(visitor), back_end_of(visitor)
    assert [desk.asks("DELETE", f"/api-keys/{revoked.id}").status_code for _ in range(2)] == [204, 204]
    response = revoked.requests_callback()
    assert (response.status_code, json_of(response)["code"]) == (401, "ticket_expired")
    assert kept.requests_callback().status_code == 201
    desk.asks("DELETE", f"/forms/{visitor.form_key}")
    assert kept.requests_callback("040 42828").status_code == 401
    assert desk.asks("DELETE", "/api-keys/999999").status_code == 404


@pytest.mark.parametrize("secret", ["cbk_", "cbk_" + "x" * 43, "cbk_ä", "cbk_" + "x" * 9000])
def test_a_wrong_key_is_refused(visitor: Visitor, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}".encode().decode("latin-1")}
    assert visitor.client.get("/api/v1/callbacks", headers=headers).status_code == 401


def test_the_last_use_is_noted_to_the_minute(desk: Actor, back_end: BackEnd) -> None:
    def last_used() -> str:
        return str(json_of(desk.asks("GET", "/api-keys"))["api_keys"][0]["last_used_at"])

    back_end.asks("GET", "/callbacks")
    first = last_used()
    back_end.asks("GET", "/callbacks")
    assert last_used() == first != "None"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        back_end.asks("GET", "/callbacks")
    assert last_used() > first


def test_all_keys_of_a_portal_together_are_limited(
    visitor: Visitor, back_end_of: MakeBackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [back_end_of(visitor) for _ in range(2)]
    monkeypatch.setattr(api_keys, "REQUESTS_OF_PORTAL", LocalLimit("few", 3, 3600.0))
    assert [key.asks("GET", "/callbacks?limit=1").status_code for key in keys * 2] == [200, 200, 200, 429]


def test_a_key_is_limited(back_end: BackEnd) -> None:
    with time_machine.travel(datetime.now(UTC), tick=False):
        statuses = [
            back_end.asks("GET", "/callbacks?limit=1").status_code for _ in range(api_keys.REQUESTS_PER_MINUTE + 2)
        ]
    assert statuses == [200] * api_keys.REQUESTS_PER_MINUTE + [429] * 2


@pytest.mark.parametrize(
    ("body", "status", "code", "rule"),
    [
        ({"to_number": "12345"}, 422, "invalid_number", "number_short"),
        ({"to_number": "+33 1 42 68 53 00"}, 422, "number_not_allowed", "country"),
        ({"to_number": "0900 1234567"}, 422, "number_not_allowed", "number_kind"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, 400, "invalid_request", "time"),
        ({"line_id": "reg0"}, 422, "unknown_line", None),
        ({"voice_id": "nobody"}, 422, "unknown_voice", None),
        ({"text": "."}, 422, "text_invalid", None),
        ({"to_number": ["+4930901820"]}, 400, "invalid_request", None),
    ],
)
def test_the_rules_of_the_form_hold_for_its_back_end(
    app: Flask, back_end: BackEnd, body: dict[str, Any], status: int, code: str, rule: str | None
) -> None:
    response = back_end.asks("POST", "/callbacks", {"to_number": CUSTOMER, **body})
    assert (response.status_code, json_of(response)["code"]) == (status, code)
    with app.app_context(), reading() as session:
        assert session.scalars(select(Rejection.rule)).all() == ([rule] if rule else [])


def test_a_back_end_is_told_of_the_do_not_call_list(desk: Actor, back_end: BackEnd) -> None:
    desk.asks("POST", "/do-not-call", {"number": CUSTOMER})
    response = back_end.requests_callback()
    assert (response.status_code, json_of(response)["code"]) == (422, "do_not_call")


def test_a_ticket_of_staff_takes_no_fields_of_a_back_end(manager: Actor) -> None:
    assert manager.requests_callback(name="Anna").status_code == 400


def test_no_key_is_logged(back_end: BackEnd, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        back_end.requests_callback()
        back_end.requests_callback("12345")
    assert back_end.secret[4:] not in caplog.text

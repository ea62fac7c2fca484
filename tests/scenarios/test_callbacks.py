"""Requests of staff: accepted once, refused with a reason, decided about by people."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from bx24app.database import writing
from bx24app.models import Callback
from bx24app.services.callbacks import request
from bx24app.services.dialling import abandoned
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world


def later(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def test_a_request_is_accepted_and_committed_before_anything_is_dialled(manager: Actor, portal: FakePortal) -> None:
    response = manager.requests_callback("+49 30 90 18 20", crm_entity={"type": "LEAD", "id": 1})
    created = json_of(response)
    assert (response.status_code, created["state"], created["to_number"]) == (201, "queued", CUSTOMER)
    assert created["crm_entity"] == {"type": "LEAD", "id": 1}
    assert created["attempts"] == []
    assert created["created_at"].endswith("Z")
    assert portal.telephony.dials == []
    assert manager.sees(created["id"])["decisions"][0]["rule"] == "requested"


def test_the_same_key_gives_the_same_callback(manager: Actor) -> None:
    first, again = manager.requests_callback(key="one"), manager.requests_callback(key="one")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert json_of(first)["id"] == json_of(again)["id"]


def test_the_same_key_with_another_body_is_refused(manager: Actor) -> None:
    manager.requests_callback(key="one")
    response = manager.requests_callback("+12125550146", key="one")
    assert (response.status_code, json_of(response)["code"]) == (422, "idempotency_key_reused")


def test_a_number_in_hand_is_not_taken_twice(manager: Actor) -> None:
    first = json_of(manager.requests_callback())
    response = manager.requests_callback()
    assert (response.status_code, json_of(response)["code"]) == (409, "duplicate_open_callback")
    assert json_of(response)["id"] == first["id"]


def test_twenty_equal_requests_at_once_give_one_callback(app: Flask, manager: Actor) -> None:
    def ask(_: int) -> tuple[int, str]:
        actor = Actor(app.test_client(), manager.portal, manager.application, manager.user, manager.ticket)
        response = actor.requests_callback(key="same")
        return response.status_code, json_of(response)["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(20)))
    assert len({id for _, id in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 19 + [201]


@rows_in_one_world(
    ("change", "status", "code", "field"),
    [
        ({"to_number": "12"}, 422, "invalid_number", "to_number"),
        ({"to_number": "+49 900 1234567"}, 422, "number_not_allowed", "to_number"),
        ({"to_number": ""}, 422, "invalid_number", "to_number"),
        ({"to_number": -4930901820}, 400, "invalid_request", "to_number"),
        ({"to_number": None}, 400, "invalid_request", "to_number"),
        ({"line_id": "reg0"}, 422, "unknown_line", "line_id"),
        ({"line_id": ["reg150907"]}, 400, "invalid_request", "line_id"),
        ({"voice_id": "nobody"}, 422, "unknown_voice", "voice_id"),
        ({"text": " ... "}, 422, "text_invalid", "text"),
        ({"text": "x" * 301}, 422, "text_invalid", "text"),
        ({"text": "x" * 5000}, 400, "invalid_request", "text"),
        ({"text": "\x00."}, 422, "text_invalid", "text"),
        ({"scheduled_at": "tomorrow"}, 400, "invalid_request", "scheduled_at"),
        ({"scheduled_at": "2026-11-23T12:00:00"}, 400, "invalid_request", "scheduled_at"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, 400, "invalid_request", "scheduled_at"),
        ({"scheduled_at": "9999-01-01T00:00:00Z"}, 400, "invalid_request", "scheduled_at"),
        ({"crm_entity": {"type": "USER", "id": 1}}, 400, "invalid_request", "crm_entity.type"),
        ({"crm_entity": {"type": "LEAD", "id": 0}}, 400, "invalid_request", "crm_entity.id"),
        ({"surprise": 1}, 400, "invalid_request", "surprise"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(
    manager: Actor, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    body = {"to_number": CUSTOMER, "line_id": "reg150907", **change}
    response = manager.asks("POST", "/callbacks", body)
    assert (response.status_code, json_of(response)["code"]) == (status, code), response.text
    assert response.content_type == "application/problem+json"
    assert field in [error["field"] for error in json_of(response)["errors"]]
    assert json_of(manager.asks("GET", "/callbacks"))["callbacks"] == []


def test_a_planned_callback_waits_outside_of_the_numbers_hand(
    manager: Actor, worker: Worker, portal: FakePortal
) -> None:
    planned = json_of(manager.requests_callback(scheduled_at=later(hours=1)))
    assert planned["state"] == "scheduled"
    now = json_of(manager.requests_callback(wait=5))
    assert now["state"] == "started"
    assert manager.sees(planned["id"])["state"] == "scheduled"
    assert len(portal.telephony.dials) == 1


def test_a_planned_callback_can_be_called_now_instead(manager: Actor, worker: Worker, eventually: Eventually) -> None:
    planned = json_of(manager.requests_callback(scheduled_at=later(hours=1)))
    response = manager.asks("PATCH", f"/callbacks/{planned['id']}", {"scheduled_at": later()})
    assert response.status_code == 200
    eventually(lambda: manager.sees(planned["id"])["state"] == "started")


def test_a_waiting_callback_can_be_cancelled_and_the_number_is_free(manager: Actor) -> None:
    first = json_of(manager.requests_callback())
    response = manager.asks("POST", f"/callbacks/{first['id']}/cancel")
    assert (response.status_code, json_of(response)["state"]) == (200, "cancelled")
    assert manager.asks("POST", f"/callbacks/{first['id']}/cancel").status_code == 409
    assert manager.requests_callback().status_code == 201


def test_a_started_callback_cannot_be_cancelled_moved_or_resolved(manager: Actor, worker: Worker) -> None:
    started = json_of(manager.requests_callback(wait=5))
    assert started["state"] == "started"
    path = f"/callbacks/{started['id']}"
    for response in (
        manager.asks("POST", f"{path}/cancel"),
        manager.asks("PATCH", path, {"scheduled_at": later(hours=1)}),
        manager.asks("POST", f"{path}/resolve", {"outcome": "reached"}),
        manager.asks("POST", f"{path}/retry"),
    ):
        assert (response.status_code, json_of(response)["code"]) == (409, "too_late")


def test_a_missed_callback_can_be_asked_for_again(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    first = json_of(manager.requests_callback(wait=5))
    portal.telephony.calls[0].manager_refuses()
    eventually(lambda: manager.sees(first["id"])["state"] == "missed")
    response = manager.asks("POST", f"/callbacks/{first['id']}/retry")
    again = json_of(response)
    assert (response.status_code, again["retry_of"]) == (201, first["id"])
    eventually(lambda: manager.sees(again["id"])["state"] == "started")
    assert len(portal.telephony.dials) == 2


def test_the_list_is_newest_first_and_comes_in_pages(manager: Actor) -> None:
    numbers = [f"+4930901{n}" for n in range(820, 825)]
    for number in numbers:
        assert manager.requests_callback(number).status_code == 201
    page = json_of(manager.asks("GET", "/callbacks?limit=3"))
    assert [c["to_number"] for c in page["callbacks"]] == numbers[:1:-1]
    rest = json_of(manager.asks("GET", f"/callbacks?limit=3&cursor={page['next_cursor']}"))
    assert [c["to_number"] for c in rest["callbacks"]] == numbers[1::-1]
    assert rest["next_cursor"] is None
    found = json_of(manager.asks("GET", "/callbacks?q=0901822&state=queued&source=staff"))
    assert [c["to_number"] for c in found["callbacks"]] == ["+4930901822"]
    assert manager.asks("GET", "/callbacks?q=%25").status_code == 400


@rows_in_one_world("query", ["limit=0", "limit=x", "state=ringing", "cursor=1", "from=yesterday"])
def test_a_wrong_filter_is_refused(manager: Actor, query: str) -> None:
    response = manager.asks("GET", f"/callbacks?{query}")
    assert (response.status_code, json_of(response)["code"]) == (400, "invalid_request")


@rows_in_one_world("path", ["", "/cancel", "/retry", "/resolve"])
@rows_in_one_world("id", ["01a20ed9-753a-7fc6-926e-a7122c86519c", "1", "x" * 500])
def test_unknown_ids_are_not_found(manager: Actor, id: str, path: str) -> None:
    body = {"outcome": "reached"} if path == "/resolve" else None
    response = manager.asks("POST" if path else "GET", f"/callbacks/{id}{path}", body)
    assert response.status_code == 404


@rows_in_one_world("method", ["GET", "POST"])
@rows_in_one_world("ticket", ["", "x", "eyJhIjoxfQ.abc.def"])
def test_without_a_good_ticket_nothing_is_answered(manager: Actor, ticket: str, method: str) -> None:
    manager.ticket = ticket
    response = manager.asks(method, "/callbacks", {} if method == "POST" else None)
    assert (response.status_code, json_of(response)["code"]) == (401, "ticket_expired")


def test_a_manager_chooses_from_lines_that_only_the_administrator_may_read(manager: Actor, portal: FakePortal) -> None:
    response = manager.asks("GET", "/lines?refresh=1")
    assert [line["name"] for line in json_of(response)["lines"]] == ["Sales line", "Office PBX 1"]
    assert portal.requests_for("voximplant.line.get")[-1].user_id == portal.administrator.id
    asked = len(portal.requests)
    assert manager.asks("GET", "/lines").status_code == manager.asks("GET", "/voices").status_code == 200
    assert len(portal.requests) == asked


def test_a_new_line_is_offered_after_a_refresh(manager: Actor, portal: FakePortal) -> None:
    portal.lines.clear()
    assert json_of(manager.asks("GET", "/lines?refresh=1"))["lines"] == []


def test_the_administrator_sets_defaults_for_everybody(administrator: Actor, manager: Actor) -> None:
    wanted = {"default_line_id": "sip7", "default_text": "A customer  waits.", "default_country": "DE"}
    response = administrator.asks("PATCH", "/settings", wanted)
    assert (response.status_code, json_of(response)["default_text"]) == (200, "A customer waits.")
    created = json_of(manager.asks("POST", "/callbacks", {"to_number": "030 901820"}))
    assert (created["line_id"], created["text"], created["to_number"]) == ("sip7", "A customer waits.", CUSTOMER)
    assert manager.asks("PATCH", "/settings", wanted).status_code == 403
    assert manager.asks("GET", "/settings").status_code == 403


@rows_in_one_world(
    ("change", "code"),
    [
        ({"default_line_id": "reg0"}, "unknown_line"),
        ({"default_voice_id": "nobody"}, "unknown_voice"),
        ({"default_text": "x" * 301}, "text_invalid"),
        ({"default_country": "XX"}, "invalid_request"),
        ({"default_country": "DEU"}, "invalid_request"),
    ],
)
def test_wrong_defaults_change_nothing(administrator: Actor, manager: Actor, change: dict[str, str], code: str) -> None:
    before = json_of(administrator.asks("GET", "/settings"))
    response = administrator.asks("PATCH", "/settings", {"default_line_id": "sip7", **change})
    assert json_of(response)["code"] == code
    assert json_of(administrator.asks("GET", "/settings")) == before


def test_the_last_line_and_voice_are_remembered(manager: Actor) -> None:
    manager.requests_callback(line_id="sip7", voice_id="ukenglishmale")
    page = manager.opens().text
    assert 'value="sip7" selected' in page
    assert 'value="ukenglishmale" selected' in page


def test_a_callback_that_nobody_dials_in_time_expires(app: Flask, manager: Actor) -> None:
    created = json_of(manager.requests_callback())
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    with app.app_context():
        assert abandoned.expire_abandoned() == 1
    shown = manager.sees(created["id"])
    assert (shown["state"], shown["reason"]) == ("expired", "due_too_late")


def test_another_portals_ids_are_not_found_on_any_route(manager: Actor, fake: FakeBitrix24) -> None:
    created = json_of(manager.requests_callback())
    other = fake.add_portal("beta")
    stranger = Actor(manager.client, other, manager.application, other.administrator)
    stranger.installs()
    path = f"/callbacks/{created['id']}"
    asked = [
        stranger.asks("GET", path),
        stranger.asks("PATCH", path, {"scheduled_at": later(hours=1)}),
        stranger.asks("POST", f"{path}/cancel"),
        stranger.asks("POST", f"{path}/retry"),
        stranger.asks("POST", f"{path}/resolve", {"outcome": "dial_again"}),
    ]
    headers = {"Authorization": f"Bearer {stranger.ticket}"}
    asked.append(manager.client.get(f"/desk/view/callbacks/{created['id']}", headers=headers))
    assert [response.status_code for response in asked] == [404] * 6
    assert json_of(stranger.asks("GET", "/callbacks"))["callbacks"] == []
    assert created["id"] not in manager.client.get("/desk/callbacks", headers=headers).text
    assert manager.sees(created["id"])["state"] == "queued"


class TestPlansAreBounded:
    def test_for_one_number(self, manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request, "MAX_WAITING_FOR_NUMBER", 2, raising=False)
        key, at = "k-1", later(hours=1)
        first = manager.requests_callback(key=key, scheduled_at=at)
        manager.requests_callback(scheduled_at=later(hours=1))
        self.refuses(manager.requests_callback(scheduled_at=later(hours=1)), "to_number")
        # The same request again, another number, and the planned ones at another time.
        assert manager.requests_callback(key=key, scheduled_at=at).status_code == 200
        assert manager.requests_callback("+4930901821", scheduled_at=later(hours=1)).status_code == 201
        path = f"/callbacks/{json_of(first)['id']}"
        assert manager.asks("PATCH", path, {"scheduled_at": later(hours=2)}).status_code == 200
        # A call for now that is moved to later is a plan too.
        urgent = json_of(manager.requests_callback())["id"]
        self.refuses(manager.asks("PATCH", f"/callbacks/{urgent}", {"scheduled_at": later(hours=1)}), "to_number")
        assert manager.sees(urgent)["state"] == "queued"
        assert manager.asks("POST", f"{path}/cancel").status_code == 200
        assert manager.asks("PATCH", f"/callbacks/{urgent}", {"scheduled_at": later(hours=1)}).status_code == 200

    def test_of_one_person(self, administrator: Actor, manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request, "MAX_WAITING", 2, raising=False)
        plans = [manager.requests_callback(f"+493090182{n}", scheduled_at=later(hours=1)) for n in range(3)]
        assert [answer.status_code for answer in plans] == [201, 201, 422]
        self.refuses(plans[-1], "scheduled_at")
        administrator.opens()
        theirs = administrator.requests_callback("+4930901823", scheduled_at=later(hours=1))
        assert theirs.status_code == 201
        # A colleague's that is moved becomes one's own.
        path = f"/callbacks/{json_of(theirs)['id']}"
        self.refuses(manager.asks("PATCH", path, {"scheduled_at": later(hours=2)}), "scheduled_at")
        assert manager.requests_callback("+4930901824").status_code == 201

    @staticmethod
    def refuses(answer: TestResponse, field: str) -> None:
        assert answer.status_code == 422, answer.text
        assert [error["field"] for error in json_of(answer)["errors"]] == [field]

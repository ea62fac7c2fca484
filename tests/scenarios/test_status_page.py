"""The customer's page: what a link shows, to the one who asked and to a stranger; cancelling, another time."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, WebsiteRequest
from bx24app.services.security import signing
from bx24app.services.websites import rules
from bx24app.services.websites.submission import Submission
from bx24app.worker.worker import Worker
from tests.conftest import Eventually, OtherApp
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import pass_time, work


def rows(app: Flask, model: type[Any]) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


@pytest.fixture
def still() -> Iterator[None]:
    """The clock stands still: what nobody dials goes its way all the same, if it is a decoy."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


@pytest.mark.usefixtures("still")
def test_somebody_else_with_the_same_number_learns_nothing_and_dials_nothing(
    app: Flask, visitor: Visitor, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    worker.stop()
    first = json_of(visitor.asks(name="Anna", idempotency_key="hers"))
    stranger = Visitor(visitor.client, visitor.form_key, origin=visitor.origin, address="198.51.100.1")
    response = stranger.asks(name="Eve", idempotency_key="hers-not")
    second = json_of(response)
    assert (response.status_code, set(second), second["state"]) == (202, set(first), first["state"])
    assert second["reference"] != first["reference"]
    assert len(second["reference"]) == len(first["reference"])
    assert len(second["status_url"]) == len(first["status_url"])
    shown, real = (json_of(visitor.looks(answer["status_url"])) for answer in (second, first))
    assert {name: shown[name] for name in shown if name != "expected_at"} == {
        name: real[name] for name in real if name != "expected_at"
    }
    pages = [visitor.looks(answer["status_url"], Accept="text/html").text for answer in (second, first)]
    assert "Anna" not in "".join(pages)
    assert len(rows(app, Callback)) == 1
    assert json_of(stranger.asks(name="Eve", idempotency_key="hers-not"))["reference"] == second["reference"]


@pytest.mark.usefixtures("still")
def test_a_decoy_can_be_moved_and_cancelled_like_a_request_and_moves_nothing(app: Flask, visitor: Visitor) -> None:
    real = json_of(visitor.asks())
    decoy = json_of(visitor.asks())
    path = "/c/" + decoy["status_url"].rpartition("/c/")[2]
    later = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    moved = visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later})
    assert (moved.status_code, json_of(moved)["state"]) == (200, "scheduled")
    cancelled = visitor.client.post(f"{path}/cancel")
    assert (cancelled.status_code, json_of(cancelled)["state"]) == (200, "cancelled")
    assert visitor.client.post(f"{path}/cancel").status_code == 409
    assert json_of(visitor.looks(decoy["status_url"]))["state"] == "cancelled"
    assert json_of(visitor.looks(real["status_url"]))["state"] == "queued"
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2), tick=False):
        assert json_of(visitor.looks(json_of(visitor.asks())["status_url"]))["state"] == "queued"


def test_a_customer_cancels_and_moves_their_request(app: Flask, visitor: Visitor, desk: Actor) -> None:
    answer = json_of(visitor.asks())
    path = "/c/" + answer["status_url"].rpartition("/c/")[2]
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    moved = json_of(visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later.isoformat()}))
    assert (moved["state"], moved["scheduled_at"]) == ("scheduled", later.isoformat().replace("+00:00", "Z"))
    [callback] = rows(app, Callback)
    assert callback.expires_at - callback.due_at == timedelta(minutes=60)
    assert json_of(visitor.client.post(f"{path}/cancel"))["state"] == "cancelled"
    assert visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later.isoformat()}).status_code == 409
    words = [decision["words"] for decision in desk.sees(answer["reference"])["decisions"]]
    assert words[1:] == ["Moved to another time (the customer)", "Cancelled (the customer)"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"scheduled_at": "soon"}, 400), ({"scheduled_at": "2020-01-01T00:00:00Z"}, 400), ([], 400)],
)
def test_a_customer_cannot_choose_a_time_that_is_none(visitor: Visitor, body: object, status: int) -> None:
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    assert visitor.client.post(f"{path}/reschedule", json=body).status_code == status


def test_a_guessed_link_is_no_link(app: Flask, visitor: Visitor) -> None:
    real = json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    with app.app_context():
        nobody = signing.sign_link(rows(app, WebsiteRequest)[0].callback_id.__class__(int=1))
    id, signature = real.split(".")
    # Not the last character: its last bits say nothing.
    forged = f"{id}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for guess in ("x", forged, real[1:], nobody, "%00", "ä" * 40):
        assert visitor.client.get(f"/c/{guess}").status_code == 404
        assert visitor.client.post(f"/c/{guess}/cancel").status_code == 404


def test_links_survive_a_change_of_the_secret_key(
    visitor: Visitor, environ: dict[str, str], other_app: OtherApp
) -> None:
    url = json_of(visitor.asks())["status_url"]
    newer = other_app(SECRET_KEY=secrets.token_urlsafe(40), SECRET_KEY_FALLBACKS=environ["BX24APP_SECRET_KEY"])
    assert newer.test_client().get("/c/" + url.rpartition("/c/")[2]).status_code == 200


def test_a_request_that_came_to_nothing_asks_for_a_new_one(app: Flask, visitor: Visitor) -> None:
    url = json_of(visitor.asks())["status_url"]
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(state="missed", holds_number=False))
    status = json_of(visitor.looks(url))
    assert (status["can_cancel"], status["slots"], status["expected_at"]) == (False, [], None)
    assert "Ask again?" in status["label"]


@pytest.mark.usefixtures("still")
def test_a_link_moves_its_request_a_few_times_an_hour_and_a_decoy_no_more_often(app: Flask, visitor: Visitor) -> None:
    """And still cancels it: what is stored for a link has a bound."""
    # A callback alone, then one with a decoy beside it: the decoy first, which its first move makes a callback.
    alone, *both = (json_of(visitor.asks(number)) for number in ("040 42828", "040 42829", "040 42829"))
    for answer in (alone, *reversed(both)):
        path = "/c/" + answer["status_url"].rpartition("/c/")[2]
        later = datetime.now(UTC) + timedelta(hours=3)
        statuses = [
            visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later.isoformat()}).status_code
            for _ in range(8)
        ]
        assert statuses == [200] * 6 + [429] * 2
        assert visitor.client.post(f"{path}/cancel").status_code == 200
    with app.app_context(), reading() as session:
        assert [len(callback.decisions) for callback in session.scalars(select(Callback))] == [7, 7, 7]


def test_a_link_moves_its_request_so_often_and_never_again(app: Flask, visitor: Visitor) -> None:
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    moved = 0
    for hour in range(8):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hour), tick=True):
            moved += sum(
                visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later}).status_code == 200
                for _ in range(7)
            )
    assert moved == 24


def test_whoever_mistypes_a_time_a_few_times_still_moves_their_request(visitor: Visitor) -> None:
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    for typed in ("", "soon", "2020-01-01T00:00:00Z", "31.12. 9 o'clock", "2199-01-01T00:00:00Z") * 2:
        assert visitor.client.post(f"{path}/reschedule", json={"scheduled_at": typed}).status_code == 400
    later = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    assert visitor.client.post(f"{path}/reschedule", json={"scheduled_at": later}).status_code == 200


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_link_has_so_many_changes_refused_an_hour(visitor: Visitor, accept: str) -> None:
    """What is refused reads as much as the page: nobody has it read on and on. A decoy no more often."""
    real, decoy, other = (json_of(visitor.asks(number)) for number in ("040 42828", "040 42828", "040 42829"))
    ways: list[dict[str, Any]] = [
        {"data": {"a": "1"}},
        {"json": {"scheduled_at": "2020-01-01T00:00:00Z"}},
        {"json": []},
    ]
    for answer in (real, decoy):
        path = "/c/" + answer["status_url"].rpartition("/c/")[2]
        statuses = [
            visitor.client.post(f"{path}/reschedule", headers={"Accept": accept}, **ways[count % 3]).status_code
            for count in range(23)
        ]
        assert statuses == [400] * 20 + [429] * 3
        assert visitor.client.post(f"{path}/cancel").status_code == 200
        late = [visitor.client.post(f"{path}/cancel", headers={"Accept": accept}).status_code for _ in range(30)]
        assert late == [409] * 5 + [429] * 25
    path = "/c/" + other["status_url"].rpartition("/c/")[2]
    assert visitor.client.post(f"{path}/reschedule", json={"scheduled_at": "soon"}).status_code == 400


def test_a_refused_change_works_out_the_free_times_once_and_one_too_many_never(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[object] = []
    free_slots = rules.free_slots

    def noted(submission: Submission) -> list[datetime]:
        worked_out.append(submission)
        return free_slots(submission)

    monkeypatch.setattr(rules, "free_slots", noted)
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    counts = {}
    for count in range(21):
        worked_out.clear()
        answer = visitor.client.post(f"{path}/reschedule", data={"a": "1"}, headers={"Accept": "text/html"})
        counts[count] = (answer.status_code, len(worked_out))
    assert counts == {**dict.fromkeys(range(20), (400, 1)), 20: (429, 0)}


def test_a_change_that_is_refused_because_the_call_began_shows_that_it_began(app: Flask, visitor: Visitor) -> None:
    path = "/c/" + json_of(visitor.asks())["status_url"].rpartition("/c/")[2]
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(state="missed", holds_number=False))
    for change in ("reschedule", "cancel"):
        answer = visitor.client.post(f"{path}/{change}", data={"a": "1"}, headers={"Accept": "text/html"})
        assert answer.status_code == 409
        assert "Ask again?" in answer.text


def test_staff_move_a_callback_so_often_and_never_again(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bx24app.services.callbacks.change.MAX_MOVES", 3)
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    id = json_of(manager.requests_callback(scheduled_at=at))["id"]
    statuses = [manager.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": at}).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_staff_let_a_callback_of_unknown_outcome_be_dialled_so_often_and_never_again(
    app: Flask, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is compared with what the history tells of its number."""
    monkeypatch.setattr("bx24app.services.callbacks.change.MAX_REDIALS", 2)
    id = json_of(manager.requests_callback())["id"]
    statuses = []
    for _ in range(3):
        portal.faults.add("drop_before", "voximplant.callback.start")
        work(app)
        pass_time(app, timedelta(seconds=10))
        again = manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})
        statuses.append(again.status_code)
    assert statuses == [200, 200, 429]
    assert manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "not_reached"}).status_code == 200

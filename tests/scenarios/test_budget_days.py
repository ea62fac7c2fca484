"""The budget that a request uses is that of the day on which it is due, whenever it was made and whoever moves it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from bx24app.database import reading, writing
from bx24app.models import BudgetDay, Callback, DecoyRequest, Rejection
from bx24app.worker.worker import Worker
from tests.conftest import OtherApp
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_rate_limits import PLENTY, attempt, let_calls_cost
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import MakeBackEnd, MakeVisitor

NOW: datetime = (datetime.now(UTC) + timedelta(days=1)).replace(hour=10, minute=0, second=0, microsecond=0)
TWO_CALLS: dict[str, Any] = {"limits": PLENTY, "budget_calls": 2}
TWO_EUROS: dict[str, Any] = {"limits": PLENTY, "budget_money": "2.00", "budget_currency": "EUR"}
BUDGETS = pytest.mark.parametrize("budget", [TWO_CALLS, TWO_EUROS], ids=["calls", "money"])
pytestmark = pytest.mark.usefixtures("euros")


@pytest.fixture(autouse=True)
def morning() -> Iterator[None]:
    """Everything, from the installation on, happens on the morning of a day: no test passes midnight."""
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def euros(morning: None, app: Flask, manager: Actor, worker: Worker) -> None:
    """The last call has cost a euro; nobody dials."""
    worker.stop()
    let_calls_cost(app, manager, ["1.00"])


def day(number: int, hour: int = 12) -> str:
    """A time on a day from now."""
    at: datetime = (NOW + timedelta(days=number)).replace(hour=hour)
    return at.isoformat()


def plan(visitor: Visitor, number: int, place: int) -> TestResponse:
    """Ask for a call on a day from now, for a number of one's own."""
    return visitor.asks(f"+4930901{place:03}", scheduled_at=day(number))


def link(response: TestResponse) -> str:
    assert response.status_code == 202, response.text
    url: str = json_of(response)["status_url"]
    return "/c/" + url.rpartition("/c/")[2]


def moves(visitor: Visitor, path: str, number: int, hour: int = 12) -> TestResponse:
    return visitor.client.post(f"{path}/reschedule", json={"scheduled_at": day(number, hour)})


def counted(app: Flask) -> dict[int, tuple[int, int]]:
    """For each day from now: how many were taken, and how many of them were moved away."""
    with app.app_context(), reading() as session:
        counts = session.scalars(select(BudgetDay))
        return {(count.day - NOW.date()).days: (count.calls, count.moved_away) for count in counts}


@BUDGETS
def test_planned_requests_use_the_budget_of_the_day_on_which_they_are_due(
    visitor_of: MakeVisitor, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    answers = [plan(visitor, 3, place) for place in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    refused = json_of(answers[-1])
    assert (refused["code"], refused["detail"]) == (
        "budget_exhausted",
        "We can't take more requests for that day. Please choose another day.",
    )
    assert [wrong["field"] for wrong in refused["errors"]] == ["scheduled_at"]
    assert "Retry-After" not in answers[-1].headers
    # Neither the days around it nor today have lost anything.
    for number, places in ((2, range(10, 13)), (4, range(20, 23)), (0, range(30, 33))):
        assert [plan(visitor, number, place).status_code for place in places] == [202, 202, 429]
    with time_machine.travel(NOW + timedelta(days=3), tick=False):
        today = visitor.asks("+4930901040")
    assert (today.status_code, "Retry-After" in today.headers) == (429, True)


def test_what_is_due_before_the_end_of_today_uses_the_money_of_today(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(**TWO_EUROS, expiry_minutes=1440)
    assert plan(visitor, 0, 1).status_code == 202
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        # The one of the day before has not been called yet.
        assert [visitor.asks(f"+4930901{place:03}").status_code for place in (2, 3)] == [202, 429]


@BUDGETS
def test_a_link_moves_no_request_to_a_day_that_is_used_up(
    app: Flask, visitor_of: MakeVisitor, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    path = link(plan(visitor, 1, 1))
    for place in (2, 3):
        assert plan(visitor, 2, place).status_code == 202
    before = counted(app), json_of(visitor.client.get(path, headers={"Accept": "application/json"}))
    refused = moves(visitor, path, 2)
    assert (refused.status_code, json_of(refused)["code"]) == (429, "budget_exhausted")
    assert (counted(app), json_of(visitor.client.get(path, headers={"Accept": "application/json"}))) == before
    # Within its day, and to a day with some budget left, it can be moved.
    assert moves(visitor, path, 1, 15).status_code == 200
    assert moves(visitor, path, 3).status_code == 200
    assert counted(app) == {1: (1, 1), 2: (2, 0), 3: (1, 0)}


@BUDGETS
def test_a_request_that_is_moved_away_leaves_its_place_to_others(
    app: Flask, visitor_of: MakeVisitor, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    path = link(plan(visitor, 1, 1))
    assert plan(visitor, 1, 2).status_code == 202
    assert plan(visitor, 1, 3).status_code == 429
    assert moves(visitor, path, 2).status_code == 200
    assert [plan(visitor, 1, place).status_code for place in (3, 4)] == [202, 429]
    # Back and forth, one request has one place, however often its link is used.
    assert moves(visitor, path, 1).status_code == 429
    for number in (3, 2, 3, 2):
        moved = moves(visitor, path, number)
        assert moved.status_code in (200, 429)
    assert [plan(visitor, 2, place).status_code for place in (5, 6)] == [202, 429]


def dial(app: Flask, response: TestResponse) -> None:
    """A phone rings for a request, and nobody answers."""
    with app.app_context(), writing() as session:
        session.add(attempt(UUID(json_of(response)["reference"]), "0.00", datetime.now(UTC)))


def test_a_request_for_which_a_phone_has_rung_keeps_its_place(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(**TWO_CALLS)
    answer = plan(visitor, 1, 1)
    with time_machine.travel(NOW + timedelta(days=1, hours=3), tick=False):
        dial(app, answer)
        assert moves(visitor, link(answer), 2).status_code == 200
        assert moves(visitor, link(answer), 3).status_code == 200
    assert counted(app) == {1: (1, 0), 2: (1, 1), 3: (1, 0)}


def test_a_decoy_is_counted_and_refused_like_a_callback(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(**TWO_CALLS)
    with time_machine.travel(NOW + timedelta(minutes=1), tick=False):
        assert visitor.asks("+4930901001").status_code == 202
        path = link(visitor.asks("+4930901001"))
        with app.app_context(), reading() as session:
            assert len(session.scalars(select(DecoyRequest)).all()) == 1
        for place in (2, 3):
            assert plan(visitor, 1, place).status_code == 202
        assert moves(visitor, path, 1).status_code == 429
        assert moves(visitor, path, 2).status_code == 200
    assert counted(app) == {0: (2, 1), 1: (2, 0), 2: (1, 0)}


@pytest.mark.parametrize("listed", [False, True], ids=["in hand", "listed"])
def test_a_decoy_that_waits_has_money_of_its_own(
    app: Flask, desk: Actor, portal: FakePortal, visitor_of: MakeVisitor, listed: bool
) -> None:
    """It may become a callback; and whether it uses up the money must not tell what it is."""
    number = "+4930901777"
    if listed:
        assert desk.asks("POST", "/do-not-call", {"number": number}).status_code == 201
    visitor = visitor_of(**TWO_EUROS)
    said = [visitor.asks(number) for _ in range(3)]
    assert [answer.status_code for answer in said] == [202, 202, 429]
    assert [moves(visitor, link(answer), 0, 13).status_code for answer in said[:2]] == [200, 200]
    with app.app_context(), reading() as session:
        of_form = select(func.count(Callback.id)).where(Callback.form_id.is_not(None))
        assert session.scalar(of_form) == (0 if listed else 2)
    assert visitor.asks("+4930901778").status_code == 429


def test_a_decoy_that_is_shown_as_dialled_keeps_its_money_while_it_may_be_called(
    app: Flask, desk: Actor, visitor_of: MakeVisitor
) -> None:
    """The callback before it is of another form, whose line is full until it expires."""
    number, visitor = "+4930901777", visitor_of(**TWO_EUROS)
    assert visitor_of(limits=PLENTY).asks(number).status_code == 202
    said = []
    for _ in range(3):
        said.append(visitor.asks(number).status_code)
        with app.app_context(), writing() as session:
            session.execute(update(DecoyRequest).values(released_at=datetime.now(UTC)))
    assert said == [202, 202, 429]


@BUDGETS
def test_a_key_moves_no_callback_to_a_day_that_is_used_up(
    app: Flask, visitor_of: MakeVisitor, back_end_of: MakeBackEnd, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    back_end = back_end_of(visitor)
    id = json_of(back_end.requests_callback("+4930901001"))["id"]
    for place in (2, 3):
        assert plan(visitor, 1, place).status_code == 202
    refused = back_end.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": day(1)})
    assert (refused.status_code, json_of(refused)["code"]) == (429, "budget_exhausted")
    assert json_of(back_end.asks("GET", f"/callbacks/{id}"))["state"] == "queued"
    assert back_end.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": day(2)}).status_code == 200
    assert counted(app) == {0: (1, 1), 1: (2, 0), 2: (1, 0)}


@BUDGETS
def test_people_move_callbacks_whatever_the_budget_says(
    desk: Actor, visitor_of: MakeVisitor, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    id = json_of(plan(visitor, 2, 1))["reference"]
    for place in (2, 3):
        assert plan(visitor, 1, place).status_code == 202
    assert desk.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": day(1)}).status_code == 200


@BUDGETS
def test_the_last_place_of_a_day_is_given_once(
    app: Flask, visitor_of: MakeVisitor, other_app: OtherApp, budget: dict[str, Any]
) -> None:
    visitor = visitor_of(**budget)
    assert plan(visitor, 1, 1).status_code == 202
    paths = [link(plan(visitor, 2 + place // 2, 10 + place)) for place in range(4)]
    clients = [app.test_client(), other_app().test_client()]
    proofs = [visitor.works() for _ in range(4)]

    def come(place: int) -> int:
        client = clients[place % 2]
        if place < 4:
            return client.post(f"{paths[place]}/reschedule", json={"scheduled_at": day(1)}).status_code
        asks = Visitor(client, visitor.form_key, origin=visitor.origin).asks
        return asks(f"+4930901{place:03}", scheduled_at=day(1), altcha=proofs[place - 4]).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(come, range(8)))
    assert sorted(answers)[1:] == [429] * 7
    with app.app_context(), reading() as session:
        due = session.scalars(select(Callback.due_at)).all()
    assert len([at for at in due if at.date() == (NOW + timedelta(days=1)).date()]) == 2


def test_one_link_that_is_used_many_times_at_once_has_one_place(
    app: Flask, visitor_of: MakeVisitor, other_app: OtherApp
) -> None:
    visitor = visitor_of(**TWO_CALLS)
    path = link(plan(visitor, 1, 1))
    clients = [app.test_client(), other_app().test_client()]

    def come(place: int) -> int:
        sent = {"scheduled_at": day(1 + place % 3)}
        return clients[place % 2].post(f"{path}/reschedule", json=sent).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(come, range(6)))
    assert set(answers) == {200}
    with app.app_context(), reading() as session:
        [due_at] = session.scalars(select(Callback.due_at).where(Callback.form_id.is_not(None)))
    staying = {number: calls - away for number, (calls, away) in counted(app).items()}
    assert staying == {number: int(number == (due_at.date() - NOW.date()).days) for number in staying}


def test_the_rule_tester_looks_at_the_budget_of_the_day_that_is_tried(desk: Actor, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(**TWO_CALLS)
    for place in (1, 2):
        assert plan(visitor, 1, place).status_code == 202
    trial = {"form_key": visitor.form_key, "number": "+4930901009"}
    decided = [
        json_of(desk.asks("POST", "/rules/test", trial | {"at": day(number)}))["decides"] for number in (0, 1, 2)
    ]
    assert decided == [None, "budget_calls", None]
    assert json_of(desk.asks("GET", f"/forms/{visitor.form_key}"))["problems"] == []


def test_the_portal_reads_which_day_is_used_up(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(**TWO_EUROS)
    for number, place in ((1, 1), (1, 2), (1, 3), (0, 4), (0, 5), (0, 6)):
        plan(visitor, number, place)
    with app.app_context(), reading() as session:
        inputs = session.scalars(select(Rejection.inputs).order_by(Rejection.id)).all()
    assert [said.get("day") for said in inputs] == [(NOW + timedelta(days=1)).date().isoformat(), None]

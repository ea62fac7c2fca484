"""One callback for several who asked for its number: no link takes the call away from the others."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest, State, utcnow
from bx24app.services.websites import status_page
from bx24app.settings import settings
from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import work
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}


@pytest.fixture
def form(visitor_of: MakeVisitor, worker: Worker) -> Iterator[Visitor]:
    """A form, while nobody dials: what is asked for stays queued."""
    worker.stop()
    visitor = visitor_of(limits=PLENTY)
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield visitor


def asks(visitor: Visitor, **body: Any) -> dict[str, Any]:
    answer = visitor.asks(CUSTOMER, **body)
    assert answer.status_code == 202, answer.text
    return json_of(answer)


def acts(visitor: Visitor, answer: dict[str, Any], action: str, **body: Any) -> tuple[int, dict[str, Any]]:
    path = "/c/" + answer["status_url"].rpartition("/c/")[2]
    done = visitor.client.post(f"{path}/{action}", json=body, headers={"Accept": "application/json"})
    return done.status_code, json_of(done)


def callbacks(app: Flask) -> list[Callback]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(Callback).order_by(Callback.id)))


def later(hours: float = 3) -> str:
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)).isoformat()


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("cancel", {}, "cancelled"),
    ("reschedule", {"scheduled_at": later()}, "scheduled"),
]


@pytest.mark.parametrize(("action", "body", "state"), CHANGES)
def test_whoever_asked_first_does_not_take_the_call_away(
    app: Flask, form: Visitor, portal: FakePortal, desk: Actor, action: str, body: dict[str, Any], state: str
) -> None:
    first, second = asks(form, name="Eve", idempotency_key="first"), asks(form, name="Anna")
    status, shown = acts(form, first, action, **body)
    assert (status, shown["state"]) == (200, state)
    # It goes on showing what was done with it, also to whoever sends the same again.
    assert json_of(form.looks(first["status_url"])) == shown
    assert asks(form, name="Eve", idempotency_key="first")["state"] == state
    assert [callback.state for callback in callbacks(app)] == [State.QUEUED]
    words = [made["words"] for made in desk.sees(first["reference"])["decisions"]]
    assert words[1:] == [
        "Withdrawn or moved by its link; it is called as it was, because others asked for this number too"
    ]
    work(app)
    assert [dial["number"] for dial in portal.telephony.dials] == [CUSTOMER]
    assert json_of(form.looks(first["status_url"])) == shown
    assert acts(form, second, "cancel")[0] in (200, 409)


@pytest.mark.parametrize(("action", "body", "state"), CHANGES)
def test_the_link_shows_what_one_shows_that_nobody_else_waits_for(
    form: Visitor, action: str, body: dict[str, Any], state: str
) -> None:
    """Else it would tell whether somebody else has asked."""
    alone = json_of(form.asks("+494042828"))
    shared, _ = asks(form), asks(form)

    def steps(answer: dict[str, Any]) -> Iterator[Any]:
        yield acts(form, answer, action, **body)
        yield json_of(form.looks(answer["status_url"]))
        yield acts(form, answer, "reschedule", scheduled_at="soon")
        yield acts(form, answer, "cancel")
        yield acts(form, answer, "cancel")
        yield acts(form, answer, "reschedule", scheduled_at=later())
        yield json_of(form.looks(answer["status_url"]))

    assert list(steps(alone)) == list(steps(shared))


@pytest.mark.parametrize("first", ["holder", "decoy"])
def test_a_callback_that_everybody_has_withdrawn_is_cancelled(
    app: Flask, form: Visitor, desk: Actor, first: str
) -> None:
    holder, decoys = asks(form), [asks(form), asks(form)]
    for answer in [holder, *decoys] if first == "holder" else [*decoys, holder]:
        [callback] = callbacks(app)
        assert callback.state == State.QUEUED
        assert acts(form, answer, "cancel")[0] == 200
    assert [callback.state for callback in callbacks(app)] == [State.CANCELLED]
    assert desk.sees(holder["reference"])["decisions"][-1]["words"] == "Cancelled (the customer)"


def test_a_withdrawn_decoy_leaves_the_call_to_whoever_asked_first(app: Flask, form: Visitor) -> None:
    asks(form)
    assert acts(form, asks(form), "cancel")[0] == 200
    assert [callback.state for callback in callbacks(app)] == [State.QUEUED]


def test_staff_cancel_and_move_it_all_the_same(app: Flask, form: Visitor, manager: Actor) -> None:
    holder, _ = asks(form), asks(form)
    assert acts(form, holder, "cancel")[0] == 200
    path = f"/callbacks/{holder['reference']}"
    assert manager.asks("PATCH", path, {"scheduled_at": later()}).status_code == 200
    assert manager.asks("POST", f"{path}/cancel").status_code == 200
    assert [callback.state for callback in callbacks(app)] == [State.CANCELLED]


def test_what_its_link_shows_goes_with_the_callback(app: Flask, form: Visitor, administrator: Actor) -> None:
    holder, _ = asks(form), asks(form)
    assert acts(form, holder, "cancel")[0] == 200
    body = {"number": CUSTOMER, "confirm": CUSTOMER}
    assert administrator.asks("POST", "/erase", body).status_code == 200
    assert form.looks(holder["status_url"]).status_code == 404
    with app.app_context(), reading() as session:
        assert [str(id) for id in session.scalars(select(DecoyRequest.id))] != [holder["reference"]]
        kept = timedelta(days=settings.retention_days)
    with time_machine.travel(utcnow() + kept + timedelta(days=1)), app.app_context():
        assert status_page.purge_decoys() == 1


def test_a_time_that_was_chosen_is_called_besides_what_rings_now(app: Flask, form: Visitor) -> None:
    asks(form)
    planned = asks(form, scheduled_at=later())
    assert planned["state"] == "scheduled"
    assert [callback.state for callback in callbacks(app)] == [State.QUEUED, State.SCHEDULED]
    assert str(callbacks(app)[1].id) == planned["reference"]


def test_a_request_and_a_withdrawal_at_once_lose_no_call(app: Flask, form: Visitor) -> None:
    """Either the second is answered by a callback of its own, or the first one stays."""
    others = [Visitor(app.test_client(), form.form_key, origin=form.origin, address=form.address) for _ in range(2)]
    for _ in range(12):
        holder, solved = asks(form), form.works()
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(asks, others[0], altcha=solved)
            withdrawn = pool.submit(acts, others[1], holder, "cancel")
        assert withdrawn.result()[0] == 200
        waiting = [callback for callback in callbacks(app) if callback.state == State.QUEUED]
        assert len(waiting) == 1
        assert acts(form, asked.result(), "cancel")[0] == 200
        assert {callback.state for callback in callbacks(app)} == {State.CANCELLED}


def test_a_request_waits_for_whoever_withdraws_the_holder(app: Flask, form: Visitor) -> None:
    """Else it would be answered because of a callback that has just been withdrawn."""
    asks(form)
    other, solved = Visitor(app.test_client(), form.form_key, origin=form.origin, address=form.address), form.works()
    with ThreadPoolExecutor(1) as pool:
        with app.app_context(), writing() as session:
            holder = session.scalars(select(Callback).with_for_update()).one()
            asked = pool.submit(asks, other, altcha=solved)
            time.sleep(0.5)
            holder.cancel(utcnow())
        asked.result()
    assert [callback.state for callback in callbacks(app)] == [State.CANCELLED, State.QUEUED]

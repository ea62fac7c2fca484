"""One callback for several who asked for its number: no link takes the call away from the others."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading, writing
from bx24app.models import Callback, State, WebsiteRequest, utcnow
from bx24app.services.websites import status_page
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import follow_calls, pass_time, work
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}


@pytest.fixture
def form(visitor_of: MakeVisitor) -> Iterator[Visitor]:
    """A form, while nobody dials: what is asked for stays queued."""
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


def states(app: Flask) -> dict[str, str]:
    return {str(callback.id): callback.state for callback in callbacks(app)}


def end_all_calls(app: Flask, portal: FakePortal) -> None:
    for call in portal.telephony.calls:
        call.hang_up()
    follow_calls(app, portal)


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
    first, second = asks(form, name="Eve", idempotency_key="first"), asks(form, name="Anna", idempotency_key="second")
    status, shown = acts(form, first, action, **body)
    assert (status, shown["state"]) == (200, state)
    # It goes on showing what was done with it, also to whoever sends the same again.
    assert json_of(form.looks(first["status_url"])) == shown
    assert asks(form, name="Eve", idempotency_key="first")["state"] == state
    assert asks(form, name="Anna", idempotency_key="second") == second
    assert states(app) == {first["reference"]: state, second["reference"]: "queued"}
    words = [made["words"] for made in desk.sees(second["reference"])["decisions"]]
    assert words[1:] == [
        "Asked for while another request for this number waited, which was withdrawn, moved or not dialled"
    ]
    # Nothing of the first request is said of the second one, which may be of another form and another person.
    assert "Eve" not in str(desk.sees(second["reference"]))
    work(app)
    assert [dial["number"] for dial in portal.telephony.dials] == [CUSTOMER]
    assert states(app) == {first["reference"]: state, second["reference"]: "started"}
    assert json_of(form.looks(second["status_url"]))["state"] == "started"
    if action == "reschedule":
        end_all_calls(app, portal)
        pass_time(app, timedelta(hours=3, minutes=1))
        work(app)
        assert len(portal.telephony.dials) == 2


@pytest.mark.parametrize(("action", "body", "state"), CHANGES)
def test_the_link_shows_what_one_shows_that_nobody_else_waits_for(
    form: Visitor, action: str, body: dict[str, Any], state: str
) -> None:
    """Else it would tell whether somebody else has asked."""
    alone = json_of(form.asks("+494042828"))
    shared, behind = asks(form), asks(form)

    def steps(answer: dict[str, Any]) -> Iterator[Any]:
        yield json_of(form.looks(answer["status_url"]))
        yield acts(form, answer, action, **body)
        yield json_of(form.looks(answer["status_url"]))
        yield acts(form, answer, "reschedule", scheduled_at="soon")
        yield acts(form, answer, "cancel")
        yield acts(form, answer, "cancel")
        yield acts(form, answer, "reschedule", scheduled_at=later())
        yield json_of(form.looks(answer["status_url"]))

    assert list(steps(alone)) == list(steps(shared)) == list(steps(behind))


@pytest.mark.parametrize("first", ["holder", "decoy"])
def test_when_everybody_has_withdrawn_nobody_calls(app: Flask, form: Visitor, portal: FakePortal, first: str) -> None:
    holder, decoys = asks(form), [asks(form), asks(form)]
    for answer in [holder, *decoys] if first == "holder" else [*decoys, holder]:
        assert "queued" in states(app).values()
        assert acts(form, answer, "cancel")[0] == 200
    assert set(states(app).values()) == {"cancelled"}
    work(app)
    assert portal.telephony.dials == []


def test_a_withdrawn_decoy_leaves_the_call_to_whoever_asked_first(app: Flask, form: Visitor) -> None:
    asks(form)
    assert acts(form, asks(form), "cancel")[0] == 200
    assert list(states(app).values()) == ["queued"]


def test_whoever_asked_second_and_moves_it_is_called_then(
    app: Flask, form: Visitor, portal: FakePortal, desk: Actor
) -> None:
    first, second = asks(form), asks(form)
    assert acts(form, second, "reschedule", scheduled_at=later())[0] == 200
    assert states(app) == {first["reference"]: "queued", second["reference"]: "scheduled"}
    assert json_of(form.looks(second["status_url"]))["state"] == "scheduled"
    assert [made["rule"] for made in desk.sees(second["reference"])["decisions"]] == ["requested", "rescheduled"]
    work(app)
    end_all_calls(app, portal)
    pass_time(app, timedelta(hours=3, minutes=1))
    work(app)
    assert len(portal.telephony.dials) == 2


def test_what_was_asked_for_too_often_is_not_called_by_a_detour(
    app: Flask, visitor_of: MakeVisitor, portal: FakePortal
) -> None:
    visitor = visitor_of(limits=PLENTY | {"number_day": 2})
    first, _, limited = asks(visitor), asks(visitor), asks(visitor)
    assert acts(visitor, limited, "reschedule", scheduled_at=later())[0] == 200
    assert acts(visitor, first, "cancel")[0] == 200
    assert limited["reference"] not in states(app)
    assert sorted(states(app).values()) == ["cancelled", "queued"]


@pytest.mark.parametrize(("action", "body", "state"), CHANGES)
def test_a_back_end_takes_the_call_from_nobody(
    app: Flask, form: Visitor, administrator: Actor, action: str, body: dict[str, Any], state: str
) -> None:
    key = json_of(administrator.asks("POST", "/api-keys", {"form_key": form.form_key, "name": "Site"}))["secret"]

    def sends(method: str, path: str, **json: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        answer = form.client.open(f"/api/v1/callbacks{path}", method=method, json=json, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return json_of(answer)

    mine = sends("POST", "", to_number=CUSTOMER)
    second = asks(form)
    done = sends("PATCH", f"/{mine['id']}", **body) if body else sends("POST", f"/{mine['id']}/cancel")
    assert done["state"] == state
    assert states(app) == {mine["id"]: state, second["reference"]: "queued"}


def test_a_decoy_that_becomes_a_callback_in_this_moment_is_there_when_it_is_asked_for_again(
    app: Flask, form: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = asks(form), asks(form)
    count = status_page._count_change

    def meanwhile(id: UUID, what: str) -> None:
        count(id, what)
        monkeypatch.setattr(status_page, "_count_change", count)
        assert acts(form, first, "cancel")[0] == 200

    monkeypatch.setattr(status_page, "_count_change", meanwhile)
    assert acts(form, second, "cancel")[0] == 503
    assert acts(form, second, "cancel")[0] == 200
    assert set(states(app).values()) == {"cancelled"}


def test_staff_cancel_for_all(app: Flask, form: Visitor, manager: Actor) -> None:
    """A colleague decides about the number, and would wonder about a call that rings all the same."""
    holder, _ = asks(form), asks(form)
    path = f"/callbacks/{holder['reference']}"
    assert manager.asks("PATCH", path, {"scheduled_at": later()}).status_code == 200
    assert manager.asks("POST", f"{path}/cancel").status_code == 200
    assert list(states(app).values()) == ["cancelled"]


def test_an_heir_is_erased_and_kept_like_any_callback(app: Flask, form: Visitor, administrator: Actor) -> None:
    holder, second = asks(form), asks(form)
    assert acts(form, holder, "cancel")[0] == 200
    body = {"number": CUSTOMER, "confirm": CUSTOMER}
    assert administrator.asks("POST", "/erase", body).status_code == 200
    assert form.looks(second["status_url"]).status_code == 404
    with app.app_context(), reading() as session:
        assert session.scalars(select(WebsiteRequest)).all() == []


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

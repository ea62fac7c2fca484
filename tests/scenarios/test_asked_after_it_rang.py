"""Who asks after a call, and before its end is known, is told to be called: so they are.

Who asks while it rings, or is talked, has been called by it: also where nobody ever knows how it ended.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.bitrix24.client import DIAL_SECONDS
from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest, Form, State, utcnow
from bx24app.models.callbacks.attempt import BEGINS_LATE
from bx24app.services.dialling import abandoned, call_history, deadlines, dial
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.scenarios.test_shared_callbacks import asks, form, states
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import change_portal, follow_calls, pass_time, work

__all__ = ["form"]

START = "voximplant.callback.start"
HALF_AN_HOUR, MINUTE = timedelta(minutes=30), timedelta(minutes=1)
End = Callable[[Flask, Actor, str], None]


def goes_on(app: Flask, by: timedelta) -> None:
    """Let time pass, and a worker do what is due then."""
    pass_time(app, by)
    with app.app_context():
        call_history.read_next_history()
        deadlines.apply_deadlines()
        abandoned.expire_abandoned()


def is_asked_about(app: Flask, manager: Actor, id: str) -> None:
    """Nobody knows, and no report can come any more."""
    goes_on(app, timedelta(hours=1))


def was_not_reached(app: Flask, manager: Actor, id: str) -> None:
    answer = manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "not_reached"})
    assert answer.status_code == 200


@pytest.mark.parametrize("ends", [is_asked_about, was_not_reached])
def test_after_one_of_unknown_outcome(app: Flask, form: Visitor, manager: Actor, portal: FakePortal, ends: End) -> None:
    portal.faults.add("drop_before", START)
    id = json_of(manager.requests_callback(CUSTOMER))["id"]
    work(app)
    pass_time(app, HALF_AN_HOUR)
    later = asks(form)
    ends(app, manager, id)
    assert work(app) == 1
    assert json_of(form.looks(later["status_url"]))["state"] == "started"


def test_behind_one_that_its_form_dials_again_they_wait_as_long_as_it(
    app: Flask, form: Visitor, portal: FakePortal
) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Form).values(unknown_policy="dial_again", retries=1))
    portal.faults.add("drop_before", START)
    asks(form)
    work(app)
    pass_time(app, HALF_AN_HOUR)
    asks(form)
    goes_on(app, timedelta(minutes=50))
    with app.app_context(), reading() as session:
        assert session.scalars(select(Callback.state)).one() == State.QUEUED
        behind = session.scalars(select(DecoyRequest.expires_at)).one()
        assert behind == session.scalars(select(Callback.expires_at)).one()


def test_after_one_whose_end_nobody_tells(app: Flask, form: Visitor, manager: Actor, portal: FakePortal) -> None:
    portal.events.pause()
    portal.administrator.rights.discard(SEE_STATISTICS)
    manager.requests_callback(CUSTOMER)
    work(app)
    goes_on(app, timedelta(hours=3, minutes=30))
    later = asks(form)
    goes_on(app, timedelta(minutes=31))
    assert work(app) == 1
    assert json_of(form.looks(later["status_url"]))["state"] == "started"


@pytest.mark.parametrize("is_reached", [True, False])
@pytest.mark.parametrize(("minutes", "is_called"), [(0, False), (30, True)])
def test_after_one_whose_end_is_told_late(
    app: Flask, form: Visitor, manager: Actor, portal: FakePortal, is_reached: bool, minutes: int, is_called: bool
) -> None:
    """And who asks while it rings has been called by it."""
    portal.events.pause()
    id = json_of(manager.requests_callback(CUSTOMER))["id"]
    work(app)
    if is_reached:
        portal.telephony.calls[0].manager_answers()
        portal.telephony.calls[0].customer_answers()
        portal.telephony.calls[0].hang_up()
    else:
        portal.telephony.calls[0].manager_refuses()
    asked_at_begin = asks(form) if minutes == 0 else None
    pass_time(app, timedelta(minutes=minutes))
    portal.telephony.history[0]["CALL_START_DATE"] = (utcnow() - timedelta(minutes=minutes)).isoformat()
    later = asked_at_begin or asks(form)
    goes_on(app, timedelta(minutes=1))
    shown = json_of(manager.asks("GET", f"/callbacks/{id}"))["state"]
    assert shown == ("completed" if is_reached else "missed")
    assert work(app) == is_called
    assert (json_of(form.looks(later["status_url"]))["state"] == "started") is is_called


def test_who_asks_while_it_rings_is_not_called_though_the_history_tells_of_a_short_call(
    app: Flask, form: Visitor, portal: FakePortal
) -> None:
    """It tells when the call was registered, and how long they talked: that it rang for 40 seconds it does not."""
    portal.events.pause()
    first = asks(form)
    work(app)
    pass_time(app, timedelta(seconds=35))
    asks(form)
    pass_time(app, timedelta(seconds=25))
    reaches_the_customer(portal)
    began = (utcnow() - MINUTE).isoformat()
    portal.telephony.history[0].update(CALL_START_DATE=began, CALL_DURATION="20")
    goes_on(app, timedelta(seconds=1))
    assert work(app) == 0
    assert states(app) == {first["reference"]: "completed"}


def wait_long(app: Flask) -> None:
    """Let whoever asks at a form wait for a day."""
    with app.app_context(), writing() as session:
        session.execute(update(Form).values(expiry_minutes=24 * 60))


def reaches_the_customer(portal: FakePortal) -> None:
    call = portal.telephony.calls[0]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()


@pytest.mark.parametrize(("answer", "dials"), [("reached", 1), ("not_reached", 1), ("dial_again", 2)])
def test_who_asked_while_one_of_unknown_outcome_rang_waits_for_a_person(
    app: Flask, form: Visitor, desk: Actor, portal: FakePortal, answer: str, dials: int
) -> None:
    """The answer of the dial is lost, its call reaches the customer, and they had pressed twice."""
    wait_long(app)
    portal.administrator.rights.discard(SEE_STATISTICS)
    portal.faults.add("drop_after", START)
    first = asks(form)
    work(app)
    pass_time(app, timedelta(seconds=5))
    asks(form)
    # As slowly as a portal answers, and telephones ring.
    pass_time(app, 3 * MINUTE)
    asks(form)
    reaches_the_customer(portal)
    goes_on(app, timedelta(hours=1))
    assert work(app) == 0
    assert desk.sees(first["reference"])["state"] == "unknown"
    resolved = desk.asks("POST", f"/callbacks/{first['reference']}/resolve", {"outcome": answer})
    assert resolved.status_code == 200
    pass_time(app, timedelta(seconds=1))
    work(app)
    assert len(portal.telephony.dials) == dials
    assert [*states(app)] == [first["reference"]]


def test_who_asked_while_they_talked_is_not_called_though_a_person_wanted_another_call(
    app: Flask, form: Visitor, desk: Actor, portal: FakePortal
) -> None:
    """How long they talked the history knows, once it is read."""
    wait_long(app)
    portal.faults.add("drop_after", START)
    first = asks(form)
    work(app)
    pass_time(app, 5 * MINUTE)
    change_portal(app, line_cap=0)
    desk.asks("POST", f"/callbacks/{first['reference']}/resolve", {"outcome": "dial_again"})
    pass_time(app, MINUTE)
    asks(form)
    pass_time(app, 4 * MINUTE)
    reaches_the_customer(portal)
    began = (utcnow() - 10 * MINUTE).isoformat()
    portal.telephony.history[0].update(CALL_START_DATE=began, CALL_DURATION="590")
    follow_calls(app, portal)
    assert states(app) == {first["reference"]: "completed"}


def test_a_call_begins_while_its_request_is_open() -> None:
    assert timedelta(seconds=DIAL_SECONDS) == BEGINS_LATE


@pytest.mark.parametrize(("after", "is_called"), [(5, False), (30, False), (65, True)])
def test_after_one_that_somebody_answered_and_whose_end_nobody_tells(
    app: Flask, form: Visitor, portal: FakePortal, after: int, is_called: bool
) -> None:
    """That a leg was picked up is told by an event, and how long they talked by nobody."""
    wait_long(app)
    portal.administrator.rights.discard(SEE_STATISTICS)
    first = asks(form)
    work(app)
    reaches_the_customer(portal)
    portal.events.wait_until_idle()
    assert states(app) == {first["reference"]: "answered"}
    pass_time(app, after * MINUTE)
    later = asks(form)
    goes_on(app, timedelta(hours=4))
    assert work(app) == is_called
    others = {later["reference"]: "started"} if is_called else {}
    assert states(app) == {first["reference"]: "missed", **others}


@pytest.mark.parametrize(("after", "is_called"), [(1, False), (3, True)])
def test_who_asks_while_one_rings_whose_end_nobody_tells(
    app: Flask, form: Visitor, portal: FakePortal, after: int, is_called: bool
) -> None:
    wait_long(app)
    portal.events.pause()
    portal.administrator.rights.discard(SEE_STATISTICS)
    asks(form)
    work(app)
    pass_time(app, after * MINUTE)
    asks(form)
    goes_on(app, timedelta(hours=4))
    assert work(app) == is_called


@pytest.mark.parametrize("late", [0, 70])
def test_who_asks_while_it_rings_is_not_called_though_the_portal_began_it_late(
    app: Flask, form: Visitor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    portal.events.pause()
    first = asks(form)
    send = dial._send_once

    def send_late(*args: Any) -> Any:
        pass_time(app, timedelta(seconds=late))
        return send(*args)

    monkeypatch.setattr(dial, "_send_once", send_late)
    work(app)
    pass_time(app, timedelta(seconds=70))
    asks(form)
    pass_time(app, timedelta(seconds=10))
    reaches_the_customer(portal)
    portal.telephony.history[0].update(CALL_DURATION="5")
    goes_on(app, timedelta(seconds=1))
    assert work(app) == 0
    assert states(app) == {first["reference"]: "completed"}


def test_who_asks_while_it_rings_is_not_called_though_the_answer_was_lost_and_the_call_is_known_since(
    app: Flask, form: Visitor, portal: FakePortal
) -> None:
    portal.events.pause()
    portal.faults.add("drop_after", START)
    first = asks(form)
    work(app)
    # It begins after 70 s.
    pass_time(app, timedelta(seconds=150))
    asks(form)
    reaches_the_customer(portal)
    portal.telephony.history[0].update(CALL_DURATION="5")
    goes_on(app, timedelta(seconds=1))
    assert work(app) == 0
    assert states(app) == {first["reference"]: "completed"}

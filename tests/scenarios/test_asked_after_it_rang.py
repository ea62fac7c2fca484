"""Who asks after a call, and before its end is known, is told to be called: so they are."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest, Form, State, utcnow
from bx24app.services.dialling import abandoned, call_history, deadlines
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.scenarios.test_shared_callbacks import asks, form
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import pass_time, work

__all__ = ["form"]

START = "voximplant.callback.start"
HALF_AN_HOUR = timedelta(minutes=30)
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

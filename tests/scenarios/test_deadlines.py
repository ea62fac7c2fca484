"""When the time for evidence is over: a person is asked, or the form's rule dials once more; nothing hangs for ever."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Callback, Portal, State, utcnow
from bx24app.services.dialling import call_history, deadlines
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.support.actors import Actor, json_of
from tests.support.waiting import NUMBER, accept, add_form, change_portal, follow_calls, pass_time, rules, seen, work

START = "voximplant.callback.start"
DEADLINE = deadlines.REPORTS_EXPECTED_WITHIN


@pytest.fixture(autouse=True)
def silent(manager: Actor, portal: FakePortal) -> None:
    portal.events.pause()


def lost(app: Flask, portal: FakePortal, **form: Any) -> UUID:
    portal.faults.add("drop_before", START)
    id = accept(app, form_id=add_form(app, **form) if form else None)
    work(app)
    assert seen(app, id).state == State.UNKNOWN
    return id


def settle(app: Flask, *, after: timedelta) -> int:
    pass_time(app, after)
    with app.app_context():
        call_history.read_next_history()
        return deadlines.apply_deadlines()


def test_before_the_deadline_nothing_is_decided(app: Flask, portal: FakePortal) -> None:
    id = lost(app, portal)
    assert settle(app, after=DEADLINE - timedelta(minutes=1)) == 0
    assert seen(app, id).asks_since is None


def test_after_it_a_person_is_asked_and_the_number_is_free(app: Flask, manager: Actor, portal: FakePortal) -> None:
    id = lost(app, portal)
    assert manager.requests_callback(NUMBER).status_code == 409
    assert settle(app, after=DEADLINE) == 1
    callback = seen(app, id)
    assert (callback.state, callback.asks_since is not None) == (State.UNKNOWN, True)
    assert rules(app, id)[-1] == "deadline_asks"
    assert (
        "The app can't find out by itself. What happened?" in json_of(manager.asks("GET", f"/callbacks/{id}"))["detail"]
    )
    assert settle(app, after=DEADLINE) == 0
    assert manager.requests_callback(NUMBER).status_code == 201
    assert work(app) == 1


def test_what_the_history_was_not_asked_after_the_deadline_is_not_concluded(app: Flask, portal: FakePortal) -> None:
    lost(app, portal)
    with app.app_context():
        call_history.read_next_history()
        pass_time(app, DEADLINE)
        assert deadlines.apply_deadlines() == 0


def test_a_history_that_cannot_be_read_does_not_keep_the_person_from_being_asked(
    app: Flask, portal: FakePortal
) -> None:
    portal.administrator.rights.discard(SEE_STATISTICS)
    id = lost(app, portal)
    assert settle(app, after=DEADLINE) == 1
    assert seen(app, id).decisions[-1].inputs["history"] == "bitrix24_access_denied"


@pytest.mark.parametrize("state", ["disconnected", "unpaid"])
def test_a_portal_that_cannot_be_asked_any_more_does_not_either(app: Flask, portal: FakePortal, state: str) -> None:
    id = lost(app, portal)
    change_portal(app, state=state)
    assert settle(app, after=DEADLINE) == 1
    callback = seen(app, id)
    assert callback.asks_since is not None
    assert not callback.holds_number
    assert callback.decisions[-1].inputs["history"] == state


def test_a_forms_rule_may_be_one_more_attempt_which_counts(app: Flask, portal: FakePortal) -> None:
    id = lost(app, portal, unknown_policy="dial_again", retries=1)
    assert settle(app, after=DEADLINE) == 1
    assert (seen(app, id).state, rules(app, id)[-1]) == (State.QUEUED, "deadline_dials_again")
    portal.faults.add("drop_before", START)
    assert work(app) == 1
    assert settle(app, after=DEADLINE) == 1
    callback = seen(app, id)
    assert (callback.state, len(callback.attempts)) == (State.UNKNOWN, 2)
    assert callback.asks_since is not None


@pytest.mark.parametrize("outcome", ["reached", "not_reached", "dial_again"])
def test_the_person_may_decide_before_and_after(app: Flask, manager: Actor, portal: FakePortal, outcome: str) -> None:
    for after in (timedelta(0), DEADLINE):
        id = lost(app, portal)
        settle(app, after=after)
        answer = manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": outcome})
        assert answer.status_code == 200, answer.text
        if outcome == "dial_again":
            assert work(app) == 1
            portal.telephony.calls[-1].hang_up()
            pass_time(app, timedelta(minutes=1))
            with app.app_context():
                call_history.read_next_history()
        assert seen(app, id).state in (State.COMPLETED, State.MISSED)


def test_dialling_again_waits_for_another_callback_that_has_the_number(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    id = lost(app, portal)
    settle(app, after=DEADLINE)
    other = json_of(manager.requests_callback(NUMBER))["id"]
    answer = manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})
    assert (answer.status_code, json_of(answer)["code"]) == (409, "duplicate_open_callback")
    assert json_of(answer)["id"] == other
    assert seen(app, id).state == State.UNKNOWN
    assert manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "reached"}).status_code == 200


def test_late_evidence_still_settles_one_that_asks(app: Flask, portal: FakePortal) -> None:
    portal.faults.add("drop_after", START)
    id = accept(app)
    work(app)
    pass_time(app, DEADLINE)
    with app.app_context():
        call_history.read_next_history()
        assert deadlines.apply_deadlines() == 1
    portal.events.resume()
    portal.telephony.calls[0].hang_up()
    portal.telephony.history[0]["CALL_START_DATE"] = seen(app, id).attempts[0].started_at.isoformat()
    follow_calls(app, portal)
    assert seen(app, id).state == State.COMPLETED


@pytest.mark.parametrize("picked_up", [False, True])
def test_a_call_whose_end_never_comes_is_closed_and_not_repeated(
    app: Flask, manager: Actor, portal: FakePortal, picked_up: bool
) -> None:
    id = accept(app, form_id=add_form(app, retries=3))
    work(app)
    if picked_up:
        portal.events.resume()
        portal.telephony.calls[0].manager_answers()
        portal.events.wait_until_idle()
    assert settle(app, after=timedelta(hours=3, minutes=59)) == 0
    assert settle(app, after=timedelta(minutes=2)) == 1
    callback = seen(app, id)
    assert (callback.state, callback.reason) == (State.MISSED, "end_not_seen")
    assert "never said how this call ended" in json_of(manager.asks("GET", f"/callbacks/{id}"))["detail"]
    assert manager.requests_callback(NUMBER).status_code == 201


def test_a_portal_that_loses_many_outcomes_keeps_those_of_no_other_waiting(
    app: Flask, portal: FakePortal, fake: FakeBitrix24, application: FakeApp
) -> None:
    """Its history was not read since, so nothing can be decided there yet."""
    neighbour = Actor(app.test_client(), other := fake.add_portal("beta"), application, other.administrator)
    neighbour.installs()
    many = [accept(app, to_number=f"+4930902{number:04}") for number in range(60)]
    theirs = accept(app, portal_id=2)
    with app.app_context():
        pass_time(app, DEADLINE)
        with writing() as session:
            session.execute(update(Callback).values(state=State.UNKNOWN, updated_at=utcnow() - DEADLINE))
            session.execute(update(Portal).where(Portal.id == 2).values(history_read_at=utcnow()))
            session.execute(update(Portal).where(Portal.id == 1).values(history_read_at=utcnow() - DEADLINE * 2))
        assert deadlines.apply_deadlines() == 1
        assert deadlines.apply_deadlines() == 0
        with writing() as session:
            session.execute(update(Portal).values(history_read_at=utcnow()))
        assert [deadlines.apply_deadlines() for _ in range(7)] == [10] * 6 + [0]
    assert seen(app, theirs, 2).asks_since is not None
    assert all(seen(app, id).asks_since is not None for id in many)

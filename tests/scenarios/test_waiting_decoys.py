"""Decoys wait in the queue as callbacks do: a full line, or a portal that is slow, tells nothing about a number."""

import re
import time
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select, update

from bx24app.database import db, reading, writing
from bx24app.models import Callback, Credential, CredentialState, DecoyRequest, Portal, State, Throttle, utcnow
from bx24app.services.dialling import abandoned, queue, waiting_decoys
from bx24app.services.runtime import wakeup
from bx24app.worker.jobs import background_jobs
from bx24app.worker.look import Look
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_query_plans import plans
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import change_portal, follow_calls, pass_time, work
from tests.support.websites import MakeVisitor

IN_HAND, FREE, ANOTHER, LISTED = "+494042828", "+494042829", "+494042830", "+4989636200"
PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}
WAITING = (State.QUEUED, State.SCHEDULED)
# The longest from a release to what is shown as its dial.
A_MOMENT = timedelta(seconds=0.1)


@pytest.fixture
def form(desk: Actor, visitor_of: MakeVisitor) -> Visitor:
    """A form of a portal with one listed number; the steps of a worker are those that a test makes."""
    assert desk.asks("POST", "/do-not-call", {"number": LISTED}).status_code == 201
    return visitor_of(limits=PLENTY)


@pytest.fixture
def busy(app: Flask, form: Visitor, portal: FakePortal) -> Visitor:
    """The same while the only call that the line may have goes on."""
    change_portal(app, line_cap=1)
    asks(form, IN_HAND)
    assert work(app) == 1
    assert [dial["number"] for dial in portal.telephony.dials] == [IN_HAND]
    return form


def asks(visitor: Visitor, number: str, **body: Any) -> dict[str, Any]:
    answer = visitor.asks(number, **body)
    assert answer.status_code == 202, answer.text
    return json_of(answer)


def state(visitor: Visitor, answer: dict[str, Any]) -> State:
    return State(json_of(visitor.looks(answer["status_url"]))["state"])


def later_state(visitor: Visitor, answer: dict[str, Any]) -> State:
    """What is shown once it must be, if it was released by now."""
    with time_machine.travel(utcnow() + A_MOMENT, tick=False):
        return state(visitor, answer)


def acts(visitor: Visitor, answer: dict[str, Any], action: str, **body: Any) -> int:
    path = "/c/" + answer["status_url"].rpartition("/c/")[2]
    return visitor.client.post(f"{path}/{action}", json=body, headers={"Accept": "application/json"}).status_code


def leases(app: Flask) -> list[UUID]:
    """One step of a worker that dials nobody."""
    with app.app_context():
        return [lease.callback_id for lease in queue.lease_due(4)]


def unreleased(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return len(session.scalars(select(DecoyRequest).where(DecoyRequest.released_at.is_(None))).all())


def due_jobs(app: Flask) -> set[str]:
    with app.app_context():
        return Look(background_jobs()).due_jobs() & {"dial", "expire_abandoned_dials"}


def end_pause(app: Flask) -> None:
    """Let the pause be over that a portal has after a look that found nothing to do."""
    pass_time(app, queue.BUSY_PORTAL_PAUSE)


@pytest.mark.parametrize("number", [FREE, IN_HAND, LISTED])
def test_a_full_line_shows_the_same_of_every_number(app: Flask, busy: Visitor, portal: FakePortal, number: str) -> None:
    answer = asks(busy, number)
    for _ in range(3):
        end_pause(app)
        assert work(app) == 0
        assert later_state(busy, answer) == State.QUEUED
    with time_machine.travel(utcnow() + timedelta(minutes=30)):
        assert state(busy, answer) == State.QUEUED
    assert acts(busy, answer, "cancel") == 200
    end_pause(app)
    assert (work(app), len(portal.telephony.dials)) == (0, 1)


@pytest.mark.parametrize("number", [FREE, LISTED])
def test_it_looks_dialled_once_the_line_has_room(app: Flask, busy: Visitor, portal: FakePortal, number: str) -> None:
    answer = asks(busy, number)
    portal.telephony.calls[0].manager_refuses()
    follow_calls(app, portal)
    end_pause(app)
    work(app)
    assert later_state(busy, answer) not in WAITING
    with time_machine.travel(utcnow() + A_MOMENT, tick=False):
        assert acts(busy, answer, "cancel") == 409


def test_it_waits_for_those_before_it_and_takes_no_place(app: Flask, form: Visitor) -> None:
    """Two dials of a portal are in flight at a time, so the third waits, and whoever comes after it."""
    first = asks(form, LISTED)
    callbacks = [asks(form, f"+49404283{number}") for number in range(3)]
    last = asks(form, LISTED)
    assert leases(app) == [UUID(one["reference"]) for one in callbacks[:2]]
    assert later_state(form, first) not in WAITING
    assert later_state(form, last) == later_state(form, callbacks[2]) == State.QUEUED
    pass_time(app, queue.DIAL_LEASE)  # Those two have ended, or their worker is gone.
    with app.app_context(), writing() as session:
        ids = [UUID(one["reference"]) for one in callbacks[:2]]
        session.execute(update(Callback).where(Callback.id.in_(ids)).values(state="missed", holds_number=False))
    assert leases(app) == [UUID(callbacks[2]["reference"])]
    assert later_state(form, last) not in WAITING


def test_it_waits_for_a_line_that_was_stopped_as_others_do(app: Flask, form: Visitor) -> None:
    true, decoy = asks(form, FREE), asks(form, LISTED)
    with app.app_context(), writing() as session:
        line = session.get_one(Callback, UUID(true["reference"])).line_id
        session.scalars(select(Portal)).one().stop_line(line, utcnow() + timedelta(minutes=5))
    assert leases(app) == []
    assert later_state(form, decoy) == later_state(form, true) == State.QUEUED


def test_it_waits_while_no_worker_runs_and_then_expires_as_others_do(app: Flask, form: Visitor) -> None:
    true, decoy = asks(form, FREE), asks(form, LISTED)
    with time_machine.travel(utcnow() + timedelta(hours=3), tick=False):
        assert state(form, decoy) == state(form, true) == State.QUEUED
        assert "expire_abandoned_dials" in due_jobs(app)
        with app.app_context():
            assert abandoned.expire_abandoned() == 1
        assert state(form, decoy) == state(form, true) == State.EXPIRED
        assert (acts(form, decoy, "cancel"), acts(form, true, "cancel")) == (409, 409)
        assert due_jobs(app) == set()


def test_all_decoys_that_have_waited_too_long_expire_at_once(
    app: Flask, form: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those of one portal would be shown as waiting, behind many of another one, while callbacks expire."""
    monkeypatch.setattr(waiting_decoys, "EXPIRED_AT_ONCE", 1)
    monkeypatch.setattr(abandoned, "RUN_SECONDS", 600.0)
    answers = [asks(form, LISTED) for _ in range(3)]
    with time_machine.travel(utcnow() + timedelta(hours=3), tick=False):
        with app.app_context():
            assert abandoned.expire_abandoned() == 0
        assert [state(form, answer) for answer in answers] == [State.EXPIRED] * 3
        assert due_jobs(app) == set()


@pytest.mark.parametrize("number", [FREE, LISTED])
def test_without_access_to_the_portal_it_fails_as_others_do(app: Flask, form: Visitor, number: str) -> None:
    answer = asks(form, number)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(state=CredentialState.DEAD))
    work(app)
    assert later_state(form, answer) == State.FAILED


def test_a_move_forgets_the_release(app: Flask, form: Visitor) -> None:
    answer = asks(form, LISTED, scheduled_at=(utcnow() + timedelta(hours=1)).isoformat())
    with app.app_context(), writing() as session:
        [decoy] = session.scalars(select(DecoyRequest))
        decoy.release(utcnow() + timedelta(seconds=30))
    soon = utcnow() + timedelta(hours=3)
    assert acts(form, answer, "reschedule", scheduled_at=soon.isoformat()) == 200
    with time_machine.travel(soon + timedelta(seconds=10)):
        assert state(form, answer) == State.SCHEDULED
        assert leases(app) == []
        assert later_state(form, answer) not in WAITING


@pytest.mark.parametrize("number", [FREE, LISTED])
def test_a_worker_is_woken_for_every_request_and_move(form: Visitor, number: str) -> None:
    """Else the time until a worker looks by itself would tell them apart."""
    rung: list[object] = []
    with wakeup.listening(lambda job, row_id: rung.append((job, row_id))):
        answer = asks(form, number)
        assert acts(form, answer, "reschedule", scheduled_at=utcnow().isoformat()) == 200
    assert rung == [("dial", UUID(answer["reference"]))] * 2


def test_what_an_earlier_version_stored_goes_on_as_it_was_shown(app: Flask, form: Visitor) -> None:
    answer = asks(form, LISTED)
    with app.app_context(), writing() as session:
        session.execute(update(DecoyRequest).values(line_id=None, expires_at=None))
    assert due_jobs(app) == set()
    with time_machine.travel(utcnow() + timedelta(seconds=1), tick=False):
        assert state(form, answer) not in WAITING


@pytest.mark.parametrize("end", ["released", "withdrawn", "planned"])
def test_a_worker_rests_unless_a_decoy_is_due(app: Flask, form: Visitor, end: str) -> None:
    planned = {"scheduled_at": (utcnow() + timedelta(hours=1)).isoformat()} if end == "planned" else {}
    answer = asks(form, LISTED, **planned)
    assert due_jobs(app) == (set() if end == "planned" else {"dial"})
    if end == "released":
        leases(app)
    elif end == "withdrawn":
        assert acts(form, answer, "cancel") == 200
    assert due_jobs(app) == set()


def test_leasing_reads_no_decoys_while_none_is_due(app: Flask, form: Visitor) -> None:
    asks(form, LISTED, scheduled_at=(utcnow() + timedelta(hours=1)).isoformat())
    asks(form, FREE)
    asked: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note := lambda *at: asked.append(at[2]))
        try:
            assert len(queue.lease_due(4)) == 1
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
    # The question which portals have something due is one for callbacks and decoys.
    assert len([sql for sql in asked if "ghost" in sql]) == 1


def test_it_stands_in_the_queue_of_its_own_portal(
    app: Flask, busy: Visitor, fake: FakeBitrix24, application: FakeApp
) -> None:
    """The lines of two portals may have one name."""
    neighbour = Actor(app.test_client(), other := fake.add_portal("beta"), application, other.administrator)
    neighbour.installs()
    other.events.wait_until_idle()
    neighbour.opens()
    neighbour.asks("GET", "/lines")
    neighbour.asks("POST", "/do-not-call", {"number": LISTED})
    with app.app_context(), reading() as session:
        line_id = session.scalars(select(Callback.line_id)).one()
    made = neighbour.asks("POST", "/forms", {"name": "Shop", "line_id": line_id, "default_country": "DE"})
    elsewhere = Visitor(app.test_client(), json_of(made)["key"], origin=busy.origin)
    here, there = asks(busy, LISTED), asks(elsewhere, LISTED)
    end_pause(app)
    assert leases(app) == []
    assert later_state(busy, here) == State.QUEUED
    assert later_state(elsewhere, there) not in WAITING


def test_those_that_wait_are_found_by_an_index_however_many_have_been(app: Flask, form: Visitor) -> None:
    asks(form, LISTED)
    found: list[str] = []
    with app.app_context(), plans(found, is_large=True):
        queue.lease_due(4)
        abandoned.expire_abandoned()
    read = [plan for plan in found if "ghost" in plan]
    assert any("ix_ghost_unreleased" in plan for plan in read)
    for plan in read:
        assert not re.search(r"Seq Scan on ghost|SCAN ghost", plan), plan


@pytest.mark.parametrize(("took", "pause"), [(0.001, 1.0), (0.05, 1.0), (3.0, 5.0)])
def test_a_portal_whose_waiting_calls_take_long_to_go_through_rests_for_longer(
    app: Flask, busy: Visitor, monkeypatch: pytest.MonkeyPatch, took: float, pause: float
) -> None:
    """Nobody else writes to SQLite meanwhile, and it has them gone through whenever somebody's call is due."""
    asks(busy, FREE)
    end_pause(app)
    with app.app_context(), monkeypatch.context() as patch:
        patch.setattr(time, "thread_time", Mock(side_effect=[0.0, took]))
        begin = utcnow()
        assert queue.lease_due(4) == []
        with reading() as session:
            [rests_until] = session.scalars(select(Throttle.dial_at))
    assert rests_until is not None
    assert pause <= (rests_until - begin).total_seconds() < pause + 0.5

"""Portals that answer slowly, whatever the worker asks them: they keep no other portal's to-dos and words waiting."""

import time
from datetime import timedelta

import pytest
from flask import Flask

from bx24app.database import writing
from bx24app.models import (
    Callback,
    Source,
    utcnow,
)
from bx24app.services.dialling import call_history
from bx24app.services.native.follow_up import news, sending
from bx24app.services.runtime import slow_portals, wakeup
from bx24app.worker import jobs, sharing, worker
from bx24app.worker.scheduler import LeasedJob
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor
from tests.support.leases import LEASES, due_everywhere
from tests.support.waiting import accept, change_portal

HANGING = 4
HISTORY = "voximplant.statistic.get"
NOTIFY = "im.notify.system.add"
QUESTIONS = {"make_to_dos": "batch", "send_notifications": NOTIFY}


@pytest.fixture
def others(manager: Actor, fake: FakeBitrix24, application: FakeApp) -> list[FakePortal]:
    portals = [fake.add_portal(f"p{number}") for number in range(HANGING)]
    for portal in portals:
        Actor(manager.client, portal, application, portal.administrator).installs()
    return portals


def missed(app: Flask, portal_id: int, portal: FakePortal, times: int = 1) -> None:
    """Customers with a card were not reached, and somebody of the company waits for each."""
    for number in range(times):
        phone = f"+4930{portal_id:03}{number:05}"
        lead = portal.crm.add_lead("Roof", phones=[phone])
        asked = {"source": Source.ROBOT, "requested_by": portal.administrator.id}
        card = {"crm_entity_type": "LEAD", "crm_entity_id": lead}
        id = accept(app, portal_id, to_number=phone, **asked, **card)
        with app.app_context(), writing() as session:
            session.get_one(Callback, id).fail(utcnow(), "code_404")
    with app.app_context():
        news.follow_up_ended()


@pytest.mark.parametrize("job", QUESTIONS)
def test_portals_that_hang_leave_half_of_a_jobs_threads_to_the_others(
    app: Flask,
    portal: FakePortal,
    others: list[FakePortal],
    job: str,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 0.3)
    only = [one for one in jobs.background_jobs() if one.name == job]
    monkeypatch.setattr(worker, "background_jobs", lambda _: tuple(only))
    assert only[0].at_once == HANGING
    change_portal(app, hours=None)
    question = QUESTIONS[job]
    for portal_id, one in enumerate(others, 2):
        one.faults.add("hang_before", question, seconds=0.6)
        one.faults.add("hang_before", question, times=100, seconds=60)
        missed(app, portal_id, one, 3)
    before = sum(len(one.requests_for(question)) for one in others)

    def asked() -> int:
        return sum(len(one.requests_for(question)) for one in others) - before

    with working(app) as running:
        eventually(lambda: asked() >= HANGING + HANGING // 2)
        missed(app, 1, portal)
        eventually(lambda: len(portal.requests_for(question)) >= 1)
        assert asked() == HANGING + HANGING // 2
        for one in others:
            one.faults.release()
        running.stop()


def rings(app: Flask, portal_id: int) -> None:
    """A call of a portal has begun, and its end is to be read from the history."""
    id = accept(app, portal_id, to_number=f"+4930901{portal_id:03}")
    with app.app_context(), writing() as session:
        callback, now = session.get_one(Callback, id), utcnow()
        callback.start(callback.fence(now, now, "", None), f"call.{portal_id}", now)


def test_histories_that_come_slowly_leave_half_of_the_threads_to_the_others(
    app: Flask, portal: FakePortal, others: list[FakePortal], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour's calls had no end for minutes."""
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(call_history, "HISTORIES_AT_ONCE", HANGING)
    monkeypatch.setattr(call_history, "HISTORY_RETRY_AFTER", timedelta(seconds=0.1))
    only = [one for one in jobs.background_jobs() if one.name == wakeup.READ_HISTORY]
    monkeypatch.setattr(worker, "background_jobs", lambda _: tuple(only))
    for portal_id, one in enumerate(others, 2):
        one.faults.add("hang_before", HISTORY, seconds=0.6)
        one.faults.add("hang_before", HISTORY, times=100, seconds=60)
        rings(app, portal_id)
    before = sum(len(one.requests_for(HISTORY)) for one in others)

    def asked() -> int:
        return sum(len(one.requests_for(HISTORY)) for one in others) - before

    with working(app) as running:
        eventually(lambda: asked() >= HANGING + HANGING // 2)
        # The job begins one more every half second.
        time.sleep(2)
        rings(app, 1)
        eventually(lambda: len(portal.requests_for(HISTORY)) >= 1)
        assert asked() == HANGING + HANGING // 2
        for one in others:
            one.faults.release()
        running.stop()


def test_a_person_to_whom_much_is_sent_slowly_holds_no_thread_beyond_its_lease(
    app: Flask, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else other threads would take the portal's next people, one after the other, until there are none left."""
    monkeypatch.setattr(sharing, "WORK_SECONDS", 0.5)
    change_portal(app, hours=None)
    missed(app, 1, portal, sending.SENT_IN_TURN)
    portal.faults.add("hang_after", NOTIFY, times=100, seconds=0.3)
    [job] = (one for one in jobs.background_jobs() if one.name == "send_notifications")
    assert isinstance(job, LeasedJob)
    with app.app_context():
        [turn] = job.lease(4)
        job.work(turn)
    assert len(portal.requests_for(NOTIFY)) == 2


def test_whatever_is_leased_of_a_portal_can_be_passed_over(app: Flask, manager: Actor) -> None:
    assert LEASES.keys() | {"dial"} == {one.name for one in jobs.background_jobs() if isinstance(one, LeasedJob)}
    due_everywhere(app)
    with app.app_context():
        for name, lease in LEASES.items():
            assert lease({1}) is None, name
            assert lease({2}) is not None, name

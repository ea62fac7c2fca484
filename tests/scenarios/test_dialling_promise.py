"""The promise about dialling, with real worker processes that are killed with SIGKILL."""

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, utcnow
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.processes import Spawn, kill, run_python
from tests.support.waiting import change_portal

START = "voximplant.callback.start"


def let_leases_end(app: Flask) -> None:
    """What 90 seconds do, at once: the lease of a dead worker is over."""
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))


def state(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Callback.state)).one()


@pytest.mark.parametrize(("fault", "executed"), [("hang_before", 0), ("hang_after", 1)])
def test_a_worker_killed_after_the_fence_leaves_unknown_and_no_second_dial(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    spawn: Spawn,
    eventually: Eventually,
    fault: str,
    executed: int,
) -> None:
    portal.events.pause()
    asked = portal.faults.add(fault, START, seconds=30)
    created = json_of(manager.requests_callback())
    first = spawn("worker")
    assert asked.received.wait(20)
    assert state(app) == "dialling"
    kill(first)
    let_leases_end(app)
    spawn("worker")
    eventually(lambda: state(app) == "unknown")
    time.sleep(1.5)  # A second worker has the time to make the mistake.
    shown = manager.sees(created["id"])
    assert (shown["state"], shown["reason"]) == ("unknown", "dial_interrupted")
    assert len(portal.telephony.dials) == executed
    assert len(portal.requests_for(START)) == 1
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["unknown"]


def test_an_accepted_request_survives_a_worker_killed_before_the_fence(
    app: Flask, manager: Actor, portal: FakePortal, spawn: Spawn, eventually: Eventually
) -> None:
    # Nobody else in the worker renews it first: its rules were registered.
    change_portal(app, rules_at=utcnow(), rules_digest="told")
    # The worker is stuck in renewing the person's token: claimed, but not fenced.
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=datetime.now(UTC)))
    stuck = portal.cloud.auth_server.faults.add("hang_before", "oauth/token", seconds=30)
    assert manager.requests_callback().status_code == 201
    first = spawn("worker")
    assert stuck.received.wait(20)
    kill(first)
    assert state(app) == "queued"
    let_leases_end(app)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(leased_until=None))
    spawn("worker")
    eventually(lambda: state(app) == "started")
    assert len(portal.telephony.dials) == 1


def test_sigterm_finishes_the_dial_in_flight(app: Flask, manager: Actor, portal: FakePortal, spawn: Spawn) -> None:
    asked = portal.faults.add("hang_after", START, seconds=2)
    manager.requests_callback()
    worker = spawn("worker")
    assert asked.received.wait(20)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    assert state(app) == "started"
    assert len(portal.telephony.dials) == 1


def test_two_workers_dial_each_callback_once(
    app: Flask, manager: Actor, portal: FakePortal, spawn: Spawn, eventually: Eventually
) -> None:
    for n in range(10):
        assert manager.requests_callback(f"+493090182{n}").status_code == 201
    spawn("worker")
    spawn("worker")

    def all_started() -> bool:
        with app.app_context(), reading() as session:
            return set(session.scalars(select(Callback.state))) == {"started"}

    eventually(all_started)
    assert sorted(dial["number"] for dial in portal.telephony.dials) == [f"+493090182{n}" for n in range(10)]


def test_an_accepted_request_is_on_disk_when_the_answer_is_given(
    environ: dict[str, str], app: Flask, manager: Actor
) -> None:
    created = json_of(manager.requests_callback())
    script = "from app import app; from bx24app.database import reading; from bx24app.models import Callback\n"
    script += "with app.app_context(), reading() as s: print(s.query(Callback).one().id)"
    found = run_python("-c", script, environ=environ)
    assert created["id"] in found.stdout, found.stderr

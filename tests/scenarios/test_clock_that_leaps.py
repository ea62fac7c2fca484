"""A clock that leaps: nothing is dialled, ended or deleted by it before it is believed."""

import time
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from bx24app.database import is_postgresql
from bx24app.models import State, utcnow
from bx24app.services.runtime import clock
from bx24app.services.runtime.clock import DOUBTED_SECONDS, LEAP_SECONDS
from bx24app.worker.guarded import run_guarded
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import Job, LeasedJob
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, seen

DAY = timedelta(days=1)


class Measured:
    """``time.monotonic``, which a test lets go on faster."""

    def __init__(self) -> None:
        self._true, self.more = time.monotonic, 0.0

    def __call__(self) -> float:
        return self._true() + self.more


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    monkeypatch.setattr(time, "monotonic", made := Measured())
    return made


def works(app: Flask) -> None:
    """Let a worker begin each of its jobs once."""
    for job in background_jobs():
        if isinstance(job, Job):
            run_guarded(app, job.name, "work", job.work, lambda: None)
        elif isinstance(job, LeasedJob):
            leased: Any = run_guarded(app, job.name, "lease", partial(job.lease, 2), lambda: None)
            for one in leased or ():
                run_guarded(app, job.name, "work", partial(job.work, one), lambda: None, one.portal_id)


def is_doubted(app: Flask) -> bool:
    with app.app_context():
        return clock.is_doubted()


@pytest.fixture
def planned(app: Flask, manager: Actor, portal: FakePortal) -> UUID:
    """A callback that is planned in two days, of a worker that has worked."""
    at = utcnow() + 2 * DAY
    id = accept(app, due_at=at, scheduled_at=at)
    works(app)
    return id


@pytest.mark.parametrize("days", [2, 3, 400])
def test_what_is_planned_stays_where_a_clock_was_ahead_for_a_moment(
    app: Flask, planned: UUID, portal: FakePortal, days: int
) -> None:
    with time_machine.travel(utcnow() + days * DAY):
        works(app)
        works(app)
    works(app)
    assert (seen(app, planned).state, portal.telephony.dials) == (State.SCHEDULED, [])


def test_one_that_was_set_back_has_nobody_work_either(app: Flask, planned: UUID) -> None:
    with time_machine.travel(utcnow() - DAY):
        assert is_doubted(app)
    assert not is_doubted(app)


def test_it_is_believed_at_once_when_it_is_put_right(app: Flask, planned: UUID, portal: FakePortal) -> None:
    with time_machine.travel(utcnow() + DAY):
        works(app)
        assert is_doubted(app)
    now = accept(app, to_number="+4930901821")
    works(app)
    assert seen(app, now).state == State.STARTED


def test_a_machine_that_has_slept_goes_on(app: Flask, planned: UUID, portal: FakePortal, measured: Measured) -> None:
    """Beside SQLite after a while; the database on PostgreSQL has slept with it, or says that it is right."""
    assert not is_doubted(app)
    with time_machine.travel(utcnow() + 2 * DAY + timedelta(minutes=1)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "_time_of_database", time.time)
        with app.app_context():
            assert clock.is_doubted() is not is_postgresql()
        measured.more += DOUBTED_SECONDS + 1
        works(app)
    assert seen(app, planned).state == State.STARTED


def test_one_that_differs_from_that_of_the_database_is_not_believed_in_an_hour(
    app: Flask, planned: UUID, portal: FakePortal, measured: Measured
) -> None:
    """Where the database has a clock of its own."""
    with time_machine.travel(utcnow() + 2 * DAY + timedelta(seconds=1)):
        assert is_doubted(app)
        for _ in range(6):
            measured.more += 600
            works(app)
    with app.app_context():
        has_clock = is_postgresql()
    assert seen(app, planned).state == (State.SCHEDULED if has_clock else State.STARTED)


@pytest.mark.parametrize("minutes", [-120, -1.5, 1.5, 60, 540_000])
def test_a_process_that_begins_with_another_clock_than_the_database_does_nothing(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, minutes: float
) -> None:
    app.extensions.pop(clock.WATCH, None)
    with app.app_context():
        has_clock = is_postgresql()
    with time_machine.travel(utcnow() + timedelta(minutes=minutes)):
        assert is_doubted(app) is has_clock
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == ((503, {"status": "clock"}) if has_clock else (200, {"status": "ok"}))


def test_readiness_says_that_the_clock_has_leapt(app: Flask, client: FlaskClient, manager: Actor) -> None:
    assert client.get("/readyz").status_code == 200
    app.extensions.pop("bx24app.kept_answers")
    with time_machine.travel(utcnow() + DAY):
        assert client.get("/readyz").json == {"status": "clock"}


def test_a_clock_that_is_put_right_bit_by_bit_is_believed(app: Flask, planned: UUID) -> None:
    begin = utcnow()
    for step in range(1, 6):
        with time_machine.travel(begin + step * timedelta(seconds=LEAP_SECONDS - 5)):
            assert not is_doubted(app)


def test_it_is_said_once(app: Flask, planned: UUID, caplog: pytest.LogCaptureFixture, measured: Measured) -> None:
    with time_machine.travel(utcnow() + DAY):
        for _ in range(3):
            measured.more += 2
            assert is_doubted(app)
    assert not is_doubted(app)
    assert [caplog.text.count(f"'{event}'") for event in ("clock_doubted", "clock_believed")] == [1, 1]


def test_a_process_that_begins_without_a_database_says_that_and_looks_at_its_clock_later(
    app: Flask, manager: Actor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.extensions.pop(clock.WATCH, None)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "reading", Mock(side_effect=OperationalError("SELECT", {}, Exception())))
        assert not is_doubted(app)
        assert "clock" not in caplog.text
    with time_machine.travel(utcnow() + timedelta(hours=1)):
        assert is_doubted(app)
    assert "clock_doubted" in caplog.text


def test_a_doubt_stays_while_the_database_does_not_answer(
    app: Flask, manager: Actor, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.extensions.pop(clock.WATCH, None)
    with app.app_context():
        has_clock = is_postgresql()
    with time_machine.travel(utcnow() + 2 * DAY):
        assert is_doubted(app) is has_clock
        measured.more += 5
        monkeypatch.setattr(clock, "reading", Mock(side_effect=OperationalError("SELECT", {}, Exception())))
        assert is_doubted(app) is has_clock

"""What a worker's look finds: its statement is made once, and asks for the moment at which it runs."""

import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from flask import Flask

from bx24app.models import utcnow
from bx24app.services.runtime import wakeup
from bx24app.worker.jobs import background_jobs
from bx24app.worker.look import AHEAD, Look
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, work

PATIENCE_SECONDS = 30


@pytest.fixture
def look(app: Flask) -> Look:
    """One that has looked before."""
    made = Look(background_jobs())
    with app.app_context():
        made.due_jobs()
    return made


@pytest.fixture
def planned(app: Flask, manager: Actor, portal: FakePortal) -> datetime:
    """When a callback is to be dialled."""
    at = utcnow() + timedelta(hours=2)
    accept(app, due_at=at, scheduled_at=at)
    return at


def found(app: Flask, look: Look, at: datetime) -> set[str]:
    with time_machine.travel(at), app.app_context():
        return look.due_jobs()


def test_it_finds_what_has_become_due_since_it_was_made(app: Flask, look: Look, planned: datetime) -> None:
    assert "dial" not in found(app, look, planned - AHEAD - timedelta(seconds=1))
    assert "dial" in found(app, look, planned - AHEAD + timedelta(seconds=0.2))


def test_it_finds_what_has_waited_for_long(app: Flask, look: Look, planned: datetime) -> None:
    with time_machine.travel(planned):
        assert work(app) == 1
    assert "apply_deadlines" not in found(app, look, planned)
    assert "apply_deadlines" in found(app, look, planned + timedelta(days=1))


def test_it_finds_the_same_as_one_that_is_made_now(app: Flask, look: Look, planned: datetime) -> None:
    both = []
    for hours in (-1, 0, 1, 30):
        at = planned + timedelta(hours=hours)
        both.append((found(app, look, at), found(app, Look(background_jobs()), at)))
    assert [earlier == now for earlier, now in both] == [True] * 4
    assert len({frozenset(now) for _, now in both}) > 1


def test_a_worker_that_is_kept_busy_looks_for_a_tenth_of_its_time(
    app: Flask, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Each ring calls for another look, and what one tenant has piled up makes looks long."""
    began: list[float] = []

    def looks_long(_: Look) -> set[str]:
        began.append(time.monotonic())
        time.sleep(0.07)
        return set()

    monkeypatch.setattr(Look, "due_jobs", looks_long)
    request.getfixturevalue("worker")
    end = time.monotonic() + PATIENCE_SECONDS
    with app.app_context():
        while len(began) < 6 and time.monotonic() < end:
            wakeup.wake()
            time.sleep(0.03)
    assert len(began) == 6
    # The first two may come by themselves.
    assert min(later - earlier for earlier, later in pairwise(began[2:])) > 0.6

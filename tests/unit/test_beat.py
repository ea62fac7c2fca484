"""Beat rings for each job whatever becomes of its clock."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery import Celery

from bx24app.models import utcnow
from bx24app.worker.fleet import FleetScheduler


class Bells:
    """What was rung for."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def announce(self, job: str, _: Any) -> None:
        self.rung.append(job)


@pytest.fixture
def bells() -> Bells:
    return Bells()


@pytest.fixture
def beat(bells: Bells, monkeypatch: pytest.MonkeyPatch) -> FleetScheduler:
    """One with two jobs: every half second, and every five."""
    fleet = Celery("fleet", set_as_current=False)
    fleet.conf.beat_schedule = {
        name: {"task": "work", "schedule": timedelta(seconds=seconds), "args": (name, None)}
        for name, seconds in (("dial", 0.5), ("purge", 5.0))
    }
    fleet.announcer = bells
    monkeypatch.setattr(FleetScheduler, "_waiting", lambda _: 0)
    return FleetScheduler(fleet, lazy=False)


def rings(beat: FleetScheduler, bells: Bells, ahead: timedelta, seconds: int) -> set[str]:
    """Let time pass, a quarter of a second for each tick, by a clock that is so far ahead; returns for what it rang."""
    bells.rung.clear()
    begin = utcnow()
    for quarter in range(seconds * 4):
        with time_machine.travel(begin + ahead + quarter * timedelta(seconds=0.25), tick=False):
            beat.tick()
    return set(bells.rung)


@pytest.mark.parametrize("hours", [-48, -1, 1, 24])
def test_it_rings_on_when_its_clock_was_set(beat: FleetScheduler, bells: Bells, hours: int) -> None:
    assert rings(beat, bells, timedelta(0), 8) == {"dial", "purge"}
    assert rings(beat, bells, timedelta(hours=hours), 8) == {"dial", "purge"}
    assert rings(beat, bells, timedelta(0), 8) == {"dial", "purge"}


def test_it_rings_as_often_as_it_should(beat: FleetScheduler, bells: Bells) -> None:
    rings(beat, bells, timedelta(0), 10)
    assert 15 <= bells.rung.count("dial") <= 21
    assert 1 <= bells.rung.count("purge") <= 3

"""Many portals at once: each callback is dialled once, nobody is starved, and one that never answers delays no other.

How fast is measured by ``python -m benchmarks.dialling``.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from flask import Flask

from bx24app.models import State
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor
from tests.support.processes import Spawn
from tests.support.waiting import accept, change_portal, seen

START, STATISTICS = "voximplant.callback.start", "voximplant.statistic.get"


@pytest.fixture
def others(manager: Actor, fake: FakeBitrix24, application: FakeApp) -> list[FakePortal]:
    portals = [fake.add_portal(f"p{number}") for number in range(5)]
    for portal in portals:
        Actor(manager.client, portal, application, portal.administrator).installs()
    return portals


@pytest.fixture
def silent(manager: Actor, portal: FakePortal) -> Iterator[FakePortal]:
    """A portal that takes requests and never answers."""
    for method in (START, STATISTICS, "batch", "app.info"):
        portal.faults.add("hang_before", method, times=100, seconds=60)
    yield portal
    portal.faults.release()


def test_a_portal_that_never_answers_delays_no_other(
    app: Flask, silent: FakePortal, others: list[FakePortal], eventually: Eventually
) -> None:
    """Neither its dials nor its history, though it has more due than the worker has threads."""
    for number in range(20):
        accept(app, to_number=f"+493090182{number:02}")
    with working(app, dials=4) as worker:
        eventually(lambda: len(silent.requests_for(START)) == 2)
        ids = [accept(app, portal_id=2 + n % 5, to_number=f"+4930{n:07}") for n in range(30)]
        eventually(lambda: sum(len(portal.telephony.dials) for portal in others) == 30)
        for portal in others:
            portal.events.pause()
            for call in portal.telephony.calls:
                call.hang_up()
        change_portal(app, history_due_at=None)
        eventually(lambda: all(seen(app, id, 2 + n % 5).state == State.COMPLETED for n, id in enumerate(ids)))
        assert len(silent.requests_for(START)) == 2
        silent.faults.release()
        worker.stop()


def test_two_worker_processes_share_many_portals_and_dial_each_callback_once(
    app: Flask, manager: Actor, portal: FakePortal, others: list[FakePortal], spawn: Spawn, eventually: Eventually
) -> None:
    change_portal(app, line_cap=None)
    for number in range(60):
        accept(app, to_number=f"+4930{number:07}")
    for number in range(20):
        accept(app, portal_id=2 + number % 5, to_number=f"+4930{number:07}")
    spawn("worker")
    spawn("worker")
    eventually(lambda: sum(len(one.telephony.dials) for one in others) == 20)
    # The big portal may not go beyond its limit; what it has left of it is soon used up.
    eventually(lambda: len(portal.telephony.dials) >= 44)
    for one in (portal, *others):
        assert set(Counter(dial["number"] for dial in one.telephony.dials).values()) == {1}
        assert one.rest.overflows == 0
    last_of_the_small = max(request.at for one in others for request in one.requests_for(START))
    assert portal.requests_for(START)[43].at >= last_of_the_small


def test_portals_that_hang_leave_half_of_the_threads_to_the_others(
    app: Flask, portal: FakePortal, others: list[FakePortal], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they are known as slow; they hold more only for their first dials."""
    monkeypatch.setattr("bx24app.services.runtime.slow_portals.SLOW_SECONDS", 0.3, raising=False)
    hanging = others[:4]

    def asked() -> int:
        return sum(len(one.requests_for(START)) for one in hanging)

    ids = []
    for portal_id, one in enumerate(hanging, 2):
        one.faults.add("hang_before", START, seconds=0.6)
        one.faults.add("hang_before", START, times=100, seconds=60)
        ids.append(accept(app, portal_id=portal_id))
    with working(app, dials=4) as worker:
        eventually(lambda: all(seen(app, id, portal_id).state == State.UNKNOWN for portal_id, id in enumerate(ids, 2)))
        for number in range(20):
            accept(app, portal_id=2 + number % 4, to_number=f"+4930{number:07}")
        eventually(lambda: asked() >= 4 + 2)
        accept(app, to_number="+4930901899")
        eventually(lambda: len(portal.telephony.dials) == 1)
        assert asked() == 4 + 2
        for one in hanging:
            one.faults.release()
        worker.stop()

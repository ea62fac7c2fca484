"""Two hands on one callback at the same moment: exactly one wins, and both are told the truth."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete

from bx24app.database import writing
from bx24app.models import DigestKey, State
from bx24app.services.dialling import dial as dialling
from bx24app.services.dialling import queue
from bx24app.services.security import digests
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, change_portal, seen


def claim(app: Flask) -> queue.DialLease:
    with app.app_context():
        [taken] = queue.lease_due(1)
    return taken


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_cancelling_and_dialling_at_once(app: Flask, manager: Actor, portal: FakePortal, times: int) -> None:
    change_portal(app, license_family="selfhosted", line_cap=None)
    portal.rest.bucket.enabled = False
    luck, barrier = random.Random(20261124), threading.Barrier(2)
    told: dict[UUID, int] = {}

    def dial(taken: queue.DialLease, delay: float) -> None:
        barrier.wait()
        threading.Event().wait(delay)
        with app.app_context():
            dialling.dial(taken)

    def cancel(id: UUID, delay: float) -> None:
        barrier.wait()
        threading.Event().wait(delay)
        told[id] = manager.asks("POST", f"/callbacks/{id}/cancel").status_code

    with ThreadPoolExecutor(2) as pool:
        for number in range(times):
            id = accept(app, to_number=f"+4930{number:07}")
            taken = claim(app)
            hands = [pool.submit(dial, taken, luck.uniform(0, 0.008)), pool.submit(cancel, id, luck.uniform(0, 0.008))]
            for hand in hands:
                hand.result(30)
    rung = [dial["number"] for dial in portal.telephony.dials]
    assert len(rung) == len(set(rung))
    for number, (id, status) in enumerate(told.items()):
        was_dialled = f"+4930{number:07}" in rung
        assert (status, was_dialled) in ((200, False), (409, True))
        assert (seen(app, id).state == State.CANCELLED) == (status == 200)
    # Both have won often enough for this to have been a race.
    assert times / 20 < len(rung) < times * 19 / 20


def test_two_workers_never_take_the_same_callback(app: Flask, manager: Actor, portal: FakePortal) -> None:
    change_portal(app, license_family="selfhosted", line_cap=None)
    portal.rest.bucket.enabled = False
    for number in range(60):
        accept(app, to_number=f"+4930{number:07}")
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        idle = 0
        while idle < 20:
            with app.app_context():
                claims = queue.lease_due(2)
                for taken in claims:
                    dialling.dial(taken)
            idle = 0 if claims else idle + 1
            threading.Event().wait(0 if claims else 0.02)

    with ThreadPoolExecutor(4) as pool:
        for hand in [pool.submit(work) for _ in range(4)]:
            hand.result(60)
    assert sorted(dial["number"] for dial in portal.telephony.dials) == [f"+4930{n:07}" for n in range(60)]


def test_the_first_digests_of_an_installation_are_made_with_one_key(app: Flask) -> None:
    """Processes that start together on an empty database."""
    barrier = threading.Barrier(8)

    def made() -> str:
        with app.app_context():
            barrier.wait()
            return digests.digest("test", "value")

    for _ in range(5):
        with app.app_context(), writing() as session:
            session.execute(delete(DigestKey))
        app.extensions.pop(digests.KEY_CACHE, None)
        with ThreadPoolExecutor(8) as pool:
            assert len({hand.result(30) for hand in [pool.submit(made) for _ in range(8)]}) == 1

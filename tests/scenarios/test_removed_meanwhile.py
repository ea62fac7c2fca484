"""A portal that is removed while a job is at it: nothing has failed, and the portals behind it have their turn."""

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.exc import NoResultFound

from bx24app.database import writing
from bx24app.models import Credential, utcnow
from bx24app.outgoing.stopwatch import awaiting_answer
from bx24app.services.native.automation import registration
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, payment, token_renewal, uninstall
from bx24app.services.runtime import slots as slots_module
from bx24app.services.runtime import slow_portals
from bx24app.services.runtime.slots import PortalSlots, work_through
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.fake_bitrix24.faults import Fault
from tests.support.actors import Actor, json_of
from tests.support.waiting import change_portal, remove_portal

T = TypeVar("T")
LONG_AGO = timedelta(days=400)
ASKING_JOBS: dict[str, Callable[[], int]] = {
    "register_rules": registration.register_due,
    "bind_again": bindings.rebind_due,
    "check_payments": payment.check_payments,
    "check_portals": portal_api.check_portals,
    "confirm_removals": uninstall.confirm_removals,
    "renew_idle_tokens": token_renewal.renew_idle,
}


def remove_during(app: Flask, work: Callable[[], T], hanging: Sequence[Fault], *, keeps_settings: bool) -> T:
    """Do ``work`` and remove the portal while it waits for an answer."""
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        while not any(fault.executed.wait(0.05) for fault in hanging):
            assert not working.done()
        remove_portal(app, keeps_settings=keeps_settings)
        for fault in hanging:
            fault.times = 0
            fault.released.set()
        return working.result(10)


@pytest.mark.parametrize("keeps_settings", [False, True])
@pytest.mark.parametrize("job", ASKING_JOBS)
def test_a_portal_that_is_removed_while_it_is_asked_is_no_failure(
    app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal, job: str, keeps_settings: bool
) -> None:
    past = utcnow() - LONG_AGO
    change_portal(app, rules_at=None, bound_at=None, payment_hinted_at=past, payment_asked_at=None)
    change_portal(app, address_due_at=past, removal_told_at=past, removal_due_at=past)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(used_at=past))
    hanging = [asked.faults.add("hang_after", "*", seconds=30) for asked in (portal, fake.auth_server)]

    def work() -> int:
        with app.app_context():
            return ASKING_JOBS[job]()

    assert remove_during(app, work, hanging, keeps_settings=keeps_settings) in (0, 1, 2)


@pytest.mark.parametrize("path", ["/lines?refresh=1", "/voices?refresh=1"])
def test_whoever_asks_the_portal_meanwhile_is_told_that_it_is_disconnected(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, path: str
) -> None:
    hanging = [portal.faults.add("hang_after", "*", seconds=30)]
    answer = remove_during(app, lambda: administrator.asks("GET", path), hanging, keeps_settings=False)
    assert (answer.status_code, json_of(answer)["code"]) == (409, "portal_disconnected")


def test_the_portals_behind_one_that_was_removed_have_their_turn(app: Flask, manager: Actor) -> None:
    waiting, worked = [404, 1], []

    def work(portal_id: int) -> int:
        if portal_id == 404:
            raise NoResultFound
        worked.append(portal_id)
        return 1

    with app.app_context():
        assert (
            work_through(PortalSlots("test", each=1, in_all=1), lambda _: waiting.pop(0) if waiting else None, work)
            == 1
        )
    assert worked == [1]


def test_a_row_that_is_missing_is_a_failure_where_the_portal_is_there(app: Flask, manager: Actor) -> None:
    waiting = [1]

    def work(portal_id: int) -> int:
        raise NoResultFound

    with app.app_context(), pytest.raises(NoResultFound):
        work_through(PortalSlots("test", each=1, in_all=1), lambda _: waiting.pop(0) if waiting else None, work)


def test_a_portal_for_which_a_job_fails_rests_and_the_others_have_their_turn(app: Flask, manager: Actor) -> None:
    """It is due still, and the first of all; nothing that the job could note of it tells that it failed."""
    worked: list[int] = []
    slots = PortalSlots("test", each=1, in_all=1)
    short = PortalSlots("short", each=1, in_all=1, rest_seconds=0)

    def next_due(besides: Collection[int]) -> int | None:
        return next((portal_id for portal_id in (7, 8, 9) if portal_id not in besides), None)

    def work(portal_id: int) -> int:
        worked.append(portal_id)
        if portal_id != 9:
            raise ValueError(portal_id)
        return 1

    with app.app_context():
        with pytest.raises(ValueError, match="7"):
            work_through(slots, next_due, work)
        assert worked == [7, 8, 9]
        assert work_through(slots, next_due, work) == 1
        assert worked == [7, 8, 9, 9]
        for _ in range(2):
            worked.clear()
            with pytest.raises(ValueError, match="7"):
                work_through(short, next_due, work)
            assert worked == [7, 8, 9]


def test_slow_portals_together_get_half_of_what_a_job_does_at_once(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 0.02)
    slots, worked = PortalSlots("slow", each=1, in_all=4), list[int]()

    def work(portal_id: int) -> int:
        worked.append(portal_id)
        with awaiting_answer():
            time.sleep(0.03 if portal_id != 9 else 0)
        return 1

    def work_for(*due: int) -> list[int]:
        worked.clear()
        work_through(slots, lambda besides: next((one for one in due if one not in besides), None), work)
        return worked

    with app.app_context():
        assert work_for(2, 3, 4, 5) == [2, 3, 4, 5], "nobody knows yet who is slow"
        with slots.timed(2), slots.timed(3):
            assert work_for(2, 3, 4, 5, 9) == [9]
        assert work_for(2, 3, 9) == [2, 3, 9]


def test_whoever_is_due_again_at_once_comes_behind_those_who_wait_for_their_turn(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event of an update has the portal's places bound again."""
    monkeypatch.setattr(slots_module, "WORKED_AT_ONCE", 2)
    slots, worked = PortalSlots("turns", each=1, in_all=4), list[int]()

    def work(portal_id: int) -> int:
        worked.append(portal_id)
        return 1

    with app.app_context():
        for _ in range(3):
            work_through(slots, lambda besides: next((one for one in (1, 2, 3, 4) if one not in besides), None), work)
    assert worked == [1, 2, 3, 4, 1, 2]

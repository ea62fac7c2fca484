"""Threads of a job that portals share: what slow ones hold of them, and for how long."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.outgoing.deadline import seconds_left
from bx24app.outgoing.stopwatch import awaiting_answer
from bx24app.services.runtime import slow_portals
from bx24app.worker import sharing
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import LeasedJob
from bx24app.worker.sharing import shared_job, within_seconds

QUICK, SLOW = 1, (2, 3, 4, 5)


@dataclass(frozen=True)
class Row:
    portal_id: int
    number: int


@pytest.fixture(autouse=True)
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 0.02)
    with Flask("worker").app_context():
        yield


def job_of(rows: list[Row], at_once: int = 4) -> LeasedJob:
    """A job with rows in the order in which they are due."""

    def lease_one(besides: Collection[int]) -> Row | None:
        found = next((row for row in rows if row.portal_id not in besides), None)
        if found is not None:
            rows.remove(found)
        return found

    def work(row: Row) -> None:
        with awaiting_answer():
            time.sleep(0 if row.portal_id == QUICK else 0.03)

    return shared_job("rows", 1.0, at_once, lease_one, work, lambda _: select(1))


def portals(turns: Any) -> list[int]:
    return [turn.lease.portal_id for turn in turns]


def test_slow_portals_get_half_of_the_threads_and_each_of_them_one() -> None:
    rows = [Row(portal_id, number) for portal_id in SLOW for number in range(4)]
    job = job_of(rows)
    first = job.lease(4)
    assert portals(first) == [2, 3, 4, 5], "nobody knows yet who is slow"
    for turn in first:
        job.work(turn)
    rows.append(Row(QUICK, 0))
    assert portals(job.lease(4)) == [QUICK, 2, 3], "all others were slow: one of each, and two in all"
    rows.append(Row(QUICK, 1))
    assert portals(job.lease(4)) == [QUICK], "two of them are at work: no more"


def test_portals_have_turns_however_many_of_their_rows_wait() -> None:
    rows = [Row(2, number) for number in range(100)] + [Row(3, number) for number in range(100)] + [Row(QUICK, 0)]
    job = job_of(rows, at_once=8)
    assert portals(job.lease(5)) == [2, 3, QUICK, 2, 3]
    rows.append(Row(QUICK, 1))
    assert QUICK in portals(job.lease(2))
    assert portals(job_of([Row(2, number) for number in range(3)]).lease(4)) == [2, 2, 2], "alone there is no waiting"


def test_one_that_is_quick_again_shares_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_portals, "SLOW_FOR_SECONDS", 0.0)
    rows = [Row(2, number) for number in range(3)]
    job = job_of(rows)
    job.work(job.lease(1)[0])
    assert portals(job.lease(4)) == [2, 2]


def test_each_job_finds_out_for_itself() -> None:
    slow_portals.note_begin("dial", "row", 2)
    with slow_portals.working("dial", "row"), awaiting_answer():
        time.sleep(0.03)
    assert slow_portals.look("dial", 1).take(2, 4) == 1
    assert slow_portals.look("rows", 1).take(2, 4) == 4


def test_what_is_asked_for_one_row_ends_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "WORK_SECONDS", 0.2)
    left: list[float | None] = []
    within_seconds(lambda _: left.append(seconds_left(20.0)))(Row(2, 0))
    assert left[0] is not None
    assert 0 < left[0] <= 0.2


def test_every_job_that_asks_portals_row_by_row_shares_its_threads() -> None:
    leased = {job.name: job for job in background_jobs() if isinstance(job, LeasedJob)}
    sharing_jobs = {name for name, job in leased.items() if job.lease.__module__ == sharing.__name__}
    assert leased.keys() - sharing_jobs == {"dial"}, "which looks at slow portals itself"


def test_a_job_may_give_each_of_them_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 0.0)
    for number in range(3):
        slow_portals.note_begin("rows", number, 2)
    with slow_portals.working("rows", 3):
        pass
    with ExitStack() as stack:
        stack.enter_context(slow_portals.working("rows", 0))
        stack.enter_context(awaiting_answer())
        time.sleep(0.01)
        # It is known as slow while it is still waited for.
        assert slow_portals.look("rows", 8, 4).waiting == set()
        assert slow_portals.look("rows", 8, 3).waiting == {2}
        assert slow_portals.look("rows", 3, 4).waiting == {2}


def test_what_a_busy_worker_takes_itself_makes_no_portal_slow() -> None:
    """It waits for SQLite's lock, or for the interpreter; all honest portals would be slow beside those that are."""
    job = job_of([Row(2, number) for number in range(3)])
    slow_portals.note_begin("rows", "row", 2)
    with slow_portals.working("rows", "row"):
        time.sleep(0.03)
        with awaiting_answer():
            pass
    assert portals(job.lease(4)) == [2, 2, 2]


def test_a_slow_portal_has_its_turn_among_slow_ones_that_always_have_more() -> None:
    """Its row was behind theirs for as long as they had some."""
    rows = [Row(portal_id, number) for portal_id in range(10, 20) for number in range(100)]
    rows.append(Row(9, 0))
    job = job_of(rows, at_once=8)
    for portal_id in range(9, 20):
        slow_portals.note_begin("rows", portal_id, portal_id)
        with slow_portals.working("rows", portal_id), awaiting_answer():
            time.sleep(0.03)
    busy: list[Any] = [*job.lease(8)]
    for number in range(60):
        job.work(turn := busy.pop(0))
        busy += job.lease(8 - len(busy))
        # A look while their half is full finds what a quick one has.
        if all(one.portal_id != QUICK for one in busy):
            rows.insert(0, Row(QUICK, number))
        busy += job.lease(8 - len(busy))
        if turn.portal_id == 9:
            return
    pytest.fail("it never had its turn")


def test_a_portal_that_became_slow_in_its_turn_has_another_one_among_slow_ones() -> None:
    """What it was when its turn began says nothing of those with whom it waits now."""
    rows = [Row(9, 0), *(Row(portal_id, number) for portal_id in (10, 11, 12) for number in range(20)), Row(9, 1)]
    job = job_of(rows, at_once=2)
    had: list[int] = []
    for _ in range(12):
        for turn in job.lease(1):
            had.append(turn.portal_id)
            job.work(turn)
    assert had.count(9) == 2


def test_whoever_takes_little_goes_before_many_that_take_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them stays below what is slow, and together they hold all threads again and again."""
    monkeypatch.setattr(slow_portals, "SLOW_SECONDS", 3.0)
    monkeypatch.setattr(slow_portals, "MUCH_SECONDS", (0.05,))
    rows = [Row(portal_id, number) for portal_id in range(10, 20) for number in range(100)]
    job = job_of(rows, at_once=20)
    for _ in range(3):
        for turn in job.lease(10):
            job.work(turn)
    rows += [Row(QUICK, number) for number in range(3)]
    # Each time before all of them, though it has just had a turn.
    for _ in range(3):
        [turn] = job.lease(1)
        assert turn.portal_id == QUICK
        job.work(turn)
    rows += [Row(QUICK, number) for number in range(3)]
    # What was long ago counts no more.
    monkeypatch.setattr(slow_portals, "LAST_SECONDS", 0.01)
    time.sleep(0.1)
    assert QUICK not in portals(job.lease(9))

"""The scheduler: what is due, how many threads do it at once, and the threads themselves."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import pytest
from sqlalchemy import Select, literal, select

from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import DueJob, Job, LeasedJob, Scheduler
from bx24app.worker.threads import Threads

HOUR = 3600.0


def nothing() -> int:
    return 0


def leases(_: int) -> Sequence[int]:
    return ()


def test_every_job_has_a_name_of_its_own() -> None:
    names = [job.name for job in background_jobs()]
    assert len(set(names)) == len(names)
    assert {"dial", "deliver_webhooks", "read_call_history", "purge_callbacks"} <= set(names)


def test_a_job_is_due_at_first_and_again_after_its_seconds() -> None:
    job = Job("often", 0.05, nothing)
    scheduler = Scheduler([job])
    assert scheduler.wait_for_due() == [DueJob(job, 1)]
    scheduler.end(job, is_more=False)
    began = time.monotonic()
    assert scheduler.wait_for_due() == [DueJob(job, 1)]
    assert 0.01 < time.monotonic() - began < 5


def test_a_job_that_is_under_way_is_not_done_a_second_time() -> None:
    job = Job("slow", 0.0, nothing)
    scheduler = Scheduler([job])
    assert scheduler.wait_for_due() == [DueJob(job, 1)]
    assert scheduler.wait_for_due() == []
    scheduler.end(job, is_more=False)
    assert scheduler.wait_for_due() == [DueJob(job, 1)]


def test_a_slow_job_keeps_no_other_from_being_due() -> None:
    slow, quick = Job("slow", 0.0, nothing), Job("quick", 0.0, nothing)
    scheduler = Scheduler([slow, quick])
    assert [due.job for due in scheduler.wait_for_due()] == [slow, quick]
    scheduler.end(quick, is_more=False)
    assert [due.job for due in scheduler.wait_for_due()] == [quick]
    assert scheduler.busy_jobs() == ["slow", "quick"]


def test_where_something_was_done_the_next_begins_without_a_pause() -> None:
    job = Job("several", HOUR, nothing, at_once=2)
    scheduler = Scheduler([job])
    assert scheduler.wait_for_due() == [DueJob(job, 2)]
    assert scheduler.wait_for_due() == []
    scheduler.end(job, is_more=True)
    assert scheduler.wait_for_due() == [DueJob(job, 2)]


def test_rows_are_leased_for_free_threads_only_and_by_one_thread_at_a_time() -> None:
    job = LeasedJob("dial", HOUR, leases, nothing, at_once=3)  # type: ignore[arg-type]
    scheduler = Scheduler([job])
    assert scheduler.wait_for_due() == [DueJob(job, 3)]
    scheduler.hurry(job)
    assert scheduler.wait_for_due() == []
    scheduler.lease(job, 2)
    assert scheduler.wait_for_due() == [DueJob(job, 1)]
    scheduler.lease(job, 1)
    scheduler.hurry(job)
    assert scheduler.wait_for_due() == []
    scheduler.end(job, is_more=True)
    assert scheduler.wait_for_due() == [DueJob(job, 1)]
    scheduler.lease(job, 0)
    assert scheduler.wait_for_due() == []


def test_a_job_that_fails_waits_a_little() -> None:
    job = Job("broken", 0.0, nothing)
    scheduler = Scheduler([job])
    assert scheduler.wait_for_due()
    scheduler.fail(job)
    scheduler.end(job, is_more=False)
    assert scheduler.wait_for_due() == []


def anything(_: datetime) -> Select[int]:
    return select(literal(1))


def test_a_job_rests_while_a_look_finds_nothing_for_it() -> None:
    job, timed = Job("asked", 0.0, nothing, due=anything), Job("timed", HOUR, nothing)
    scheduler = Scheduler([job, timed])
    assert [due.job for due in scheduler.wait_for_due()] == [job, timed]
    scheduler.end(job, is_more=False)
    scheduler.note_look(time.monotonic(), set())
    assert scheduler.wait_for_due() == []
    scheduler.note_look(time.monotonic(), {"asked", "timed"})
    assert [due.job for due in scheduler.wait_for_due()] == [job]


def test_what_a_look_finds_is_done_no_more_often_than_usually() -> None:
    job = Job("asked", HOUR, nothing, due=anything)
    scheduler = Scheduler([job])
    scheduler.wait_for_due()
    scheduler.end(job, is_more=False)
    scheduler.note_look(time.monotonic(), set())
    scheduler.note_look(time.monotonic(), {"asked"})
    assert scheduler.wait_for_due() == []


def test_a_look_that_began_before_a_ring_puts_nothing_to_rest() -> None:
    job = Job("asked", HOUR, nothing, due=anything)
    scheduler = Scheduler([job])
    scheduler.wait_for_due()
    scheduler.end(job, is_more=False)
    began_at = time.monotonic()
    scheduler.hurry(job)
    scheduler.note_look(began_at, set())
    assert [due.job for due in scheduler.wait_for_due()] == [job]


def test_a_look_is_brought_forward_by_a_pause_at_the_least() -> None:
    look = Job("look", HOUR, nothing)
    scheduler = Scheduler([look])
    scheduler.wait_for_due()
    scheduler.end(look, is_more=False)
    scheduler.bring_forward(look, 0.15)
    assert scheduler.wait_for_due() == []
    assert [due.job for due in scheduler.wait_for_due()] == [look]


def test_whatever_is_done_often_says_what_is_due() -> None:
    often = [job for job in background_jobs() if job.seconds < 10]
    assert [job.name for job in often if job.due is None] == []


def test_nobody_sleeps_for_longer_than_a_stop_may_take() -> None:
    scheduler = Scheduler([Job("rare", HOUR, nothing)])
    scheduler.wait_for_due()
    began = time.monotonic()
    assert scheduler.wait_for_due() == []
    assert time.monotonic() - began < 1


def test_a_worker_that_stops_waits_for_what_it_finishes_and_not_for_the_rest() -> None:
    dial = LeasedJob("dial", HOUR, leases, nothing, at_once=1, is_awaited_at_stop=True)  # type: ignore[arg-type]
    other = LeasedJob("tell", HOUR, leases, nothing, at_once=1)  # type: ignore[arg-type]
    scheduler = Scheduler([dial, other])
    scheduler.wait_for_due()
    scheduler.lease(dial, 1)
    scheduler.lease(other, 1)
    assert not scheduler.wait_until_idle(time.monotonic() + 0.05, only_awaited=True)
    threading.Timer(0.05, partial(scheduler.end, dial, is_more=False)).start()
    assert scheduler.wait_until_idle(time.monotonic() + 5, only_awaited=True)
    assert not scheduler.wait_until_idle(time.monotonic() + 0.05, only_awaited=False)
    assert scheduler.busy_jobs() == ["tell"]


@pytest.fixture
def threads() -> Threads:
    return Threads()


def test_threads_are_as_many_as_there_is_work_at_once_and_used_again(threads: Threads) -> None:
    seen: list[str] = []
    barrier = threading.Barrier(4)

    def note(done: threading.Event) -> None:
        seen.append(threading.current_thread().name)
        done.set()

    for _ in range(3):
        threads.start(barrier.wait)
    barrier.wait(5)
    for _ in range(9):
        done = threading.Event()
        threads.start(partial(note, done))
        assert done.wait(5)
    assert len(set(seen)) <= 4
    threads.stop()


def test_threads_end_when_they_are_stopped(threads: Threads) -> None:
    own: list[threading.Thread] = []
    noted: Callable[[], None] = lambda: own.append(threading.current_thread())  # noqa: E731
    threads.start(noted)
    threads.stop()
    for _ in range(200):
        if own and not own[0].is_alive():
            return
        time.sleep(0.01)
    raise AssertionError("the thread goes on")

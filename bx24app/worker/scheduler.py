"""Which job is due, and how many threads do it at once.

A job that names what is ``due`` begins only where a look has found that, or a ring has told it. The others go by time.
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select

# A job that failed waits at least this long.
FAILURE_PAUSE_SECONDS = 1.0
# A thread never sleeps longer, because a signal only sets a flag and wakes nobody.
MAX_SLEEP_SECONDS = 0.1

# Selects a row, if there will be something to do at a moment.
Due = Callable[[datetime], Select[*tuple[Any, ...]]]


@dataclass(frozen=True)
class Job:
    """Something to do every few ``seconds``, by ``at_once`` threads of a worker at the most.

    Any worker does it; doing it twice harms nothing. ``work`` returns how much it has done: with ``is_repeated``, where
    something was done there may be more, and the next one begins without a pause. With ``due`` it is only done while
    that selects something.
    """

    name: str
    seconds: float
    work: Callable[[], int]
    at_once: int = 1
    is_repeated: bool = False
    due: Due | None = None


@dataclass(frozen=True)
class LeasedJob:
    """Rows that wait for a worker: ``lease`` takes at most as many as it is told, and ``work`` handles one of them.

    What was leased names the portal whose row it is (``portal_id``).
    While ``due`` selects something, rows are leased every few ``seconds``, and at once where one was. A lease ends by
    itself when its worker dies. ``is_awaited_at_stop``: a worker that is stopped first waits until what it has leased
    is done.
    """

    name: str
    seconds: float
    lease: Callable[[int], Sequence[Any]]
    work: Callable[[Any], object]
    at_once: int
    due: Due | None = None
    is_awaited_at_stop: bool = False


AnyJob = Job | LeasedJob


@dataclass
class _State:
    """All times are monotonic; ``due_at`` is infinite while the job rests."""

    due_at: float = 0.0
    not_before: float = 0.0
    hurried_at: float = 0.0
    running: int = 0
    is_leasing: bool = False

    def hurry(self) -> None:
        self.due_at, self.hurried_at = 0.0, time.monotonic()


@dataclass(frozen=True)
class DueJob:
    """A job to start now; of a leased job, at most ``free`` rows are to be leased."""

    job: AnyJob
    free: int


class Scheduler:
    """Tells which jobs are due. No job waits for another one, because each has threads of its own."""

    def __init__(self, jobs: Sequence[AnyJob]) -> None:
        self._states = {job: _State() for job in jobs}
        self._changed = threading.Condition()

    def wait_for_due(self) -> list[DueJob]:
        """Take the jobs that are due, or none after a short sleep; each is to be given back by ``end`` or ``lease``."""
        with self._changed:
            due = self._take()
            if not due:
                self._changed.wait(self._pause())
                due = self._take()
            return due

    def _pause(self) -> float:
        times = [state.due_at for job, state in self._states.items() if _is_free(job, state)]
        return min(MAX_SLEEP_SECONDS, max(0.0, min(times, default=float("inf")) - time.monotonic()))

    def _take(self) -> list[DueJob]:
        now = time.monotonic()
        due: list[DueJob] = []
        for job, state in self._states.items():
            if state.due_at > now or not _is_free(job, state):
                continue
            free = job.at_once - state.running
            state.due_at = state.not_before = now + job.seconds
            if isinstance(job, LeasedJob):
                state.is_leasing = True
            else:
                state.running += 1
            due.append(DueJob(job, free))
        return due

    def lease(self, job: LeasedJob, leased: int) -> None:
        """Note how many rows were leased; each is to be given back by ``end``."""
        with self._changed:
            state = self._states[job]
            state.is_leasing = False
            state.running += leased
            if leased:
                state.hurry()  # There may be more.
            self._changed.notify_all()

    def end(self, job: AnyJob, *, is_more: bool) -> None:
        """Note that a thread is done with a job; ``is_more``: do it again without a pause."""
        with self._changed:
            state = self._states[job]
            state.running -= 1
            if is_more:
                state.hurry()
            self._changed.notify_all()

    def fail(self, job: AnyJob) -> None:
        """Let a job that failed wait a little; the caller also calls ``end`` or ``lease``."""
        with self._changed:
            state = self._states[job]
            state.not_before = max(state.not_before, time.monotonic() + FAILURE_PAUSE_SECONDS)
            state.due_at = max(state.due_at, state.not_before)

    def hurry(self, job: AnyJob) -> None:
        """Make a job due now."""
        with self._changed:
            self._states[job].hurry()
            self._changed.notify_all()

    def bring_forward(self, job: AnyJob, pause: float) -> None:
        """Make a job that goes by time due in ``pause`` seconds, if not sooner: what is done now goes first."""
        with self._changed:
            state = self._states[job]
            state.due_at = min(state.due_at, time.monotonic() + pause)
            self._changed.notify_all()

    def note_look(self, began_at: float, due: Collection[str]) -> None:
        """Note which jobs have something to do, by their names; the others rest until a look or a ring wakes them.

        ``began_at`` (monotonic) is when the look began: it may not know what a job was hurried for since then.
        """
        with self._changed:
            for job, state in self._states.items():
                if job.due is None:
                    continue
                if job.name in due:
                    state.due_at = min(state.due_at, state.not_before)
                elif state.hurried_at < began_at:
                    state.due_at = math.inf
            self._changed.notify_all()

    def wait_until_idle(self, until: float, *, only_awaited: bool) -> bool:
        """Wait until no job is under way, or none that is awaited at a stop, but not beyond a monotonic time."""
        with self._changed:
            while any(
                _is_busy(state) and (not only_awaited or _is_awaited(job)) for job, state in self._states.items()
            ):
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def busy_jobs(self) -> list[str]:
        """Name the jobs that are under way."""
        with self._changed:
            return [job.name for job, state in self._states.items() if _is_busy(state)]


def _is_free(job: AnyJob, state: _State) -> bool:
    return state.running < job.at_once and not state.is_leasing


def _is_busy(state: _State) -> bool:
    return state.running > 0 or state.is_leasing


def _is_awaited(job: AnyJob) -> bool:
    return isinstance(job, LeasedJob) and job.is_awaited_at_stop

"""Portals that answer a job slowly, or take much of it: others go before them, and slow ones get half of its threads.

Kept in memory by each worker, for each job on its own: who answers a dial slowly may answer all else at once. Only what
they are waited for counts: with what a busy worker takes itself, honest portals would be slow beside those that are.
"""

import math
import statistics
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from flask import current_app

from bx24app.outgoing.stopwatch import Stopwatch, timed_by

SLOW_STATE = "bx24app.slow_portals"
# A portal that is waited for longer in one row is slow, and stays so for a while after it. So long others may have to
# wait for a thread, while portals that stay below it take all of them again and again; most answer within one.
SLOW_SECONDS = 3.0
# What a row consists of, one thing after the other, goes on for no longer: so only a single slow answer makes slow.
ROUND_SECONDS = 1.0
SLOW_FOR_SECONDS = 600.0
# Whoever was waited for longer than each of these in about the last minute comes behind those who were not: who asks
# for little goes before dozens that stay below what is slow. The last step is half of what most take, if that is more.
MUCH_SECONDS, LAST_SECONDS = (0.5, 2.0, 5.0), 60.0
LITTLE_SECONDS = 0.01
# What has not ended by then never will: its lease is over.
LONGEST_SECONDS = 90.0


class TakenLately:
    """How many seconds of something portals have taken, less the longer ago it is; ``little`` is as good as none."""

    def __init__(self, little: float = LITTLE_SECONDS) -> None:
        self._little = little
        self._lock = Lock()
        self._taken: dict[int, float] = {}
        self._counted_at = time.monotonic()

    def add(self, portal_id: int, seconds: float) -> None:
        """A portal has taken so many; fewer than none: it is set back."""
        with self._lock:
            self._forget()
            self._taken[portal_id] = self._taken.get(portal_id, 0.0) + seconds

    def seconds(self) -> dict[int, float]:
        """What each portal has taken, but for those that took next to nothing."""
        with self._lock:
            self._forget()
            return dict(self._taken)

    def steps(self, under_way: Iterable[tuple[int, float]]) -> dict[int, int]:
        """How many of the steps of ``MUCH_SECONDS`` each portal is above, but for those that are above none.

        ``under_way``: what some are taking now.
        """
        taken = self.seconds()
        for portal_id, seconds in under_way:
            taken[portal_id] = taken.get(portal_id, 0.0) + seconds
        *steps, last = MUCH_SECONDS
        steps.append(max(last, statistics.median(taken.values()) / 2) if taken else last)
        return {portal_id: step for portal_id, seconds in taken.items() if (step := bisect_left(steps, seconds))}

    def _forget(self) -> None:
        now = time.monotonic()
        left, self._counted_at = math.exp((self._counted_at - now) / LAST_SECONDS), now
        self._taken = {one: rest for one, taken in self._taken.items() if (rest := taken * left) > self._little}


@dataclass
class _Begun:
    portal_id: int
    at: float
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass
class _OfJob:
    # By row.
    begun: dict[Hashable, _Begun] = field(default_factory=dict)
    slow_until: dict[int, float] = field(default_factory=dict)
    taken: TakenLately = field(default_factory=TakenLately)

    def judge(self, work: _Begun, now: float) -> None:
        if work.watch.seconds > SLOW_SECONDS:
            self.slow_until[work.portal_id] = now + SLOW_FOR_SECONDS


@dataclass
class _Turns:
    lock: Lock = field(default_factory=Lock)
    jobs: dict[str, _OfJob] = field(default_factory=dict)

    def of(self, job: str) -> _OfJob:
        return self.jobs.setdefault(job, _OfJob())


def _state() -> _Turns:
    return cast("_Turns", current_app.extensions.setdefault(SLOW_STATE, _Turns()))


class SlowPortals:
    """What slow portals may begin now: ``each`` so many at a time, all of them ``at_once`` together."""

    def __init__(
        self, slow: set[int], steps: dict[int, int], busy_with: Iterable[int], at_once: int, each: int
    ) -> None:
        self._slow, self._steps = slow, {**steps, **dict.fromkeys(slow, len(MUCH_SECONDS) + 1)}
        busy = [portal_id for portal_id in busy_with if portal_id in slow]
        self._room = max(0, at_once - len(busy))
        # They get nothing now.
        full = {portal_id for portal_id, count in Counter(busy).items() if count >= each}
        self.waiting = full if self._room else slow

    def passed_over(self) -> list[set[int]]:
        """Whom to pass over when the next is chosen: first all that took more than little, at last who gets nothing."""
        steps = sorted({0, *(step for portal_id, step in self._steps.items() if portal_id not in self.waiting)})
        return [self.waiting | {one for one, step in self._steps.items() if step > passed} for passed in steps]

    def step(self, portal_id: int) -> int:
        """Tell how far behind others a portal comes."""
        return self._steps.get(portal_id, 0)

    def take(self, portal_id: int, most: int) -> int:
        """Say how many of ``most`` rows a portal may begin, and take the room for them."""
        if portal_id not in self._slow:
            return most
        given = min(most, 1, self._room)
        self._room -= given
        return given

    def give_back(self, portal_id: int, unused: int) -> None:
        """Free the room that a portal has not used."""
        if portal_id in self._slow:
            self._room += unused


def look(job: str, at_once: int, each: int = 1) -> SlowPortals:
    """See which portals are slow at this moment."""
    state, now = _state(), time.monotonic()
    with state.lock:
        mine = state.of(job)
        mine.begun = {row: work for row, work in mine.begun.items() if now - work.at < LONGEST_SECONDS}
        for work in mine.begun.values():
            mine.judge(work, now)
        mine.slow_until = {portal_id: until for portal_id, until in mine.slow_until.items() if until > now}
        waited_for = [(work.portal_id, work.watch.seconds) for work in mine.begun.values()]
        busy_with = [portal_id for portal_id, _ in waited_for]
        return SlowPortals(set(mine.slow_until), mine.taken.steps(waited_for), busy_with, at_once, each)


def note_begin(job: str, row: Hashable, portal_id: int) -> None:
    """A thread of this worker is about to work at a row, within ``working``."""
    state = _state()
    with state.lock:
        state.of(job).begun[row] = _Begun(portal_id, time.monotonic())


@contextmanager
def working(job: str, row: Hashable) -> Iterator[None]:
    """Count how long a row's portal is waited for inside; at its end the work has come to its end, whatever it was."""
    state = _state()
    with state.lock:
        work = state.of(job).begun.get(row)
    try:
        with timed_by(work.watch if work is not None else Stopwatch()):
            yield
    finally:
        with state.lock:
            mine = state.of(job)
            if (work := mine.begun.pop(row, None)) is not None:
                mine.judge(work, time.monotonic())
                mine.taken.add(work.portal_id, work.watch.seconds)

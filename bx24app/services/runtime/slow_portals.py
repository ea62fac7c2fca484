"""Portals for which a job works long: they get few of its threads, so that room is left for the others.

Kept in memory by each worker, for each job on its own: who answers a dial slowly may answer all else at once.
"""

import time
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from flask import current_app

SLOW_STATE = "bx24app.slow_portals"
# A portal for which one row takes longer is slow, and stays so for a while after it. So long others may have to wait
# for a thread, while portals that stay below it take all of them again and again; most answer within one.
SLOW_SECONDS = 3.0
SLOW_FOR_SECONDS = 600.0
# What has not ended by then never will: its lease is over.
LONGEST_SECONDS = 90.0


@dataclass
class _OfJob:
    # By row: the portal, and when the row was leased.
    begun: dict[Hashable, tuple[int, float]] = field(default_factory=dict)
    slow_until: dict[int, float] = field(default_factory=dict)


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

    def __init__(self, slow: set[int], busy_with: Iterable[int], at_once: int, each: int) -> None:
        self._slow = slow
        busy = [portal_id for portal_id in busy_with if portal_id in slow]
        self._room = max(0, at_once - len(busy))
        # They get nothing now.
        full = {portal_id for portal_id, count in Counter(busy).items() if count >= each}
        self.waiting = full if self._room else slow

    def take(self, portal_id: int, most: int) -> int:
        """Say how many of ``most`` rows a portal may begin, and take the room for them."""
        if portal_id not in self._slow:
            return most
        given = min(most, 1, self._room)
        self._room -= given
        return given


def look(job: str, at_once: int, each: int = 1) -> SlowPortals:
    """See which portals are slow at this moment."""
    state, now = _state(), time.monotonic()
    with state.lock:
        mine = state.of(job)
        mine.begun = {row: work for row, work in mine.begun.items() if now - work[1] < LONGEST_SECONDS}
        for portal_id, began in mine.begun.values():
            if now - began > SLOW_SECONDS:
                mine.slow_until[portal_id] = now + SLOW_FOR_SECONDS
        mine.slow_until = {portal_id: until for portal_id, until in mine.slow_until.items() if until > now}
        return SlowPortals(set(mine.slow_until), [portal_id for portal_id, _ in mine.begun.values()], at_once, each)


def note_begin(job: str, row: Hashable, portal_id: int) -> None:
    """A thread of this worker is about to work at a row."""
    state = _state()
    with state.lock:
        state.of(job).begun[row] = (portal_id, time.monotonic())


def note_end(job: str, row: Hashable) -> None:
    """The work has come to its end, whatever it was."""
    state, now = _state(), time.monotonic()
    with state.lock:
        mine = state.of(job)
        portal_id, began = mine.begun.pop(row, (0, now))
        if now - began > SLOW_SECONDS:
            mine.slow_until[portal_id] = now + SLOW_FOR_SECONDS

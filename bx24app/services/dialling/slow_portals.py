"""Portals that take long to answer a dial: they get few of a worker's threads, so that room is left for the others.

Kept in memory by each worker.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import cast
from uuid import UUID

from flask import current_app

DIALS_STATE = "bx24app.dials"
# A portal whose dial takes longer is slow, and stays so for a while after it.
SLOW_SECONDS = 10.0
SLOW_FOR_SECONDS = 600.0
# A dial that has not ended by then never will: its lease is over.
LONGEST_SECONDS = 90.0


@dataclass
class _Dials:
    lock: Lock = field(default_factory=Lock)
    # By callback: the portal, and when its dial was leased.
    begun: dict[UUID, tuple[int, float]] = field(default_factory=dict)
    slow_until: dict[int, float] = field(default_factory=dict)


def _dials() -> _Dials:
    return cast("_Dials", current_app.extensions.setdefault(DIALS_STATE, _Dials()))


class SlowPortals:
    """What slow portals may dial now: each one at a time, all of them ``at_once`` together."""

    def __init__(self, slow: set[int], dialling: Iterable[int], at_once: int) -> None:
        self._slow = slow
        busy = [portal_id for portal_id in dialling if portal_id in slow]
        self._room = max(0, at_once - len(busy))
        # They get nothing now.
        self.waiting = set(busy) if self._room else slow

    def take(self, portal_id: int, most: int) -> int:
        """Say how many of ``most`` dials a portal may begin, and take the room for them."""
        if portal_id not in self._slow:
            return most
        given = min(most, 1, self._room)
        self._room -= given
        return given


def look(at_once: int) -> SlowPortals:
    """See which portals are slow at this moment."""
    state, now = _dials(), time.monotonic()
    with state.lock:
        state.begun = {id: dial for id, dial in state.begun.items() if now - dial[1] < LONGEST_SECONDS}
        for portal_id, began in state.begun.values():
            if now - began > SLOW_SECONDS:
                state.slow_until[portal_id] = now + SLOW_FOR_SECONDS
        state.slow_until = {portal_id: until for portal_id, until in state.slow_until.items() if until > now}
        return SlowPortals(set(state.slow_until), [portal_id for portal_id, _ in state.begun.values()], at_once)


def note_begin(callback_id: UUID, portal_id: int) -> None:
    """A thread of this worker is about to dial."""
    state = _dials()
    with state.lock:
        state.begun[callback_id] = (portal_id, time.monotonic())


def note_end(callback_id: UUID) -> None:
    """The dial has come to its end, whatever it was."""
    state, now = _dials(), time.monotonic()
    with state.lock:
        portal_id, began = state.begun.pop(callback_id, (0, now))
        if now - began > SLOW_SECONDS:
            state.slow_until[portal_id] = now + SLOW_FOR_SECONDS

"""Turns of a process for what takes a processor: whoever has held them least of late has the next one.

What counts is what was computed for them. By the clock, whoever asks for little would take much beside those who
compute, for it waits for the interpreter after each statement.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bx24app.database import computed_seconds
from bx24app.services.runtime.slow_portals import TakenLately

# Nobody is refused for as long as dozens of others need to take as much as they have: whoever asks is set back to so
# much more than the one of those who wait that took least.
LEAD_SECONDS = 0.2
# What a request that waits is taken for: pages of many rows take more, and most else less.
READ_SECONDS = 0.05
# What each turn counts at least, and what of it is not forgotten: many that take next to nothing take much together.
LEAST_SECONDS, NOTHING_SECONDS = 0.002, 0.0001


@dataclass(eq=False)
class _Waiter:
    portal_id: int
    person: int
    is_update: bool = False
    is_begun: bool = False
    is_refused: bool = False

    @property
    def set_back(self) -> float:
        """What pages ask by themselves leaves something of its portal's share for what its people ask."""
        return LEAD_SECONDS / 2 if self.is_update else 0.0


class FairTurns:
    """``at_once`` turns, ``each`` for one portal, and ``room`` for others that wait.

    Without anybody else a portal has all of it. Where the room is full, the portal gives way that would have taken
    most of the time of others, once all has been read that it waits for. Inside of a portal what people ask for goes
    before what open pages ask by themselves, and whoever asks for most gives way.
    """

    def __init__(self, at_once: int, each: int, room: int) -> None:
        self._at_once, self._each, self._room = at_once, each, room
        self._changed = threading.Condition()
        self._busy: Counter[int] = Counter()
        self._waiting: list[_Waiter] = []
        self._taken = TakenLately(NOTHING_SECONDS)

    @contextmanager
    def hold(self, portal_id: int, person: int, patience: float, *, is_update: bool = False) -> Iterator[bool]:
        """Have a turn inside; False: there was none within ``patience`` seconds, or no room to wait for it.

        ``is_update``: an open page asks whether something has changed, and will ask again.
        """
        is_held = self._wait(_Waiter(portal_id, person, is_update), patience)
        before = computed_seconds()
        try:
            yield is_held
        finally:
            if is_held:
                self._end(portal_id, max(LEAST_SECONDS, computed_seconds() - before))

    def _wait(self, waiter: _Waiter, patience: float) -> bool:
        with self._changed:
            self._limit_lead(waiter.portal_id)
            if len(self._waiting) >= self._room:
                self._refuse(self._gives_way(waiter))
            if not waiter.is_refused:
                self._waiting.append(waiter)
                self._begin()
                self._changed.wait_for(lambda: waiter.is_begun or waiter.is_refused, patience)
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            return waiter.is_begun

    def _limit_lead(self, portal_id: int) -> None:
        taken = self._taken.seconds()
        others = [taken.get(waiter.portal_id, 0.0) for waiter in self._waiting if waiter.portal_id != portal_id]
        lead = taken.get(portal_id, 0.0) - min(others, default=0.0) - LEAD_SECONDS
        if others and lead > 0:
            self._taken.add(portal_id, -lead)

    def _end(self, portal_id: int, seconds: float) -> None:
        with self._changed:
            # What nobody else waited for is taken from nobody.
            if any(waiter.portal_id != portal_id for waiter in self._waiting):
                self._taken.add(portal_id, seconds)
            self._busy.subtract([portal_id])
            self._busy = +self._busy
            self._begin()

    def _begin(self) -> None:
        taken = self._taken.seconds()
        while self._busy.total() < self._at_once:
            may_begin = [waiter for waiter in self._waiting if self._busy[waiter.portal_id] < self._each]
            if not may_begin:
                return
            # Of equal ones the first that came.
            first = min(may_begin, key=lambda waiter: taken.get(waiter.portal_id, 0.0) + waiter.set_back)
            self._waiting.remove(first)
            self._busy[first.portal_id] += 1
            first.is_begun = True
            self._changed.notify_all()

    def _refuse(self, waiter: _Waiter) -> None:
        waiter.is_refused = True
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        self._changed.notify_all()

    def _gives_way(self, comer: _Waiter) -> _Waiter:
        """Choose who is refused."""
        everybody, taken = [*self._waiting, comer], self._taken.seconds()
        portals = Counter(waiter.portal_id for waiter in everybody)
        people = Counter((waiter.portal_id, waiter.person) for waiter in everybody)

        def weight(place: int) -> tuple[float, int, int]:
            waiter = everybody[place]
            portal_id = waiter.portal_id
            taken_then = taken.get(portal_id, 0.0) + portals[portal_id] * READ_SECONDS + waiter.set_back
            return taken_then, people[portal_id, waiter.person], place

        return everybody[max(range(len(everybody)), key=weight)]

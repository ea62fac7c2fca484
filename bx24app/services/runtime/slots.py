"""How much of one kind a process does at once, for one key and in all: whoever is slow keeps no room from others."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from bx24app.outgoing.deadline import ending_within

K = TypeVar("K", bound=Hashable)
# What a job asks of one portal ends in it all together; shorter than a lease on reading its history.
WORK_SECONDS = 50.0
WORKED_AT_ONCE = 10


class Slots(Generic[K]):
    """Slots of this process: ``each`` for one key, ``in_all`` for all keys together."""

    def __init__(self, each: int, in_all: int) -> None:
        self._each, self._in_all = each, in_all
        self._held: Counter[K] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: K) -> Iterator[bool]:
        """Hold a slot inside; False: there is none, and nobody waits for one."""
        is_held = self._take(key)
        try:
            yield is_held
        finally:
            if is_held:
                self._give_back(key)

    def held(self) -> set[K]:
        """The keys for which a slot is held now."""
        with self._lock:
            return set(self._held)

    def _take(self, key: K) -> bool:
        with self._lock:
            if self._held[key] >= self._each or self._held.total() >= self._in_all:
                return False
            self._held[key] += 1
            return True

    def _give_back(self, key: K) -> None:
        with self._lock:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]


def work_through(slots: Slots[K], next_due: Callable[[Collection[K]], K | None], work: Callable[[K], int]) -> int:
    """Work for what is due, one after the other, a few at the most; returns how much was done.

    ``next_due`` names the first besides those that it is given: what another thread is at, and what was tried just now.
    So one that is slow holds one thread of a job, and for a bounded time.
    """
    tried: set[K] = set()
    done = 0
    while len(tried) < WORKED_AT_ONCE and (key := next_due(slots.held() | tried)) is not None:
        tried.add(key)
        with slots.hold(key) as is_held:
            if is_held:
                with ending_within(WORK_SECONDS):
                    done += work(key)
    return done

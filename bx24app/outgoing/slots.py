"""How much of one kind a process does at once, for one key and in all: whoever is slow keeps no room from others."""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

from bx24app.outgoing.errors import NotSent

K = TypeVar("K", bound=Hashable)


class Slots(Generic[K]):
    """Slots of this process: ``each`` for one key, ``in_all`` for all keys together.

    One key gets no more than half of those that are left, so that a few slow ones together do not take all.
    """

    def __init__(self, each: int, in_all: int) -> None:
        self._each, self._in_all = each, in_all
        self._held: Counter[K] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, key: K, patience: float = 0.0) -> Iterator[bool]:
        """Hold a slot inside; False: there is none, nor was one given back in ``patience`` seconds."""
        is_held = self._take(key, patience)
        try:
            yield is_held
        finally:
            if is_held:
                self._give_back(key)

    def held(self) -> set[K]:
        """The keys for which a slot is held now."""
        with self._changed:
            return set(self._held)

    def _take(self, key: K, patience: float) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free(key), patience):
                return False
            self._held[key] += 1
            return True

    def _is_free(self, key: K) -> bool:
        left = self._in_all - self._held.total()
        return self._held[key] < min(self._each, (left + 1) // 2)

    def _give_back(self, key: K) -> None:
        with self._changed:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
            self._changed.notify_all()


_shared: ContextVar[Slots[str] | None] = ContextVar("shared_slots", default=None)


@contextmanager
def sharing(slots: Slots[str]) -> Iterator[None]:
    """Let every exchange of this thread inside hold a slot, by the address that is asked; outside none does."""
    token = _shared.set(slots)
    try:
        yield
    finally:
        _shared.reset(token)


@contextmanager
def exchange_slot(address: str) -> Iterator[None]:
    """Hold a slot for one whole exchange, with the reading of its answer; raises ``NotSent`` where none is free."""
    slots = _shared.get()
    if slots is None:
        yield
        return
    with slots.hold(address) as is_held:
        if not is_held:
            raise NotSent("too many exchanges at once")
        yield

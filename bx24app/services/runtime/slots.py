"""Work for what is due, one key after the other, so that one that is slow holds one thread of a job."""

from collections.abc import Callable, Collection, Hashable
from typing import TypeVar

from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.slots import Slots

__all__ = ["Slots", "work_through"]

K = TypeVar("K", bound=Hashable)
# What a job asks of one portal ends in it all together; shorter than a lease on reading its history.
WORK_SECONDS = 50.0
WORKED_AT_ONCE = 10


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

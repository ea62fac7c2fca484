"""Work for the portals that are due, one after the other, so that one that is slow holds one thread of a job."""

from collections.abc import Callable, Collection

from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.slots import Slots
from bx24app.services.runtime.removed_portals import unless_removed

__all__ = ["Slots", "work_through"]

# What a job asks of one portal ends in it all together; shorter than a lease on reading its history.
WORK_SECONDS = 50.0
WORKED_AT_ONCE = 10


def work_through(
    slots: Slots[int], next_due: Callable[[Collection[int]], int | None], work: Callable[[int], int]
) -> int:
    """Work for the portals that are due, one after the other, a few at the most; returns how much was done.

    ``next_due`` names the first besides those that it is given: what another thread is at, and what was tried just now.
    So one that is slow holds one thread of a job, and for a bounded time; one that is removed meanwhile ends nothing.
    """
    tried: set[int] = set()
    done = 0
    while len(tried) < WORKED_AT_ONCE and (portal_id := next_due(slots.held() | tried)) is not None:
        tried.add(portal_id)
        with slots.hold(portal_id) as is_held:
            if is_held:
                with ending_within(WORK_SECONDS), unless_removed(portal_id):
                    done += work(portal_id)
    return done

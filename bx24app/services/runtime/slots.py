"""Work for the portals that are due, one after the other, so that one that is slow holds one thread of a job."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from bx24app.database.errors import raise_for_all
from bx24app.errors import RateLimited
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.slots import Slots
from bx24app.services.runtime import slow_portals
from bx24app.services.runtime.local_memory import remember, remembered
from bx24app.services.runtime.removed_portals import unless_removed

__all__ = ["PortalSlots", "Resting", "Slots", "turn", "work_through"]

ASKED_AGAIN_SECONDS = 2
# What a job asks of one portal ends in it all together; shorter than a lease on reading its history.
WORK_SECONDS = 50.0
WORKED_AT_ONCE = 10
# A portal for which a job failed as nobody foresaw is due still, and would be the first again for ever.
REST_SECONDS = 300.0
# Whoever had a turn comes behind those who wait for theirs: an owner of many portals can let each be due again at once.
TURN_SECONDS = 60.0


@contextmanager
def turn(
    slots: Slots[int], portal_id: int, retry_after: int = ASKED_AGAIN_SECONDS, refusal: type[RateLimited] = RateLimited
) -> Iterator[None]:
    """Hold a slot of a portal inside; raises ``refusal`` where there is none, to be tried again in some seconds."""
    with slots.hold(portal_id) as is_held:
        if not is_held:
            refused = refusal("list")
            refused.retry_after = retry_after
            raise refused
        yield


class Resting:
    """Portals that one kind of work leaves alone for so many seconds, by this process."""

    def __init__(self, work: str, seconds: float) -> None:
        self._kind, self._seconds = f"resting {work}", seconds

    def add(self, portal_id: int) -> None:
        """Leave a portal alone from now on."""
        remember(self._kind, str(portal_id), self._seconds)

    def now(self) -> set[int]:
        """The portals that rest."""
        return set(map(int, remembered(self._kind)))


class PortalSlots(Slots[int]):
    """Slots of a job by portal: those rest for a while with which it failed, and slow ones get half of all together."""

    def __init__(self, job: str, each: int, in_all: int, rest_seconds: float = REST_SECONDS) -> None:
        super().__init__(each, in_all)
        self.resting = Resting(job, rest_seconds)
        self.served = Resting(f"turn of {job}", TURN_SECONDS)
        self._job, self._of_slow = job, max(1, in_all // 2)

    def taken(self) -> set[int]:
        """The portals that another thread is at, those that rest, and slow ones while they have their share."""
        return self.held() | self.resting.now() | slow_portals.look(self._job, self._of_slow).waiting

    @contextmanager
    def timed(self, portal_id: int) -> Iterator[None]:
        """Tell by how long a portal is waited for inside whether it is slow."""
        slow_portals.note_begin(self._job, portal_id, portal_id)
        with slow_portals.working(self._job, portal_id):
            yield


def work_through(
    slots: PortalSlots, next_due: Callable[[Collection[int]], int | None], work: Callable[[int], int]
) -> int:
    """Work for the portals that are due, one after the other, a few at the most; returns how much was done.

    ``next_due`` names the first besides those that it is given: what is taken, and what had a turn just now. So one
    that is slow holds one thread of a job, and for a bounded time; one that is removed meanwhile ends nothing; and one
    for which the work fails keeps nobody else waiting: the first failure is raised at the end.
    """
    tried: set[int] = set()
    done = 0
    failure: Exception | None = None

    def next_turn() -> int | None:
        passed = slots.taken() | tried
        portal_id = next_due(passed | slots.served.now())
        return portal_id if portal_id is not None else next_due(passed)

    while len(tried) < WORKED_AT_ONCE and (portal_id := next_turn()) is not None:
        tried.add(portal_id)
        slots.served.add(portal_id)
        with slots.hold(portal_id) as is_held:
            if is_held:
                try:
                    with ending_within(WORK_SECONDS), slots.timed(portal_id), unless_removed(portal_id):
                        done += work(portal_id)
                except Exception as error:
                    raise_for_all(error)
                    slots.resting.add(portal_id)
                    failure = failure or error
    if failure is not None:
        raise failure
    return done

"""Jobs whose threads portals share: one that is slow holds few of them, and each for a bounded time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bx24app.outgoing.deadline import ending_within
from bx24app.services.runtime import slow_portals
from bx24app.services.runtime.slots import WORK_SECONDS
from bx24app.services.runtime.slow_portals import SlowPortals
from bx24app.worker.scheduler import Due, LeasedJob


class PortalLease(Protocol):
    """The right of a thread to work at one row of a portal."""

    @property
    def portal_id(self) -> int:
        """Whose row it is."""


# All of them are named in each question for the next one.
PORTALS_IN_TURN = 500
L = TypeVar("L", bound=PortalLease)


@dataclass(frozen=True, eq=False)
class _Turn(Generic[L]):
    """A lease that is under way; each is only itself."""

    lease: L

    @property
    def portal_id(self) -> int:
        """Whose row it is."""
        return self.lease.portal_id


class _TurnsOfPortals(Generic[L]):
    """Whose row is the next: portals have turns, a row each."""

    def __init__(self, lease_one: Callable[[Collection[int]], L | None]) -> None:
        self._lease_one = lease_one
        self._served: set[int] = set()

    def next(self, slow: SlowPortals) -> L | None:
        """Lease the next row, if there is one."""
        for passed in slow.passed_over():
            one = self._lease_one(passed | self._served)
            if one is None and self._served and (one := self._lease_one(passed)) is not None:
                # All that may begin and are like it now have had their turn: slow ones wait while others have many.
                step = slow.step(one.portal_id)
                self._served = {portal_id for portal_id in self._served if slow.step(portal_id) != step}
            if one is not None:
                self._note(one.portal_id)
                return one
        return None

    def _note(self, portal_id: int) -> None:
        self._served.add(portal_id)
        if len(self._served) >= PORTALS_IN_TURN:
            self._served.clear()


def shared_job(  # noqa: PLR0913  A job has as many parts.
    name: str,
    seconds: float,
    at_once: int,
    lease_one: Callable[[Collection[int]], L | None],
    work: Callable[[L], object],
    due: Due,
    *,
    each: int = 1,
) -> LeasedJob:
    """Make a job of which slow portals together get half of the threads, ``each`` of them so many (``slow_portals``).

    Portals have turns, a row each: whoever has thousands that wait keeps nobody else waiting for them. ``lease_one``
    leases a row of no portal among those that it is given; the rest is as in ``LeasedJob``.
    """
    in_turn = _TurnsOfPortals[L](lease_one)

    def lease(most: int) -> list[_Turn[L]]:
        turns: list[_Turn[L]] = []
        while len(turns) < most:
            slow = slow_portals.look(name, max(1, at_once // 2), each)
            if (one := in_turn.next(slow)) is None:
                break
            turns.append(turn := _Turn(one))
            slow_portals.note_begin(name, turn, one.portal_id)
        return turns

    def follow(turn: _Turn[L]) -> None:
        with slow_portals.working(name, turn):
            work(turn.lease)

    return LeasedJob(name, seconds, lease, follow, at_once, due)


def within_seconds(work: Callable[[L], object]) -> Callable[[L], None]:
    """Let all exchanges of one row together end in ``WORK_SECONDS``, before its lease does.

    Else a portal that answers each question just in time would hold a second thread, and a third, by other rows.
    """

    def bounded(lease: L) -> None:
        with ending_within(WORK_SECONDS):
            work(lease)

    return bounded

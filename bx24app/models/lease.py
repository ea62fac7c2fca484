"""A lease on a row: one worker at a time does what is to be done about it; and how long any hold on a row is believed.

Whatever holds something back until a moment (a lease, the pause after a failure) has a longest time that it can last.
A moment further away was written by a process whose clock was wrong: it does not count, or what a process has left
whose clock was days ahead for a second would be held for days.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from bx24app.models.columns import At, stored

# Clocks of machines that serve one database may differ by so much; the check of the installation complains long before.
CLOCK_SLACK = timedelta(minutes=2)


def lasts(until: datetime | None, at: datetime, longest: timedelta) -> bool:
    """Tell whether something is held at a moment; ``longest``: for how long it can be held at all."""
    return until is not None and at < until <= at + (longest + CLOCK_SLACK)


def is_lasting(until: InstrumentedAttribute[datetime | None], at: datetime, longest: timedelta) -> ColumnElement[bool]:
    """Make the condition that something is held: what ``lasts`` tells, of a column."""
    return and_(until > at, until <= at + (longest + CLOCK_SLACK))


def is_over(until: InstrumentedAttribute[datetime | None], at: datetime, longest: timedelta) -> ColumnElement[bool]:
    """Make the condition that nothing is held, not even a column without a moment."""
    return or_(until.is_(None), until <= at, until > at + (longest + CLOCK_SLACK))


def is_long_ago(since: InstrumentedAttribute[datetime | None], at: datetime, pause: timedelta) -> ColumnElement[bool]:
    """Make the condition that something was last done before a pause, or never: what ``is_over`` is, from its begin."""
    return is_over(since, at - pause, pause)


class Leased:
    """A row about which somebody does something that takes longer than a transaction.

    Every lease has a number of its own, by which whoever comes back late learns that another has taken over.
    """

    # Until when nobody else may take it; None: it is free.
    leased_until: Mapped[At | None]
    lease_fence: Mapped[int] = mapped_column(server_default=stored(0))

    def lease(self, at: datetime, length: timedelta) -> int:
        """Take the row for a while; returns the number of the lease. Whether it is free is the caller's question."""
        self.leased_until = at + length
        self.void_leases()
        return self.lease_fence

    def is_leased(self, at: datetime, length: timedelta) -> bool:
        """Tell whether a lease lasts; ``length``: for how long such a row is leased."""
        return lasts(self.leased_until, at, length)

    def holds(self, fence: int) -> bool:
        """Tell whether this lease was the last: nobody has taken over."""
        return self.lease_fence == fence

    def release(self) -> None:
        """The work is done or given up: the next may take it."""
        self.leased_until = None

    def void_leases(self) -> None:
        """What comes back under an earlier lease counts no more."""
        self.lease_fence = (self.lease_fence or 0) + 1

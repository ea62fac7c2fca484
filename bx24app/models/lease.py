"""A lease on a row: one worker at a time does what is to be done about it."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Mapped, mapped_column

from bx24app.models.columns import At, stored


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

    def is_leased(self, at: datetime) -> bool:
        """Tell whether a lease lasts."""
        return self.leased_until is not None and self.leased_until > at

    def holds(self, fence: int) -> bool:
        """Tell whether this lease was the last: nobody has taken over."""
        return self.lease_fence == fence

    def release(self) -> None:
        """The work is done or given up: the next may take it."""
        self.leased_until = None

    def void_leases(self) -> None:
        """What comes back under an earlier lease counts no more."""
        self.lease_fence = (self.lease_fence or 0) + 1

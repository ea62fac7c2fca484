"""How fast a portal may be asked: our own copy of the platform's leaky bucket, shared by all processes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, Code, stored
from bx24app.models.lease import lasts


@dataclass(frozen=True)
class RequestLimit:
    """The platform's bucket (docs: limits.md): ``size`` requests at once, then ``rate`` a second."""

    size: float
    rate: float


STANDARD_LIMIT = RequestLimit(50, 2)
ENTERPRISE_LIMIT = RequestLimit(250, 5)
# Requests may arrive closer together than they were sent, and people open pages meanwhile.
RESERVE = 6
# No wait is longer than this.
LONGEST_PAUSE = timedelta(minutes=20)
# After a refusal nothing is asked that can wait for so long, and twice as long after each further one.
FIRST_SPARE_PAUSE, LONGEST_SPARE_PAUSE = timedelta(seconds=15), timedelta(minutes=5)


class Throttle(Base):
    """One row per portal that was ever asked; without a limit (on-premise) the bucket stays empty."""

    __tablename__ = "pace"
    __table_args__ = (Index("ix_pace_dial_at", "dial_at"),)

    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True)
    level: Mapped[float] = mapped_column(server_default=stored(0.0))
    level_at: Mapped[At]
    # Before this moment no dial begins: the bucket is full, or the platform has said so.
    dial_at: Mapped[At | None]
    # Before this moment nothing is asked for the CRM's timeline.
    extras_at: Mapped[At | None]
    # Until this moment more than half of the bucket is full, with the reserve: the rest is for dials and people.
    half_free_at: Mapped[At | None]
    # Before this moment nothing is asked that can wait: the portal has refused a request because of a limit.
    spare_at: Mapped[At | None]
    # How often in a row it has refused so.
    refusals: Mapped[int] = mapped_column(server_default=stored(0))
    # Why it waits when the platform has said so; None for our own counting.
    paused_for: Mapped[Code | None]
    # When the platform forgets the working time of the dialling method, as its last good answer said.
    operating_reset_at: Mapped[At | None]
    # When a worker last looked for callbacks of this portal to take: whose turn was longest ago has the next one.
    claimed_at: Mapped[At | None]

    def count_requests(self, at: datetime, limit: RequestLimit | None, requests: int = 1) -> None:
        """Count requests that are about to be sent, or were sent.

        The platform's bucket holds no more than its size, so ours does not either: whatever was refused for it
        keeps no dial waiting longer than a full bucket does.
        """
        if limit is None:
            return
        self.level = min(self._level(at, limit) + requests, limit.size)
        self.level_at = at
        beyond_half = self.level - (limit.size / 2 - RESERVE)
        self.half_free_at = at + timedelta(seconds=beyond_half / limit.rate) if beyond_half > 0 else None
        excess = self.level + 1 - (limit.size - RESERVE)
        if excess > 0:
            self.wait(at, timedelta(seconds=excess / limit.rate))

    def _level(self, at: datetime, limit: RequestLimit) -> float:
        # A clock that was set back drains nothing, and must not fill anything either.
        passed = max(0.0, (at - self.level_at).total_seconds())
        return max(0.0, min(self.level or 0.0, limit.size) - passed * limit.rate)

    def room(self, at: datetime, limit: RequestLimit | None) -> float:
        """Tell how many dials may begin now."""
        if lasts(self.dial_at, at, LONGEST_PAUSE):
            return 0
        return float("inf") if limit is None else limit.size - RESERVE - self._level(at, limit)

    def is_third_full(self, at: datetime, limit: RequestLimit | None) -> bool:
        """Tell whether a third of what may be asked at once has been."""
        return limit is not None and self._level(at, limit) >= limit.size / 3

    def mark_full(self, at: datetime, limit: RequestLimit | None) -> None:
        """Mark the bucket as full, because the platform has refused a request although ours had room."""
        if limit is not None:
            self.level, self.level_at = limit.size, at
            self.count_requests(at, limit, 0)

    def is_refusing(self, at: datetime) -> bool:
        """Tell whether nothing is to be asked that can wait, because the portal has refused a request."""
        return lasts(self.spare_at, at, LONGEST_PAUSE)

    def note_refusal(self, at: datetime, asked_wait: timedelta | None = None) -> None:
        """Note that the portal refused a request because of a limit; ``asked_wait``: how long it wants to be left."""
        if self.is_refusing(at):
            return  # This one was under way when the first of them was refused.
        pause = min(FIRST_SPARE_PAUSE * 2 ** min(self.refusals or 0, 10), LONGEST_SPARE_PAUSE)
        self.refusals = (self.refusals or 0) + 1
        self.spare_at = at + min(max(pause, asked_wait or pause), LONGEST_PAUSE)

    def note_answer(self, at: datetime) -> None:
        """Note that the portal answered. While it refuses, that may be the answer to an older request."""
        if not self.is_refusing(at):
            self.refusals = 0

    def wait(self, at: datetime, pause: timedelta, reason: str | None = None) -> None:
        """Let no dial begin for a while; one that ends before the present one changes nothing."""
        waits_until = self.dial_at if lasts(self.dial_at, at, LONGEST_PAUSE) else None
        if waits_until is None or at + pause > waits_until:
            self.dial_at, self.paused_for = at + pause, reason

    def wait_no_longer(self, at: datetime, limit: RequestLimit | None) -> None:
        """Forget a pause that the portal has not asked for, but for one that a full bucket asks for now."""
        if self.paused_for is None:
            self.dial_at = None
            self.count_requests(at, limit, 0)

    def resume_dialling(self) -> None:
        """Let dials begin again."""
        self.dial_at = self.paused_for = None

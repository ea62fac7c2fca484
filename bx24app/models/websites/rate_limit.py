"""What limits requests of the public: token buckets, and the calls of a form's day."""

from datetime import date

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import Digest, Key, stored


class TokenBucket(Base):
    """A token bucket; what it is for is hidden in a digest. A full one is the same as none.

    A proof of work or a timed token that was used is one that never fills, kept until it would not be valid anyway.
    """

    __tablename__ = "rate"
    # Every request writes here: one tree on the disk, no index to keep beside it (forgetting may scan).
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    # What was left at ``at``; the bucket holds ``size`` and gets ``refill`` a second.
    tokens: Mapped[float]
    size: Mapped[float]
    refill: Mapped[float]
    # Seconds since the epoch, a number: both databases compute with it in the statement that takes a token.
    at: Mapped[float]
    # When it is full again at the latest, or its proof is too old, and it may go.
    full_at: Mapped[float]


class BudgetDay(Base):
    """How many requests for one day, in the zone of its hours, a form has taken.

    ``calls`` never falls: whoever has looked up the money of the day compares it, to know what was taken since. Of
    them ``moved_away`` are due on other days by now, and leave their places in the budget of calls to others.
    """

    __tablename__ = "budget_day"
    __table_args__ = (UniqueConstraint("form_id", "day"),)

    id: Mapped[Key]
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"))
    day: Mapped[date]
    calls: Mapped[int] = mapped_column(server_default=stored(0))
    moved_away: Mapped[int] = mapped_column(server_default=stored(0))

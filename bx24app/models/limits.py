"""What limits requests of the public: token buckets, spent proofs of work, and the calls of a form's day."""

from datetime import date

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.extensions import Base
from bx24app.models.columns import At, Digest, Key

# Every request writes these tables: one tree on the disk each, no index to keep beside it (forgetting may scan).
_ONE_TREE = {"sqlite_with_rowid": False}


class Rate(Base):
    """A token bucket; what it is for is hidden in a keyed digest. A full one is the same as none."""

    __tablename__ = "rate"
    __table_args__ = _ONE_TREE

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    # What was left at ``at``; the bucket holds ``size`` and gets ``refill`` a second.
    tokens: Mapped[float]
    size: Mapped[float]
    refill: Mapped[float]
    # Seconds since the epoch, a number: both databases compute with it in the statement that takes a token.
    at: Mapped[float]
    # When it is full again at the latest, and may go.
    full_at: Mapped[float]


class SpentProof(Base):
    """A proof of work or a timed token that was used; it is kept until it would not be valid anyway."""

    __tablename__ = "spent_proof"
    __table_args__ = _ONE_TREE

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    expires_at: Mapped[At]


class BudgetDay(Base):
    """How many requests a form has taken on one day, in the zone of its hours."""

    __tablename__ = "budget_day"
    __table_args__ = (UniqueConstraint("form_id", "day"),)

    id: Mapped[Key]
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"))
    day: Mapped[date]
    calls: Mapped[int] = mapped_column(default=0)

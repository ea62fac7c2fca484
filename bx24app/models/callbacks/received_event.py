"""What a portal told of a call, stored before it is applied; telephone numbers only as keyed digests."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, Code, Digest, Key, Name, PortalKey, utcnow


class ReceivedEvent(Base):
    """A telephony event or a row of the call history (``event`` is then ``HISTORY``).

    ``fields`` holds what it says beyond call, line and number.
    """

    __tablename__ = "received_event"
    # What is applied is found by its attempt, with which it goes; what is pending by call, by number and by age.
    __table_args__ = (
        Index(
            "ix_received_event_attempt_id",
            "attempt_id",
            sqlite_where=text("attempt_id IS NOT NULL"),
            postgresql_where=text("attempt_id IS NOT NULL"),
        ),
        *(
            Index(
                f"ix_received_event_pending_{name}",
                *columns,
                sqlite_where=text("applied_at IS NULL"),
                postgresql_where=text("applied_at IS NULL"),
            )
            for name, columns in {
                "call": ("portal_id", "call_id"),
                "number": ("portal_id", "number_digest"),
                "since": ("received_at",),
            }.items()
        ),
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    # The portal's queue delivers some events twice, and this digest of their content recognises them.
    digest: Mapped[Digest] = mapped_column(unique=True)
    event: Mapped[Code]
    call_id: Mapped[Name]
    call_type: Mapped[int | None]
    line_id: Mapped[Name | None]
    number_digest: Mapped[Digest | None]
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"))
    received_at: Mapped[At] = mapped_column(default=utcnow)
    applied_at: Mapped[At | None]

    def apply_to(self, attempt_id: int, at: datetime) -> None:
        """Record the attempt to which this event was applied, even if it came too late to change anything."""
        self.attempt_id, self.applied_at = attempt_id, at

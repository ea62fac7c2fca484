"""An event of the portal's queue, stored before it is applied; telephone numbers only as keyed digests."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.extensions import Base
from bx24app.models.columns import At, Code, Digest, Key, Name, PortalKey, utcnow


class ReceivedEvent(Base):
    """A telephony event; ``fields`` holds what its kind says beyond call, line and number."""

    __tablename__ = "received_event"
    __table_args__ = (
        Index("ix_received_event_portal_id_call_id", "portal_id", "call_id"),
        Index("ix_received_event_applied_at", "applied_at", "received_at"),
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    # The queue delivers some events twice: the digest of what was said tells them apart.
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
        """Note the attempt that this event moved (or came too late to move)."""
        self.attempt_id, self.applied_at = attempt_id, at

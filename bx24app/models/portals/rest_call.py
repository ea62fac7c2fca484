"""The REST log: what was asked of a portal and what came back, masked, without tokens."""

from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, Key, Name, PortalKey, utcnow


class RestCall(Base):
    """One request to a portal; ``parameters`` are masked before they come here."""

    __tablename__ = "rest_call"
    __table_args__ = (Index("ix_rest_call_portal_id_made_at", "portal_id", "made_at"),)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    user_id: Mapped[int | None]
    method: Mapped[Name]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[int | None]
    error: Mapped[Name | None]
    words: Mapped[str | None] = mapped_column(String(500))
    duration_ms: Mapped[int]
    made_at: Mapped[At] = mapped_column(default=utcnow)

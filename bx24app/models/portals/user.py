"""A person of a portal who has opened the app, and what they chose last."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, Name, PortalKey, stored, utcnow


class User(Base):
    """A user of one portal; ``user_id`` is the portal's own number."""

    __tablename__ = "portal_user"
    __table_args__ = (UniqueConstraint("portal_id", "user_id"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    user_id: Mapped[int]
    name: Mapped[Name]
    is_administrator: Mapped[bool] = mapped_column(server_default=stored(False))
    # Their ids with blanks between them: plain text, because it is read with each request by a compiled statement.
    departments: Mapped[str] = mapped_column(Text, server_default=stored(""))
    # When the portal was asked what it says of the rights above; None: it never was since this is recorded.
    proven_at: Mapped[At | None]
    time_zone: Mapped[Code | None]
    last_line_id: Mapped[Name | None]
    last_voice_id: Mapped[Name | None]
    seen_at: Mapped[At] = mapped_column(default=utcnow)
    # How they left the desk (callbacks/listing/memory.py), and when; read only where the desk opens.
    desk: Mapped[dict[str, Any] | None] = mapped_column(JSON, deferred=True)
    desk_left_at: Mapped[At | None] = mapped_column(deferred=True)

    def keep_rights(self, asked_at: datetime, *, is_administrator: bool, departments: Iterable[int]) -> None:
        """Keep what the portal says about their rights; an answer to an older question changes nothing."""
        if self.proven_at is None or self.proven_at <= asked_at:
            self.proven_at, self.is_administrator = asked_at, is_administrator
            self.departments = " ".join(map(str, departments))

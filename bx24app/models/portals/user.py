"""A person of a portal who has opened the app, and what they chose last."""

from sqlalchemy import UniqueConstraint
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
    time_zone: Mapped[Code | None]
    last_line_id: Mapped[Name | None]
    last_voice_id: Mapped[Name | None]
    seen_at: Mapped[At] = mapped_column(default=utcnow)

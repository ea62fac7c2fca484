"""A filter of the list that an employee has named."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Key, Name, PortalKey, stored, utcnow


class SavedFilter(Base):
    """A named filter; it goes with its person, and a shared one is offered to everybody of the portal."""

    __tablename__ = "saved_filter"
    __table_args__ = (UniqueConstraint("owner_id", "name"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    # Our row of the person, who has no filters elsewhere.
    owner_id: Mapped[int] = mapped_column(ForeignKey("portal_user.id", ondelete="CASCADE"))
    name: Mapped[Name]
    wanted: Mapped[dict[str, Any]] = mapped_column(JSON)
    is_shared: Mapped[bool] = mapped_column(server_default=stored(False))
    made_at: Mapped[At] = mapped_column(default=utcnow)

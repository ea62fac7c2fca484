"""Keys with which the back end of a website asks for callbacks."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Digest, Key, Name, PortalKey, utcnow


class ApiKey(Base):
    """A key of one form: shown once when it is made, kept as keyed digest."""

    __tablename__ = "api_key"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"), index=True)
    # Its beginning, by which people tell keys apart.
    prefix: Mapped[str] = mapped_column(String(16))
    digest: Mapped[Digest] = mapped_column(unique=True)
    name: Mapped[Name]
    created_by: Mapped[int | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    # To the minute.
    last_used_at: Mapped[At | None]
    revoked_at: Mapped[At | None]

    def revoke(self, at: datetime) -> None:
        """Take it back; doing so again changes nothing."""
        self.revoked_at = self.revoked_at or at

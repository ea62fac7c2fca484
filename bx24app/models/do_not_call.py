"""Numbers that a portal never dials."""

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Digest, Key, Name, PortalKey, utcnow


class DoNotCall(Base):
    """A number on the do-not-call list; an erased one leaves only its keyed digest."""

    __tablename__ = "do_not_call"
    __table_args__ = (
        # It begins with the digest for the guarded write, like the unique ones of callbacks.
        UniqueConstraint("number_digest", "portal_id", name="uq_do_not_call_portal_id_number_digest"),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    number_digest: Mapped[Digest]
    # E.164; None once the number was erased.
    number: Mapped[str | None] = mapped_column(String(32))
    note: Mapped[Name | None]
    added_by: Mapped[int | None]
    added_at: Mapped[At] = mapped_column(default=utcnow)

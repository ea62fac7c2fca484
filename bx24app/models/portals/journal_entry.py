"""The journal: who changed what of a portal's settings, and when."""

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, Name, PortalKey, utcnow


class JournalEntry(Base):
    """One change; ``changes`` are ``[field, old, new]``, without secrets and numbers (services/security/journal.py)."""

    __tablename__ = "journal_entry"
    __table_args__ = (Index("ix_journal_entry_portal_id_page_id", "portal_id", "page", "id"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    # The portal's number of whoever did it; None: nobody was named.
    user_id: Mapped[int | None]
    page: Mapped[Code]
    # The form, key or callback that it is about; empty where the page says it.
    subject: Mapped[Name]
    changes: Mapped[list[list[str]]] = mapped_column(JSON)
    made_at: Mapped[At] = mapped_column(default=utcnow)

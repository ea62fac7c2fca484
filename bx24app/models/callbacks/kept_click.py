"""A click on a button of an entry of which nobody could say, when it came, who has made it."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.crypto import Keyring
from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, PortalKey, stored
from bx24app.models.lease import Leased


class KeptClick(Leased, Base):
    """One click of one person. It is worked on for two minutes and then gone, so its token is never sealed anew."""

    __tablename__ = "kept_click"
    __table_args__ = (
        UniqueConstraint("entry_id", "action", "token_digest"),
        Index("ix_kept_click_due_at", "due_at"),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    entry_id: Mapped[int] = mapped_column(ForeignKey("timeline_entry.id", ondelete="CASCADE"))
    action: Mapped[Code]
    # How often the callback had changed by then: a click is meant for what the person saw.
    changes: Mapped[int]
    token_digest: Mapped[Digest]
    token_sealed: Mapped[str] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(server_default=stored(0))
    made_at: Mapped[At]
    due_at: Mapped[At]

    @staticmethod
    def _place(member_id: str) -> str:
        return f"kept_click.token.{member_id}"

    def keep_token(self, keyring: Keyring, member_id: str, token: str) -> None:
        """Seal the access token that says who has clicked."""
        self.token_sealed = keyring.seal(token, self._place(member_id))

    def token(self, keyring: Keyring, member_id: str) -> str:
        """Open it; raises ``SealError``."""
        return keyring.open_sealed(self.token_sealed, self._place(member_id))

    def put_off(self, due_at: datetime) -> None:
        """Ask again later."""
        self.tries += 1
        self.leave(due_at)

    def leave(self, due_at: datetime) -> None:
        """Let whoever comes then ask: nobody has been asked now."""
        self.due_at = due_at
        self.release()

"""What follows a callback that ended without a conversation: the news of it, and the to-do in the CRM."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, PortalKey, stored
from bx24app.models.lease import Leased

_DUE_SQL = text("due_at IS NOT NULL")


class CallbackNews(Base):
    """A callback has ended, or waits for a person: written with the change, and gone once it was followed up."""

    __tablename__ = "callback_news"
    __table_args__ = (Index("ix_callback_news_callback_id", "callback_id"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    callback_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="CASCADE"))
    made_at: Mapped[At]


class ToDo(Leased, Base):
    """The to-do "Call back" of one callback, of which there is never a second one.

    Whoever asks the CRM holds the lease. The CRM is marked as asked before it is, so that a lost answer is followed by
    a look at the card, and not by another to-do.
    """

    __tablename__ = "to_do"
    __table_args__ = (
        UniqueConstraint("callback_id"),
        Index("ix_to_do_due_at", "due_at", "portal_id", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    callback_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="CASCADE"))
    # How often the CRM was asked to make it; 0: it cannot be there.
    asks: Mapped[int] = mapped_column(server_default=stored(0))
    # Its number in the CRM; None: not made, or not known yet.
    activity_id: Mapped[int | None]
    # The customer was reached, or somebody says so: nobody has to call any more.
    is_settled: Mapped[bool] = mapped_column(server_default=stored(False))
    # Why there is none, or why it could not be completed.
    reason: Mapped[Code | None]
    tries: Mapped[int] = mapped_column(server_default=stored(0))
    made_at: Mapped[At]
    # When it is made, looked for or completed; None: it waits for a person, or has ended.
    due_at: Mapped[At | None]
    ended_at: Mapped[At | None]

    def ask(self, look_again_at: datetime) -> None:
        """The CRM is about to be asked for it; commit before asking."""
        self.asks += 1
        self.due_at = look_again_at

    def open(self, activity_id: int, at: datetime) -> None:
        """It stands in the CRM; it is completed at once where that is all that is left to do."""
        self.activity_id, self.tries = activity_id, 0
        self.due_at = at if self.is_settled else None
        self.release()

    def settle(self, at: datetime) -> None:
        """Nobody has to call any more: it is completed where it may stand in the CRM, and not made elsewhere."""
        self.is_settled = True
        if not self.asks:
            self.end(at)
        elif self.activity_id is not None:
            self.due_at = at

    def put_off(self, due_at: datetime) -> None:
        """Try again later."""
        self.due_at = due_at
        self.tries += 1
        self.release()

    def end(self, at: datetime, reason: str | None = None) -> None:
        """Nothing more is done about it."""
        self.ended_at, self.reason, self.due_at = at, reason, None
        self.release()

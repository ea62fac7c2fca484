"""What stands of a callback in the timeline of its CRM card: our activity, and our words in that of the call."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, PortalKey, stored
from bx24app.models.lease import Leased

_DUE_SQL = text("due_at IS NOT NULL")


class TimelineEntry(Leased, Base):
    """One per callback that is shown in a card. Whoever brings the activity up to date holds the lease.

    Every change of the callback makes it due and raises ``changes`` (services/callbacks/entries/marks.py).
    """

    __tablename__ = "timeline_entry"
    __table_args__ = (
        Index("ix_timeline_entry_due_at", "due_at", "portal_id", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL),
        Index("ix_timeline_entry_activity_id", "activity_id", "portal_id"),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    # None: the callback was erased, and what stands of it in the card is taken away.
    callback_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="CASCADE"), unique=True)
    # The id of the callback, by which the activity is found again when an answer was lost.
    origin: Mapped[UUID] = mapped_column(Uuid)
    entity_type: Mapped[Code]
    entity_id: Mapped[int]
    # None: there is no activity yet, or it is not known whether there is one (``asked_at``).
    activity_id: Mapped[int | None]
    asked_at: Mapped[At | None]
    asks: Mapped[int] = mapped_column(server_default=stored(0))
    # Tells what the activity shows.
    shown: Mapped[Digest | None]
    changes: Mapped[int] = mapped_column(server_default=stored(0))
    # Whose click was refused last, and why; the activity says so until the callback changes.
    notice: Mapped[Code | None]
    notice_for: Mapped[int | None]
    # The portal's own activity of the call that has our words, with its owner; and how often it was looked for.
    call_activity: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    looks: Mapped[int] = mapped_column(server_default=stored(0))
    tries: Mapped[int] = mapped_column(server_default=stored(0))
    # When it is brought up to date; None: there is nothing to do.
    due_at: Mapped[At | None]
    # Nothing more is shown: somebody deleted the activity, or the portal refused it again and again.
    ended_at: Mapped[At | None]
    reason: Mapped[Code | None]

    def ask(self, at: datetime) -> None:
        """The portal is about to be asked for the activity; commit before asking."""
        self.asked_at = at
        self.asks += 1

    def was_not_asked(self) -> None:
        """The request for the activity is proven not to have been executed."""
        self.asked_at = None
        self.asks -= 1

    def show(self, activity_id: int, shown: str | None) -> None:
        """Record what the activity shows now; None: it has to be shown once more."""
        self.activity_id, self.shown, self.asked_at = activity_id, shown, None
        self.tries = 0

    def put_off(self, due_at: datetime) -> None:
        """Try again later."""
        self.due_at = due_at
        self.tries += 1
        self.release()

    def wait(self, due_at: datetime | None) -> None:
        """Nothing more is to be done before a moment; None: before the callback changes."""
        self.due_at, self.tries = due_at, 0
        self.release()

    def end(self, at: datetime, reason: str) -> None:
        """Record that nothing more is shown, and why."""
        self.ended_at, self.reason, self.due_at = at, reason, None
        self.release()

    def answer_click(self, at: datetime, notice: str | None, user_id: int | None) -> None:
        """Show it anew, whatever it shows: a button stays blocked until then.

        ``notice``: why the click was refused; ``user_id`` None: nobody could say who has clicked.
        """
        self.notice, self.notice_for = notice, user_id if notice else None
        self.shown = self.ended_at = None
        self.due_at, self.tries, self.changes = at, 0, self.changes + 1

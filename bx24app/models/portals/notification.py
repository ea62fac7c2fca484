"""What people of a portal are told in its messenger: one row for each thing and person, and each person's limits."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, PortalKey, stored
from bx24app.models.lease import Leased, lasts

_DUE_SQL = text("due_at IS NOT NULL")
# So many are sent to a person in an hour; what comes then is told together when the hour is over.
NOTIFICATIONS_AN_HOUR = 20
_AN_HOUR = timedelta(hours=1)


class Notification(Base):
    """What somebody is told about one thing; another word about the same thing takes its place, here as there."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("portal_id", "user_id", "tag"),
        Index(
            "ix_notification_due_at", "portal_id", "user_id", "due_at", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL
        ),
        Index("ix_notification_callback_id", "callback_id"),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"))
    user_id: Mapped[int]
    # Names the thing, the same for everybody who is told of it.
    tag: Mapped[Code]
    event: Mapped[Code]
    callback_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="CASCADE"))
    # Names of lines, forms and people; a callback tells the rest when it is sent.
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_at: Mapped[At]
    # When it is sent, or taken back; None: that was done, or cannot be done.
    due_at: Mapped[At | None]
    # It waits for the end of an hour in which enough was sent.
    is_held: Mapped[bool] = mapped_column(server_default=stored(False))
    sent_at: Mapped[At | None]
    tries: Mapped[int] = mapped_column(server_default=stored(0))
    # Why it was not sent.
    reason: Mapped[Code | None]

    def hold(self, due_at: datetime) -> None:
        """Wait for the end of the hour."""
        self.due_at, self.is_held = due_at, True

    def put_off(self, due_at: datetime) -> None:
        """Try again later."""
        self.due_at = due_at
        self.tries += 1

    def note_sent(self, at: datetime) -> None:
        """It stands in the messenger."""
        self.sent_at, self.due_at, self.reason, self.is_held = at, None, None, False

    def give_up(self, reason: str) -> None:
        """It is not sent."""
        self.due_at, self.reason, self.is_held = None, reason, False


class ToldStoppage(Base):
    """Something that keeps a portal from calling, and was told, perhaps to nobody; the row goes when it is over."""

    __tablename__ = "told_stoppage"
    __table_args__ = (UniqueConstraint("portal_id", "tag"), NEVER_REUSED)

    id: Mapped[Key]
    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"))
    # That of its notifications.
    tag: Mapped[Code]
    told_at: Mapped[At]


class NotifiedPerson(Leased, Base):
    """Somebody who is told things, or wants to be told nothing. Whoever sends to them holds the lease."""

    __tablename__ = "notified_person"
    __table_args__ = (
        UniqueConstraint("portal_id", "user_id"),
        Index("ix_notified_person_due_at", "due_at", "portal_id", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    user_id: Mapped[int]
    is_muted: Mapped[bool] = mapped_column(server_default=stored(False))
    # When the hour began in which is counted, and how many were sent in it.
    hour_at: Mapped[At | None]
    sent: Mapped[int] = mapped_column(server_default=stored(0))
    # When the first of what waits for them is due; None: nothing waits.
    due_at: Mapped[At | None]

    def room(self, at: datetime) -> int:
        """How many more may be sent now; an hour that is over begins anew."""
        if not lasts(self.hour_ends_at, at, _AN_HOUR):
            self.hour_at, self.sent = at, 0
        return NOTIFICATIONS_AN_HOUR - self.sent

    @property
    def hour_ends_at(self) -> datetime | None:
        """When more may be sent; None: nothing was sent yet."""
        return None if self.hour_at is None else self.hour_at + _AN_HOUR

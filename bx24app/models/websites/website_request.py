"""What came with a callback that was asked for on a website or by a site's back end."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, Text, Uuid, and_, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.callbacks.state import State
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, Name, stored, utcnow
from bx24app.models.ids import new_id
from bx24app.models.lease import Leased

_CRM_SQL = text("crm_due_at IS NOT NULL")
_UNRELEASED_SQL = text("line_id IS NOT NULL AND released_at IS NULL AND cancelled_at IS NULL")


class CrmState(StrEnum):
    """How finding or making the customer in the CRM went."""

    # Not looked for yet, or nobody was found and nobody was wanted.
    NONE = ""
    # The CRM was asked for a new card, and it is not known whether it made one.
    ASKING = "asking"
    FOUND = "found"
    CREATED = "created"
    FAILED = "failed"


class WebsiteRequest(Leased, Base):
    """One per callback of the sources website and api: who asked, where, and what they agreed to.

    Whoever looks for the customer in the CRM holds the lease.
    """

    __tablename__ = "website_request"
    __table_args__ = (
        Index("ix_website_request_form_id_created_at", "form_id", "created_at"),
        Index("ix_website_request_crm", "crm_due_at", sqlite_where=_CRM_SQL, postgresql_where=_CRM_SQL),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    callback_id: Mapped[UUID] = mapped_column(ForeignKey("callback.id", ondelete="CASCADE"), unique=True)
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"))
    name: Mapped[Name] = mapped_column(server_default=stored(""))
    topic: Mapped[Name] = mapped_column(server_default=stored(""))
    # The page it was asked on, and the marks of the campaign that led there.
    page: Mapped[str] = mapped_column(Text, server_default=stored(""))
    utm: Mapped[dict[str, str]] = mapped_column(JSON, server_default=stored({}))
    language: Mapped[Code] = mapped_column(server_default=stored("en"))
    # The visitor's IP address; None for a site's back end, and once its time is over.
    address: Mapped[str | None] = mapped_column(String(45))
    consent_text: Mapped[str | None] = mapped_column(Text)
    consent_version: Mapped[int | None]
    consent_at: Mapped[At | None]
    number_digest: Mapped[Digest]
    crm_state: Mapped[Code] = mapped_column(server_default=stored(CrmState.NONE))
    # While it is asking: for which kind of card, and how often so far.
    crm_kind: Mapped[Code | None]
    crm_asks: Mapped[int] = mapped_column(server_default=stored(0))
    # Why it failed; the words are the portal's.
    crm_reason: Mapped[Code | None]
    crm_words: Mapped[str | None] = mapped_column(Text)
    crm_tried_at: Mapped[At | None]
    # When a worker looks next; None: it is settled.
    crm_due_at: Mapped[At | None] = mapped_column(default=utcnow)
    created_at: Mapped[At] = mapped_column(default=utcnow)

    def lease(self, at: datetime, length: timedelta) -> int:
        """A worker looks for the customer; returns the lease's fencing number."""
        self.crm_tried_at = at
        return super().lease(at, length)

    def ask_crm(self, kind: str, number: int, look_again_at: datetime) -> None:
        """The CRM is about to be asked for a new card, for the ``number``-th time; commit before asking."""
        self.crm_state, self.crm_kind, self.crm_asks = CrmState.ASKING, kind, number
        self.crm_due_at = look_again_at

    def wait_for_crm(self, due_at: datetime) -> None:
        """Nothing is known yet; a worker looks again."""
        self.crm_due_at = due_at
        self.release()

    def settle_crm(self, state: CrmState, reason: str | None = None, words: str | None = None) -> None:
        """Nothing more is done."""
        self.crm_state, self.crm_reason, self.crm_words = state, reason, words
        self.crm_due_at, self.crm_kind, self.crm_asks = None, None, 0
        self.release()


class DecoyRequest(Base):
    """A request for a number that was in hand or is not called: answered and shown like any other; nothing follows.

    It holds no number, and nothing of the callback in hand is shown of it: whoever asked may be a stranger. What is
    shown as time goes by follows from its id (services/callbacks/decoys.py). Where another callback was to
    ring for it and does not any more, it becomes a callback itself (services/callbacks/number_holder.py).
    """

    __tablename__ = "ghost"
    __table_args__ = (
        Index("ix_ghost_unreleased", "due_at", sqlite_where=_UNRELEASED_SQL, postgresql_where=_UNRELEASED_SQL),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"), index=True)
    idempotency_key: Mapped[Name | None] = mapped_column(unique=True)
    request_digest: Mapped[Digest | None]
    scheduled_at: Mapped[At | None]
    due_at: Mapped[At]
    cancelled_at: Mapped[At | None]
    created_at: Mapped[At] = mapped_column(default=utcnow, index=True)
    # The callback that held the number, and rings for this request too; None: the number is listed or asked for too
    # often. It is never shown.
    holder_id: Mapped[UUID | None] = mapped_column(Uuid, index=True)
    # The line that it would ring, and how long it may wait for it. None: an earlier version stored it, and it was
    # released when it was due.
    line_id: Mapped[Name | None]
    expires_at: Mapped[At | None]
    # When a worker would have leased the callback in its place; None: it waits.
    released_at: Mapped[At | None]
    # What it came to then without any dial: ``expired`` or ``failed``, or ``unknown`` by a restore; None: it goes on as
    # if it was dialled.
    ended_as: Mapped[Code | None]
    # How often it had looked dialled when it was last moved.
    tried: Mapped[int] = mapped_column(server_default=stored(0))

    def release(self, at: datetime, ended_as: State | None = None) -> None:
        """Leave the queue: to look dialled, or else to look ended."""
        self.released_at, self.ended_as = at, ended_as

    def cancel(self, at: datetime) -> None:
        """Withdraw it, for the eyes of whoever asked."""
        self.cancelled_at = at

    def reschedule(self, scheduled_at: datetime, expires_at: datetime, tried: int) -> None:
        """Show another time, and wait for it in the queue, whatever was shown before.

        ``tried``: how often it has looked dialled, which leaves it as many tries as a callback.
        """
        self.scheduled_at = self.due_at = scheduled_at
        self.tried = tried
        self.expires_at = expires_at
        self.released_at = self.ended_as = None


# Those that wait in the queue; said as the index is, so that it is used.
IS_UNRELEASED = and_(
    DecoyRequest.line_id.is_not(None), DecoyRequest.released_at.is_(None), DecoyRequest.cancelled_at.is_(None)
)


class Rejection(Base):
    """Requests of the public that were not taken: the deciding rule and what it looked at, numbers masked."""

    __tablename__ = "refusal"
    __table_args__ = (
        Index("ix_refusal_portal_id_made_at", "portal_id", "made_at"),
        Index("ix_refusal_form_id_rule", "form_id", "rule", "made_at"),
        Index("ix_refusal_form_id_made_at", "form_id", "made_at"),
    )

    id: Mapped[Key]
    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"))
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"))
    rule: Mapped[Code]
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    # In a flood the later ones are only counted here.
    count: Mapped[int] = mapped_column(server_default=stored(1))
    made_at: Mapped[At] = mapped_column(default=utcnow, index=True)

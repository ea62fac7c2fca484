"""An attempt: one dial of a callback, which only moves forward."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, Name, PortalKey, stored


class Outcome(StrEnum):
    """The outcome of an attempt so far."""

    DIALLING = "dialling"
    UNKNOWN = "unknown"
    STARTED = "started"
    ANSWERED = "answered"
    COMPLETED = "completed"
    MISSED = "missed"
    HANDED_OVER = "handed_over"
    REFUSED = "refused"
    NOT_EXECUTED = "not_executed"


_ORDER = {
    Outcome.DIALLING: 0,
    Outcome.UNKNOWN: 1,
    Outcome.REFUSED: 1,
    Outcome.STARTED: 2,
    Outcome.ANSWERED: 3,
}
_END = 4
# A report without a known call may be about attempts with these outcomes.
_NAMELESS_SQL = text("outcome IN ('dialling', 'unknown')")
_HAS_COST_SQL, _HAS_CURRENCY_SQL = text("cost IS NOT NULL"), text("cost_currency IS NOT NULL")
SECOND_SQL, _ANSWERED_SQL = text("number = 2"), text("answered_by IS NOT NULL")
# A telephone rings no longer, hardly any call lasts longer than a long talk, and none longer than the third.
RING_TIME, LONG_TALK, CALL_LASTS = timedelta(minutes=2), timedelta(hours=1), timedelta(hours=4)
# A portal may begin a call as long after the attempt as the request is open (bitrix24/client.py ``DIAL_SECONDS``).
BEGINS_LATE = timedelta(seconds=75)


class MovedBackwards(Exception):
    """An attempt may not return to an earlier outcome."""


class Attempt(Base):
    """One dial; the row is the fence: it is committed before the request is sent."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("callback_id", "number"),
        Index("ix_attempt_portal_id_call_id", "portal_id", "call_id"),
        Index(
            "ix_attempt_nameless",
            "portal_id",
            "number_digest",
            sqlite_where=_NAMELESS_SQL,
            postgresql_where=_NAMELESS_SQL,
        ),
        # Lists of what was dialled more than once, and of what somebody answered.
        Index("ix_attempt_second", "portal_id", "callback_id", sqlite_where=SECOND_SQL, postgresql_where=SECOND_SQL),
        Index(
            "ix_attempt_answered",
            "portal_id",
            "answered_by",
            "callback_id",
            sqlite_where=_ANSWERED_SQL,
            postgresql_where=_ANSWERED_SQL,
        ),
        # The money of a form's day: what was dialled that day, the last costs, and the currency of the last one.
        Index("ix_attempt_started_at", "portal_id", "started_at"),
        Index(
            "ix_attempt_cost",
            "portal_id",
            "cost_currency",
            "id",
            sqlite_where=_HAS_COST_SQL,
            postgresql_where=_HAS_COST_SQL,
        ),
        Index(
            "ix_attempt_currency", "portal_id", "id", sqlite_where=_HAS_CURRENCY_SQL, postgresql_where=_HAS_CURRENCY_SQL
        ),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    callback_id: Mapped[UUID] = mapped_column(ForeignKey("callback.id", ondelete="CASCADE"))
    number: Mapped[int]
    line_id: Mapped[Name]
    to_number: Mapped[str] = mapped_column(String(32))
    # How far the call history had been read when this attempt was about to dial: its own row comes later.
    history_cursor: Mapped[int | None] = mapped_column(BigInteger)
    number_digest: Mapped[Digest | None]
    outcome: Mapped[Code] = mapped_column(server_default=stored(Outcome.DIALLING))
    call_id: Mapped[Name | None]
    failed_code: Mapped[Code | None]
    failed_reason: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[int | None]
    duration_seconds: Mapped[int | None]
    cost: Mapped[Decimal | None] = mapped_column(Numeric(12, 4))
    cost_currency: Mapped[Code | None]
    # The portal's own activity of the call in the CRM, as the history names it.
    activity_id: Mapped[int | None]
    started_at: Mapped[At]
    # When the portal's answer named the call, which had begun by then.
    began_by: Mapped[At | None]
    answered_at: Mapped[At | None]
    ended_at: Mapped[At | None]

    @property
    def rang_until(self) -> datetime:
        """Until when its call may have rung or been talked: its end is read later, and of some calls never.

        Where nobody knows how long it was, this is a bound for whom it can have served: nobody asks while they talk,
        except after a line that dropped.
        """
        # The history's own times are no earlier bound. They are when the call was registered and a duration that need
        # not hold the ringing, 0 where nobody picked up (docs: on-voximplant-call-end.md): who asked while it rang
        # would be called once more.
        # The answer to the request of one without such a time was lost, or is under way.
        began_by = self.began_by or self.started_at + BEGINS_LATE
        if self.duration_seconds is not None:
            return began_by + RING_TIME + min(timedelta(seconds=self.duration_seconds), CALL_LASTS)
        return began_by + RING_TIME if self.answered_at is None else self.answered_at + LONG_TALK

    def _go(self, outcome: Outcome) -> None:
        old = Outcome(self.outcome or Outcome.DIALLING)
        if _ORDER.get(old, _END) >= _ORDER.get(outcome, _END):
            raise MovedBackwards(f"attempt {self.id}: {old} -> {outcome}")
        self.outcome = outcome

    def start(self, call_id: str, at: datetime) -> None:
        """Record the call that the portal began for it."""
        self._go(Outcome.STARTED)
        # It may be recorded long after the answer.
        self.call_id, self.began_by = call_id, min(at, self.started_at + BEGINS_LATE)

    def hand_over(self, at: datetime) -> None:
        """Record that another telephony app was given the call."""
        self._go(Outcome.HANDED_OVER)
        self.ended_at = at

    def refuse(self, at: datetime, code: str, words: str | None) -> None:
        """Record that the portal refused it before anything rang."""
        self._go(Outcome.REFUSED)
        self.failed_code, self.failed_reason, self.ended_at = code, words, at

    def not_executed(self, at: datetime, code: str) -> None:
        """Record that its request was not sent, or was rejected before execution."""
        self._go(Outcome.NOT_EXECUTED)
        self.failed_code, self.ended_at = code, at

    def mark_unknown(self) -> None:
        """Record that nobody knows whether it was executed."""
        self._go(Outcome.UNKNOWN)

    def answer(self, user_id: int | None, at: datetime) -> None:
        """Record that somebody picked up."""
        self._go(Outcome.ANSWERED)
        self.answered_by, self.answered_at = user_id, at

    def end(self, outcome: Outcome, at: datetime, code: str | None, words: str | None) -> None:
        """Record that the call is over."""
        self._go(outcome)
        self.failed_code, self.failed_reason, self.ended_at = code, words, at

    def give_up(self, at: datetime) -> None:
        """Record that its call began, and that nobody knows how it ended, nor who talked: only an event has said so."""
        self.answered_by = None
        self.end(Outcome.MISSED, at, None, None)

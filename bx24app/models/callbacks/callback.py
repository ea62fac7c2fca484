"""A callback: what was asked for, and where it stands."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ForeignKey, String, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from bx24app.database import Base
from bx24app.models.callbacks.attempt import Attempt, Outcome
from bx24app.models.callbacks.decision import Decision
from bx24app.models.callbacks.indexes import CALLBACK_INDEXES
from bx24app.models.callbacks.state import (
    FINAL,
    IN_HAND,
    RESTORED,
    RETRIABLE,
    TRANSITIONS,
    WAITING,
    IllegalTransition,
    Source,
    State,
)
from bx24app.models.columns import At, Code, Digest, Name, RequestKey, stored, utcnow
from bx24app.models.ids import new_id
from bx24app.models.lease import Leased

TAKEN_OVER = "taken_over"
# How the reason of a callback begins that is called again after a call in vain (``retry_policy.after_miss``).
_REPEATS = "retry_code_"
# Decisions of a person that it is dialled, or when.
_CHOICES = frozenset({"rescheduled", "resolved"})


class Callback(Leased, Base):
    """A request to ring a line and then a number; it keeps the identity under which it was accepted."""

    __tablename__ = "callback"
    __table_args__ = CALLBACK_INDEXES

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    # It needs no index of its own, because other indexes begin with it.
    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"))
    state: Mapped[Code]
    # Only one callback at a time may hold a number. An unknown one gives it back when no report can come any more.
    holds_number: Mapped[bool] = mapped_column(server_default=stored(False))
    reason: Mapped[Code | None]
    words: Mapped[str | None] = mapped_column(Text)
    retry_of: Mapped[UUID | None] = mapped_column(Uuid)
    to_number: Mapped[str] = mapped_column(String(32))
    # Its digits from the back, for those who know the last ones; kept with the number.
    number_reversed: Mapped[str] = mapped_column(String(32), server_default=stored(""))
    # As the customer wrote it, or as the CRM's card has it; None: nobody has told it.
    customer_name: Mapped[Name | None]
    line_id: Mapped[Name]
    line_name: Mapped[Name]
    voice_id: Mapped[Name | None]
    text: Mapped[str] = mapped_column(Text)
    source: Mapped[Code]
    form_id: Mapped[int | None] = mapped_column(ForeignKey("form.id"))
    # Whose callback it is: whoever asked for it, or the colleague who took it over.
    requested_by: Mapped[int | None]
    crm_entity_type: Mapped[Code | None]
    crm_entity_id: Mapped[int | None]
    idempotency_key: Mapped[RequestKey | None]
    request_digest: Mapped[Digest | None]
    scheduled_at: Mapped[At | None]
    due_at: Mapped[At]
    expires_at: Mapped[At]
    version: Mapped[int] = mapped_column()
    # The version that the reports have counted. Every change raises ``version``: what differs is counted again.
    counted_version: Mapped[int] = mapped_column(server_default=stored(0))
    # What it was counted as, so that a figure leads to its callbacks; all None until then.
    counted_outcome: Mapped[Code | None]
    counted_called: Mapped[bool | None]
    counted_picked_up: Mapped[bool | None]
    # Whole seconds until the first pick-up.
    counted_wait: Mapped[int | None]
    counted_person: Mapped[int | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    updated_at: Mapped[At] = mapped_column(default=utcnow)
    ended_at: Mapped[At | None]
    # It ended without reaching the customer, and the number has not been asked for again since.
    needs_follow_up: Mapped[bool] = mapped_column(server_default=stored(False))
    # From this moment on only a person can decide about the unknown outcome.
    asks_since: Mapped[At | None]

    attempts: Mapped[list[Attempt]] = relationship(order_by=Attempt.number, cascade="all, delete-orphan")
    decisions: Mapped[list["Decision"]] = relationship(order_by="Decision.id", cascade="all, delete-orphan")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  SQLAlchemy wants a plain attribute.

    @validates("to_number")
    def _keep_reversed(self, _: str, number: str) -> str:
        self.number_reversed = number[::-1].rstrip("+")
        return number

    def _go(self, state: State, at: datetime, reason: str | None = None, words: str | None = None) -> None:
        if state not in TRANSITIONS[State(self.state)]:
            raise IllegalTransition(self.id, self.state, state)
        self._enter(state, at, reason, words)

    def _enter(self, state: State, at: datetime, reason: str | None = None, words: str | None = None) -> None:
        self.state, self.reason, self.words, self.updated_at = state, reason, words, at
        self.release()
        self.asks_since = None
        self.holds_number = state in IN_HAND
        self.needs_follow_up = state in RETRIABLE
        self.ended_at = at if state in FINAL else None

    def decide(self, rule: str, at: datetime, **inputs: str | int | None) -> None:
        """Record why something happened to the callback."""
        self.decisions.append(Decision.of(rule, at, inputs))

    @property
    def why(self) -> list["Decision"]:
        """Its decisions in order. The first, that it was requested, is not stored: the callback itself tells it."""
        former = (decision.inputs["former"] for decision in self.decisions if decision.rule == TAKEN_OVER)
        asked_by = next(former, self.requested_by)
        return [Decision.of("requested", self.created_at, {"user": asked_by, "source": self.source}), *self.decisions]

    @property
    def repeats_call(self) -> bool:
        """Tell whether it waits for another call after one that did not connect the two."""
        return self.state == State.SCHEDULED and (self.reason or "").startswith(_REPEATS)

    @property
    def is_persons(self) -> bool:
        """Tell whether it is dialled under a person's own access, so that the portal enforces their rights."""
        return self.source in (Source.STAFF, Source.ROBOT) and self.requested_by is not None

    @property
    def chosen_at(self) -> datetime:
        """When a person last chose that it is dialled, or when."""
        return max((made.made_at for made in self.decisions if made.rule in _CHOICES), default=self.created_at)

    def is_of(self, user_id: int) -> bool:
        """Tell whether somebody asked for it, or answered it."""
        return self.requested_by == user_id or any(attempt.answered_by == user_id for attempt in self.attempts)

    def is_colleagues_of(self, user_id: int | None) -> bool:
        """Tell whether it is dialled under the access of another person than ``user_id``."""
        return self.is_persons and user_id is not None and self.requested_by != user_id

    def take_over(self, user_id: int, at: datetime) -> None:
        """Make it the callback of a colleague, under whose own access it is dialled from now on."""
        former, self.requested_by = self.requested_by, user_id
        self.decide(TAKEN_OVER, at, user=user_id, former=former)

    def accept(self, at: datetime) -> None:
        """Queue a new callback that is due now, and schedule any other."""
        self.state = State.SCHEDULED if self.due_at > at else State.QUEUED
        self.holds_number = self.state in IN_HAND

    def count_again(self) -> None:
        """Let the reports count it anew, even where only an attempt of it changes: this alone raises the version."""
        self.counted_version = -self.version

    def queue(self, at: datetime) -> None:
        """Queue a scheduled callback that is due; from now on it holds its number."""
        self._go(State.QUEUED, at, self.reason)

    def lease(self, at: datetime, length: timedelta) -> int:
        """Lease the waiting callback to a worker; returns the fencing number of the lease."""
        self.updated_at = at
        return super().lease(at, length)

    def wait_for(self, reason: str, at: datetime, **inputs: str | int | None) -> None:
        """Record once why a due callback is not dialled yet."""
        if self.reason != reason:
            self.reason, self.updated_at = reason, at
            self.decide("waits", at, reason=reason, **inputs)

    def fence(self, at: datetime, until: datetime, number_digest: str, history_cursor: int | None) -> Attempt:
        """Leave the queue and add the attempt that is about to dial; the caller commits before it dials."""
        self._go(State.DIALLING, at)
        self.leased_until = until
        return self._new_attempt(at, number_digest, history_cursor)

    def _new_attempt(self, at: datetime, number_digest: str, history_cursor: int | None) -> Attempt:
        attempt = Attempt(
            portal_id=self.portal_id,
            number=len(self.attempts) + 1,
            line_id=self.line_id,
            to_number=self.to_number,
            number_digest=number_digest,
            history_cursor=history_cursor,
            started_at=at,
        )
        self.attempts.append(attempt)
        return attempt

    def start(self, attempt: Attempt, call_id: str, at: datetime) -> None:
        """Record that the portal accepted the attempt and named its call."""
        attempt.start(call_id, at)
        self._go(State.STARTED, at)

    def hand_over(self, attempt: Attempt, at: datetime) -> None:
        """Record that the line belongs to another telephony app, which was given the request."""
        attempt.hand_over(at)
        self._go(State.COMPLETED, at, "handed_over")

    def refuse(self, attempt: Attempt, at: datetime, reason: str, words: str | None) -> None:
        """End the callback, because the portal refused the attempt for good."""
        attempt.refuse(at, reason, words)
        self._go(State.FAILED, at, reason, words)

    def put_back(self, attempt: Attempt, at: datetime, due_at: datetime, reason: str) -> None:
        """Wait for another attempt, because this one is proven not to have been executed."""
        attempt.not_executed(at, reason)
        self.due_at = due_at
        self._go(State.SCHEDULED if due_at > at else State.QUEUED, at, f"retry_{reason}")

    def mark_unknown(self, attempt: Attempt, at: datetime, reason: str) -> None:
        """Record that nobody knows whether the attempt was executed; no other starts by itself."""
        attempt.mark_unknown()
        self._go(State.UNKNOWN, at, reason)

    def answer(self, attempt: Attempt, user_id: int | None, at: datetime) -> None:
        """Record the portal's report that somebody picked up."""
        attempt.answer(user_id, at)
        self._go(State.ANSWERED, at)

    def complete(self, at: datetime, reason: str | None = None) -> None:
        """End the callback as completed: the customer was reached, or a person says so."""
        self._go(State.COMPLETED, at, reason)

    def miss(self, at: datetime, reason: str, words: str | None = None) -> None:
        """End the callback as missed: the call ended without reaching the customer."""
        self._go(State.MISSED, at, reason, words)

    def fail(self, at: datetime, reason: str, words: str | None = None) -> None:
        """End the callback, because it cannot be dialled; nothing was sent to the portal."""
        self._go(State.FAILED, at, reason, words)

    def cancel(self, at: datetime, reason: str | None = None) -> None:
        """Withdraw the request before it is dialled."""
        self._go(State.CANCELLED, at, reason)

    def postpone(self, at: datetime, due_at: datetime, expires_at: datetime, reason: str) -> None:
        """Wait for a later moment: the working hours, or another attempt after one that reached nobody."""
        self.due_at, self.expires_at = due_at, expires_at
        self._go(State.SCHEDULED, at, reason)

    def ask_person(self, at: datetime) -> None:
        """Record since when only a person can decide about the unknown outcome."""
        self.asks_since = self.asks_since or at
        self.updated_at = at

    def free_number(self, at: datetime) -> None:
        """Give the number back, because no call of this callback can be under way any more."""
        self.holds_number, self.updated_at = False, at

    def expire(self, at: datetime) -> None:
        """End the callback, because it could not be dialled in time."""
        self._go(State.EXPIRED, at, "due_too_late")

    def dial_again(self, at: datetime, expires_at: datetime) -> None:
        """Queue a callback of unknown outcome again, because a person or its form's rule decided so."""
        self._go(State.QUEUED, at)
        self.due_at, self.expires_at = at, expires_at

    def reschedule(self, at: datetime, scheduled_at: datetime, expires_at: datetime) -> None:
        """Move a waiting callback to another time."""
        self.scheduled_at = self.due_at = scheduled_at
        self.expires_at = expires_at
        self._go(State.SCHEDULED, at)

    def restore(self, since: datetime, at: datetime, number_digest: str, history_cursor: int | None) -> None:
        """Record that an older state of the database came back, in which this was not over.

        Since the backup (``since``) it may have been dialled, withdrawn or moved, and no state says so: nothing is
        dialled by itself. One that waited gets the attempt that may have been made, for the call history to tell.
        """
        if self.state in FINAL:
            raise IllegalTransition(self.id, self.state, State.UNKNOWN)
        is_waiting = self.state in WAITING
        lost = self._new_attempt(since, number_digest, history_cursor) if is_waiting else self.attempts[-1]
        if lost.outcome in (None, Outcome.DIALLING):
            lost.mark_unknown()
        self._enter(State.UNKNOWN, at, RESTORED)

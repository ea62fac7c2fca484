"""Where a callback stands: its states, and the changes between them that are allowed."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    TextClause,
    text,
)


class State(StrEnum):
    """Where a callback stands (docs/calls.md)."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    DIALLING = "dialling"
    STARTED = "started"
    ANSWERED = "answered"
    UNKNOWN = "unknown"
    COMPLETED = "completed"
    MISSED = "missed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class CallbackOutcome(StrEnum):
    """What a request has come to, as the reports count it (services/reports/tally.py)."""

    REACHED = "reached"
    NOBODY_ANSWERED = "nobody_answered"
    CUSTOMER_NOT_REACHED = "customer_not_reached"
    NOT_TOLD = "not_told"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDER_WAY = "under_way"


class Source(StrEnum):
    """Who asked for the callback."""

    STAFF = "staff"
    WEBSITE = "website"
    API = "api"
    ROBOT = "robot"


# In these states a callback has its number in hand: no other callback of the portal may have the same number then.
IN_HAND = frozenset({State.QUEUED, State.DIALLING, State.STARTED, State.ANSWERED, State.UNKNOWN})


WAITING = frozenset({State.SCHEDULED, State.QUEUED})


# The portal has, or may have, a call of it under way.
OPEN = frozenset({State.DIALLING, State.STARTED, State.ANSWERED, State.UNKNOWN})


FINAL = frozenset({State.COMPLETED, State.MISSED, State.FAILED, State.CANCELLED, State.EXPIRED})


RETRIABLE = frozenset({State.MISSED, State.FAILED, State.EXPIRED})


_ENDS = frozenset({State.COMPLETED, State.MISSED})


# States to which a late call report may still move a callback that is UNKNOWN, was sent back to the queue by a person,
# or FAILED with a refusal we do not list.
_EVIDENCE = _ENDS | {State.STARTED, State.ANSWERED}


TRANSITIONS: dict[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.SCHEDULED, State.QUEUED, State.CANCELLED, State.EXPIRED, State.FAILED}),
    State.QUEUED: frozenset({State.SCHEDULED, State.DIALLING, State.CANCELLED, State.EXPIRED, State.FAILED})
    | _EVIDENCE,
    State.DIALLING: frozenset(
        {
            State.SCHEDULED,
            State.QUEUED,
            State.STARTED,
            State.COMPLETED,
            State.FAILED,
            State.UNKNOWN,
        }
    ),
    State.STARTED: frozenset({State.ANSWERED, State.SCHEDULED}) | _ENDS,
    State.ANSWERED: frozenset({State.SCHEDULED}) | _ENDS,
    State.UNKNOWN: frozenset({State.QUEUED, State.SCHEDULED}) | _EVIDENCE,
    State.FAILED: _EVIDENCE,
    State.COMPLETED: frozenset(),
    State.MISSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.EXPIRED: frozenset(),
}


# The reason of what was not over when the database was restored: since the backup it may have been dialled.
RESTORED = "restored"


WAITING_SQL = text(f"state IN ({', '.join(repr(state.value) for state in sorted(WAITING))})")


def _is_one_of(states: frozenset[State]) -> TextClause:
    return text(f"callback.state IN ({', '.join(repr(state.value) for state in sorted(states))})")


# Written out as text, so that the database can use the partial indexes over these states.
IS_WAITING = _is_one_of(WAITING)


IS_OPEN = _is_one_of(OPEN)


# It was planned for later, or put off.
PUT_OFF_SQL = text("due_at > created_at")
# The callback has changed since the reports counted it.
UNCOUNTED_SQL = text("counted_version <> version")


IS_UNCOUNTED = text("callback.counted_version <> callback.version")


def first_id(moment: datetime) -> UUID:
    """Return the smallest id that a callback created at ``moment`` can have: UUIDs of version 7 begin with the time."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


class IllegalTransition(Exception):
    """The callback may not go from its state to the other one."""

    def __init__(self, callback_id: UUID, old: str, new: str) -> None:
        super().__init__(f"callback {callback_id}: {old} -> {new} is not allowed")
        self.old = old

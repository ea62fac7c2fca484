"""What a decoy shows as time goes by: the steps of a callback that is dialled, though nobody is called.

A decoy waits in the queue until a callback in its place would be dialled (services/dialling/queue.py). The steps from
then on follow from a keyed digest of its id and from the policy of its form. So every look shows the same, and nobody
without the key can tell them from those of a callback.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from bx24app.models import Callback, DecoyRequest, State
from bx24app.services.callbacks.retry_policy import RetryPolicy
from bx24app.services.security import digests

# A callback that ended for one of these reasons tells something about its number, so it looks as if it was dialled.
TELLING_REASONS = frozenset({"do_not_call", "already_served"})
# Each dial draws so many parts of its digest, of eight digits each.
_DIGITS, _PARTS = 8, 2**32
# How long each step takes, in seconds: from the release to the dial, or from the due time where no release is stored.
# Then the portal's answer, a colleague's phone, the customer's phone with the talk, and a phone that nobody picks up.
_RELEASED, _PICKED_UP, _STARTING, _RINGING, _TALKING, _UNANSWERED = (
    (0.01, 0.04),
    (0.05, 0.6),
    (0.6, 2.5),
    (3.0, 20.0),
    (25.0, 400.0),
    (30.0, 60.0),
)
# The parts of calls that reach no colleague, and of the others those that reach no customer.
_NO_COLLEAGUE, _NO_CUSTOMER = 0.1, 0.2


@dataclass(frozen=True)
class ShownStep:
    """What a visitor is shown from ``begins_at`` on: a state, and the time at which the call is due."""

    begins_at: datetime
    state: State
    due_at: datetime


def shown_step(request: Callback | DecoyRequest, policy: RetryPolicy, now: datetime) -> ShownStep:
    """Return what a visitor is shown at ``now`` of a callback or a decoy.

    Call it outside of transactions, unless a digest was made before.
    """
    first, *steps = _way(request, policy)
    return next((step for step in reversed(steps) if step.begins_at <= now), first)


def first_dial(request: Callback | DecoyRequest, policy: RetryPolicy) -> datetime | None:
    """Return when a request that nobody dials looks dialled for the first time; call it likewise."""
    return next((step.begins_at for step in _way(request, policy) if step.state == State.DIALLING), None)


def dials_shown(request: DecoyRequest, policy: RetryPolicy, now: datetime) -> int:
    """Count how often a decoy has looked dialled until ``now``; call it likewise."""
    steps = _way(request, policy)
    return request.tried + sum(step.state == State.DIALLING and step.begins_at <= now for step in steps)


def _way(request: Callback | DecoyRequest, policy: RetryPolicy) -> Iterator[ShownStep]:
    """Make what is shown of a request from its beginning on."""
    if isinstance(request, Callback):
        if request.ended_at is None or request.reason not in TELLING_REASONS:
            yield ShownStep(request.updated_at, State(request.state), request.due_at)
            return
        yield ShownStep(request.ended_at, State.QUEUED, request.due_at)
        once = replace(policy, retries=0, hours=None)
        yield from _dials(request.id, request.due_at, once, released_at=request.ended_at)
    elif request.cancelled_at is not None:
        yield ShownStep(request.cancelled_at, State.CANCELLED, request.due_at)
    else:
        # Like a callback: planned when it was, or was moved to be, due later than it was made.
        first = State.SCHEDULED if request.due_at > request.created_at else State.QUEUED
        yield ShownStep(request.created_at, first, request.due_at)
        if request.line_id is None:
            yield from _dials(request.id, request.due_at, policy, request.tried)
        elif request.released_at is None:
            return
        elif request.ended_as is not None:
            yield ShownStep(request.released_at, State(request.ended_as), request.due_at)
        else:
            yield from _dials(request.id, request.due_at, policy, request.tried, released_at=request.released_at)


@dataclass(frozen=True)
class _Luck:
    """What chance decides about one dial: parts of a digest, each between 0 and 1."""

    digest: str

    def part(self, place: int) -> float:
        return int(self.digest[place * _DIGITS : (place + 1) * _DIGITS], 16) / _PARTS

    def seconds(self, place: int, between: tuple[float, float]) -> timedelta:
        """Draw a time; short ones are likelier."""
        least, most = between
        return timedelta(seconds=least + (most - least) * self.part(place) ** 2)


@dataclass(frozen=True)
class _Dial:
    """One dial: its steps, and when a call that reached nobody has ended (None: it reached the customer)."""

    steps: tuple[ShownStep, ...]
    missed_at: datetime | None = None


def _dials(
    id: UUID, due_at: datetime, policy: RetryPolicy, tried: int = 0, *, released_at: datetime | None = None
) -> Iterator[ShownStep]:
    """Make the steps of every dial behind those that were tried before; the first begins once it is released.

    Where no release is stored it begins when it is due.
    """
    first = min(tried, policy.retries)
    for number in range(first, policy.retries + 1):
        luck = _Luck(digests.digest("decoy", f"{id} {number}"))
        if number == first and released_at is not None:
            at = released_at + luck.seconds(0, _RELEASED)
        else:
            at = due_at + luck.seconds(0, _PICKED_UP)
        if policy.hours is not None and not policy.hours.is_open(at):
            opens_at = policy.hours.next_open(at)
            if opens_at is None:
                yield ShownStep(at, State.FAILED, due_at)
                return
            yield ShownStep(at, State.SCHEDULED, opens_at)
            due_at, at = opens_at, opens_at + luck.seconds(0, _PICKED_UP)
        dial = _dial(luck, at, due_at)
        yield from dial.steps
        if dial.missed_at is None:
            return
        if number == policy.retries:
            yield ShownStep(dial.missed_at, State.MISSED, due_at)
            return
        due_at = dial.missed_at + policy.retry_after
        yield ShownStep(dial.missed_at, State.SCHEDULED, due_at)


def _dial(luck: _Luck, at: datetime, due_at: datetime) -> _Dial:
    started_at = at + luck.seconds(1, _STARTING)
    begun = (ShownStep(at, State.DIALLING, due_at), ShownStep(started_at, State.STARTED, due_at))
    if luck.part(2) < _NO_COLLEAGUE:
        return _Dial(begun, started_at + luck.seconds(3, _UNANSWERED))
    answered_at = started_at + luck.seconds(3, _RINGING)
    answered = (*begun, ShownStep(answered_at, State.ANSWERED, due_at))
    if luck.part(4) < _NO_CUSTOMER:
        return _Dial(answered, answered_at + luck.seconds(5, _UNANSWERED))
    return _Dial((*answered, ShownStep(answered_at + luck.seconds(5, _TALKING), State.COMPLETED, due_at)))

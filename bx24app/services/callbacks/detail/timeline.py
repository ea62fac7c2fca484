"""What happened to a callback: its attempts and its decisions as one story, the oldest first.

An attempt tells by itself when it was asked for, picked up and over, so decisions that say the same are left out.
Within one second a cause stands before its effect.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from bx24app.models import Attempt, Callback, Decision, Outcome
from bx24app.services.callbacks.retry_policy import code_reason

# Many moves, or a portal that refuses for a day: then the oldest ones are left out.
MOST_SHOWN = 200
# What became of the request to dial.
ANSWERS = frozenset({"dialled_started", "dialled_refused", "dialled_not_executed", "dialled_unknown"})
_OVER = frozenset({Outcome.COMPLETED, Outcome.MISSED})


class Phase(IntEnum):
    """The order of what stands in the same second of one attempt."""

    ASKED = 0
    ANSWER = 1
    PICKED_UP = 2
    ENDED = 3
    DECIDED = 4
    # Whoever decides about a colleague's callback takes it over by that.
    TAKEN_OVER = 5


@dataclass(frozen=True)
class Moment:
    """One line of the story: a ``rule`` of a decision, or ``called``, ``picked_up`` or ``ended`` of an attempt.

    ``attempt`` is the one that it is about, None before the first.
    """

    at: datetime
    rule: str
    phase: Phase
    attempt: Attempt | None
    inputs: Mapping[str, str]
    # The order in which it was recorded.
    place: int = 0

    @property
    def _order(self) -> tuple[datetime, int, Phase, int]:
        number = self.attempt.number if self.attempt else 0
        return self.at.replace(microsecond=0), number, self.phase, self.place


@dataclass(frozen=True)
class Chapter:
    """What happened from the beginning of an attempt on, until the next one begins; None: before the first."""

    attempt: Attempt | None
    moments: list[Moment]


@dataclass(frozen=True)
class Timeline:
    """The whole story; ``left_out`` lines at its beginning are too many to show."""

    chapters: list[Chapter]
    left_out: int = 0

    @property
    def moments(self) -> list[Moment]:
        """All lines in order."""
        return [moment for chapter in self.chapters for moment in chapter.moments]


def timeline_of(callback: Callback) -> Timeline:
    """Tell the story of a callback that was read with its attempts and decisions."""
    moments = sorted([*_told_by_attempts(callback), *_told_by_decisions(callback)], key=lambda moment: moment._order)
    left_out = max(len(moments) - MOST_SHOWN, 0)
    chapters: list[Chapter] = []
    for moment in moments[left_out:]:
        if moment.rule == "called" or not chapters:
            chapters.append(Chapter(moment.attempt, []))
        chapters[-1].moments.append(moment)
    return Timeline(chapters, left_out)


def _told_by_attempts(callback: Callback) -> Iterator[Moment]:
    for attempt in callback.attempts:
        yield Moment(attempt.started_at, "called", Phase.ASKED, attempt, {})
        if attempt.answered_at is not None:
            yield Moment(attempt.answered_at, "picked_up", Phase.PICKED_UP, attempt, {})
        if attempt.ended_at is not None and _has_end(attempt):
            reason = {} if attempt.outcome == Outcome.COMPLETED else {"reason": code_reason(attempt.failed_code)}
            yield Moment(attempt.ended_at, "ended", Phase.ENDED, attempt, reason)


def _has_end(attempt: Attempt) -> bool:
    """Tell whether its end was reported; one that was given up without a report has no code."""
    return attempt.outcome == Outcome.COMPLETED or (attempt.outcome in _OVER and attempt.failed_code is not None)


def _told_by_decisions(callback: Callback) -> Iterator[Moment]:
    by_number = {attempt.number: attempt for attempt in callback.attempts}
    present: Attempt | None = None
    is_repeat = any(decision.rule == "retried" for decision in callback.decisions)
    for place, decision in enumerate(callback.why):
        attempt = by_number.get(_number_in(decision), present)
        if decision.rule == "fenced":
            present = attempt
        # Who asks again for an earlier one has asked for this one by that.
        if not (_is_told_by(attempt, decision) or (is_repeat and decision.rule == "requested")):
            yield Moment(decision.made_at, decision.rule, _phase_of(decision), attempt, decision.inputs, place)


def _number_in(decision: Decision) -> int:
    number = decision.inputs.get("attempt", "")
    return int(number) if number.isdecimal() else 0


def _is_told_by(attempt: Attempt | None, decision: Decision) -> bool:
    """Tell whether the attempt itself says what a decision says."""
    if attempt is None:
        return False
    if decision.rule == "event_applied":
        event = decision.inputs.get("event")
        return (event == "HISTORY" and _has_end(attempt)) or (
            event == "ONVOXIMPLANTCALLSTART" and attempt.answered_at is not None
        )
    return decision.rule == "fenced"


def _phase_of(decision: Decision) -> Phase:
    if decision.rule in ("requested", "retried"):
        return Phase.ASKED
    if decision.rule in ANSWERS:
        return Phase.ANSWER
    if decision.rule == "event_applied":
        return Phase.PICKED_UP if decision.inputs.get("event") == "ONVOXIMPLANTCALLSTART" else Phase.ENDED
    return Phase.TAKEN_OVER if decision.rule == "taken_over" else Phase.DECIDED

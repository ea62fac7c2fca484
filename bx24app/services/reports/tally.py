"""What one callback counts for in the reports: the only place that knows what "reached" or "not called" means.

Which of the two phones did not answer, Bitrix24 does not document; these are the rules (docs/architecture.md):

reached               code 200, or a person said so
nobody answered       304, and no pick-up was reported
customer not reached  480, 484, 486, 404, 503, 603, or 304 after a pick-up
not told              anything else that was, or may have been, called
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bx24app.models import FINAL, CallbackOutcome, Outcome, State

CUSTOMER_CODES = frozenset({"480", "484", "486", "404", "503", "603"})
NOBODY_CODE = "304"
TEN_THOUSANDTHS = 10_000
# Waits are kept to a step: to five seconds below a minute, to half an hour within a working day. A median of waits that
# were rounded down to these steps is the median rounded down, so nothing is lost by adding up days.
WAIT_STEPS = (
    *range(0, 60, 5),
    *range(60, 300, 15),
    *range(300, 900, 60),
    *range(900, 3600, 300),
    *range(3600, 6 * 3600, 1800),
    *range(6 * 3600, 24 * 3600, 3 * 3600),
    24 * 3600,
)
WAIT_BUCKETS = (60, 300, 900, 3600)
_ENDS_UNCALLED = {
    State.EXPIRED: CallbackOutcome.EXPIRED,
    State.FAILED: CallbackOutcome.FAILED,
    State.CANCELLED: CallbackOutcome.CANCELLED,
}
_IS_PICKED_UP = frozenset({CallbackOutcome.REACHED, CallbackOutcome.CUSTOMER_NOT_REACHED})
# Nothing was executed by an attempt with these outcomes.
_NOTHING_EXECUTED = frozenset({Outcome.DIALLING, Outcome.REFUSED, Outcome.NOT_EXECUTED})


class Kind(StrEnum):
    """What the callbacks of a row have in common."""

    ALL = "all"
    SOURCE = "source"
    FORM = "form"
    LINE = "line"
    PERSON = "person"
    # Source, form and line at once, for figures that are asked for by more than one of them.
    COMBINATION = "combination"


@dataclass(frozen=True)
class CountedAttempt:
    """What the reports read of an attempt."""

    outcome: str
    failed_code: str | None
    answered_by: int | None
    answered_at: datetime | None
    duration_seconds: int | None
    cost: Decimal | None
    currency: str | None

    @property
    def is_called(self) -> bool:
        """Tell whether the portal called, or may have."""
        return self.outcome not in _NOTHING_EXECUTED


@dataclass(frozen=True)
class CountedCallback:
    """What the reports read of a callback."""

    state: str
    reason: str | None
    source: str
    form_id: int | None
    line_id: str
    requested_by: int | None
    # When it was requested, and the moment that was promised for it.
    created_at: datetime
    scheduled_at: datetime | None
    attempts: Sequence[CountedAttempt] = ()


@dataclass(frozen=True)
class CountedAs:
    """What one callback counts as; ``wait`` is in whole seconds, None where nobody's pick-up is told.

    ``person`` is whoever answered its last answered call, else whoever asked for it.
    """

    outcome: CallbackOutcome
    is_called: bool
    is_picked_up: bool
    wait: int | None
    person: int | None


@dataclass
class Tally:
    """Counts of some callbacks, named like the columns of ``ReportFigure``."""

    requests: int = 0
    reached: int = 0
    nobody_answered: int = 0
    customer_not_reached: int = 0
    not_told: int = 0
    expired: int = 0
    failed: int = 0
    cancelled: int = 0
    under_way: int = 0
    called: int = 0
    picked_up: int = 0
    untimed: int = 0
    talk_seconds: int = 0
    calls: int = 0
    calls_without_cost: int = 0
    waits: dict[str, int] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)

    @property
    def not_called(self) -> int:
        """Requests that ended without a call."""
        return self.expired + self.failed + self.cancelled

    @property
    def waited(self) -> int:
        """How many waits are known."""
        return sum(self.waits.values())

    def wait(self, percent: int) -> int | None:
        """The wait in seconds that ``percent`` of all did not exceed (nearest rank); None where nobody's is known."""
        wanted, seen = -(-self.waited * percent // 100), 0
        for step, count in sorted((int(step), count) for step, count in self.waits.items()):
            seen += count
            if seen >= wanted:
                return step
        return None

    def waits_by_bucket(self) -> list[tuple[int | None, int]]:
        """How many waited less than each bound of ``WAIT_BUCKETS`` in seconds; the last has no bound."""
        counts = [0] * (len(WAIT_BUCKETS) + 1)
        for step, count in self.waits.items():
            counts[bisect_right(WAIT_BUCKETS, int(step))] += count
        return list(zip((*WAIT_BUCKETS, None), counts, strict=True))

    def add(self, other: "Tally") -> None:
        """Add the counts of other callbacks; currencies and steps each for itself."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in SPREADS:
            self.add_spread(name, getattr(other, name))

    def add_spread(self, name: str, counts: Mapping[str, int]) -> None:
        """Add the waits or costs of other callbacks alone."""
        mine: dict[str, int] = getattr(self, name)
        for key, count in counts.items():
            mine[key] = mine.get(key, 0) + count


SPREADS = ("waits", "costs")
COUNTS = tuple(one.name for one in fields(Tally) if one.name not in SPREADS)


def counted_as(callback: CountedCallback) -> CountedAs:
    """Tell what one callback counts as."""
    called = [attempt for attempt in callback.attempts if attempt.is_called]
    outcome = _outcome(callback, called)
    picked_up_at = min((one.answered_at for one in called if one.answered_at is not None), default=None)
    wait = None
    if picked_up_at is not None:
        wait = max(0, int((picked_up_at - _promised(callback)).total_seconds()))
    is_picked_up = picked_up_at is not None or outcome in _IS_PICKED_UP
    return CountedAs(outcome, bool(called), is_picked_up, wait, _person(callback))


def tally_of(callback: CountedCallback) -> Tally:
    """Count one callback."""
    counted = counted_as(callback)
    called = [attempt for attempt in callback.attempts if attempt.is_called]
    tally = Tally(requests=1, called=int(counted.is_called), picked_up=int(counted.is_picked_up), calls=len(called))
    setattr(tally, counted.outcome, 1)
    if counted.wait is not None:
        tally.waits = {wait_step(counted.wait): 1}
    tally.untimed = tally.picked_up - len(tally.waits)
    tally.talk_seconds = sum(one.duration_seconds or 0 for one in called if one.outcome == Outcome.COMPLETED)
    for one in called:
        if one.cost is None or not one.currency:
            tally.calls_without_cost += 1
        else:
            tally.costs[one.currency] = tally.costs.get(one.currency, 0) + int(one.cost * TEN_THOUSANDTHS)
    return tally


def _outcome(callback: CountedCallback, called: Sequence[CountedAttempt]) -> CallbackOutcome:
    """Tell how it ended."""
    state = State(callback.state)
    if state == State.COMPLETED:
        return CallbackOutcome.NOT_TOLD if callback.reason == "handed_over" else CallbackOutcome.REACHED
    if state not in FINAL:
        return CallbackOutcome.NOT_TOLD if state == State.UNKNOWN else CallbackOutcome.UNDER_WAY
    if not called and state in _ENDS_UNCALLED:
        return _ENDS_UNCALLED[state]
    is_told = called and callback.reason != "resolved_not_reached"
    return _missed(called[-1]) if is_told else CallbackOutcome.NOT_TOLD


def _missed(last: CountedAttempt) -> CallbackOutcome:
    """Tell how a callback ended whose last call reached nobody."""
    if last.failed_code in CUSTOMER_CODES:
        return CallbackOutcome.CUSTOMER_NOT_REACHED
    if last.failed_code == NOBODY_CODE:
        is_answered = last.answered_at is not None
        return CallbackOutcome.CUSTOMER_NOT_REACHED if is_answered else CallbackOutcome.NOBODY_ANSWERED
    return CallbackOutcome.NOT_TOLD


def _promised(callback: CountedCallback) -> datetime:
    """From when the customer waits: the request, or the promised moment where that is later."""
    return max(callback.created_at, callback.scheduled_at or callback.created_at)


def wait_step(seconds: float) -> str:
    """Round a wait down to a step of ``WAIT_STEPS``; who is called before the promised moment waits for 0 seconds."""
    return str(WAIT_STEPS[max(0, bisect_right(WAIT_STEPS, seconds) - 1)])


def kinds_of(callback: CountedCallback) -> Iterator[tuple[Kind, str]]:
    """List the rows that a callback counts in."""
    yield Kind.ALL, ""
    yield Kind.SOURCE, callback.source
    yield Kind.LINE, callback.line_id
    if callback.form_id is not None:
        yield Kind.FORM, str(callback.form_id)
    yield Kind.COMBINATION, combination_key(callback)
    person = _person(callback)
    if person is not None:
        yield Kind.PERSON, str(person)


def combination_key(callback: CountedCallback) -> str:
    """The source, the form and the line of a callback in one key; the line stands last, for it may contain anything."""
    return f"{callback.source}:{callback.form_id or ''}:{callback.line_id}"


def parts_of_combination(key: str) -> dict[Kind, str]:
    """The parts of such a key, by their kind; a form that there is not is empty."""
    return dict(zip((Kind.SOURCE, Kind.FORM, Kind.LINE), key.split(":", 2), strict=True))


def _person(callback: CountedCallback) -> int | None:
    """Whoever answered its last answered call, else whoever asked for it."""
    answered = [attempt.answered_by for attempt in callback.attempts if attempt.answered_by is not None]
    return answered[-1] if answered else callback.requested_by


def tallies_of(callbacks: Iterable[CountedCallback]) -> dict[tuple[Kind, str], Tally]:
    """Count callbacks together, for each row that they count in."""
    found: dict[tuple[Kind, str], Tally] = {}
    for callback in callbacks:
        tally = tally_of(callback)
        for row in kinds_of(callback):
            found.setdefault(row, Tally()).add(tally)
    return found

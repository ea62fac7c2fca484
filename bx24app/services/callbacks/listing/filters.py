"""What a list is asked for: one typed filter, whose callbacks somebody may see, and the order."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from bx24app.errors import ListRefused
from bx24app.models import CallbackOutcome, Source, State, first_id
from bx24app.services.calling import numbering_plans, phone_numbers
from bx24app.services.calling.name_words import words_of

MIN_DIGITS = 3
MAX_SEARCHED_DIGITS = 20
MIN_LETTERS = 2
IN_PROGRESS = (State.QUEUED, State.DIALLING, State.STARTED, State.ANSWERED)
ATTENTION_LASTS = timedelta(days=7)
ATTENTION_SOURCES = (Source.WEBSITE, Source.API, Source.ROBOT)
PLANNED = (State.SCHEDULED, State.QUEUED)


class Quick(StrEnum):
    """The filters of one press."""

    ATTENTION = "attention"
    TODAY = "today"
    IN_PROGRESS = "in_progress"
    SCHEDULED = "scheduled"
    NOT_CALLED_BACK = "not_called_back"
    MINE = "mine"
    ALL = "all"


class Order(StrEnum):
    """By the time of the request, or of planned ones by the time of their call."""

    NEWEST = "newest"
    OLDEST = "oldest"
    DUE = "due"


# Who waits longest comes first, and what happens next.
FIRST_ORDERS = {Quick.ATTENTION: Order.OLDEST, Quick.NOT_CALLED_BACK: Order.OLDEST, Quick.SCHEDULED: Order.DUE}


@dataclass(frozen=True)
class Scope:
    """Whose callbacks somebody may list: the portal's, those of one form, or those they asked for or answered.

    ``user_id`` is who asks, for the filter "mine"; None for a program.
    """

    portal_id: int
    form_id: int | None = None
    user_id: int | None = None
    only_own: bool = False

    @property
    def asker(self) -> int:
        """Who asks; 0, which nobody is, for a program."""
        return 0 if self.user_id is None else self.user_id


@dataclass(frozen=True)
class Day:
    """A day from midnight to midnight (UTC)."""

    begins: datetime
    ends: datetime

    @property
    def first(self) -> UUID:
        """The first id that can be given on it."""
        return first_id(self.begins)


@dataclass(frozen=True)
class NumberSearch:
    """Beginnings of E.164 numbers, and the reversed last digits, either of which is looked for; the last may be ""."""

    beginnings: tuple[str, ...]
    reversed_end: str = ""


@dataclass(frozen=True)
class ListFilter:
    """What to list; everything that is set must hold. ``form_id`` 0 is a form that the portal does not have.

    ``quick`` NOT_CALLED_BACK and ATTENTION mean callbacks whose number nobody has asked for again since.
    """

    states: tuple[State, ...] = ()
    source: Source | None = None
    form_id: int | None = None
    line_id: str | None = None
    requested_by: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    number: NumberSearch | None = None
    words: tuple[str, ...] = ()
    quick: Quick = Quick.ALL
    several_attempts: bool = False
    # What the reports have counted a callback as; the wait is in seconds, ``wait_below`` not included.
    outcomes: tuple[CallbackOutcome, ...] = ()
    called: bool | None = None
    picked_up: bool | None = None
    wait_from: int | None = None
    wait_below: int | None = None
    person: int | None = None
    # The times of which one has to be that of the request, in order and at least some minutes apart.
    hours: tuple[tuple[datetime, datetime], ...] | None = None
    # In the company's zone, for the filter "today".
    today: Day | None = None

    @property
    def wanted_states(self) -> tuple[State, ...]:
        """The states that may be there, in a fixed order; all of them mean no restriction, none that nothing fits."""
        quick = {Quick.IN_PROGRESS: IN_PROGRESS, Quick.SCHEDULED: (State.SCHEDULED,)}.get(self.quick, tuple(State))
        return tuple(state for state in quick if not self.states or state in self.states)


def order_of(wanted: ListFilter, order: Order | None) -> Order:
    """Return the order to list in; raises ``ListRefused`` where the time of a call says nothing."""
    chosen = order or FIRST_ORDERS.get(wanted.quick, Order.NEWEST)
    if chosen is Order.DUE and not set(wanted.wanted_states) <= set(PLANNED):
        raise ListRefused("order", "order_needs_planned")
    return chosen


def read_search(text: str, country: str | None) -> dict[str, NumberSearch | tuple[str, ...]]:
    """Read what somebody looks for: the fields of a ``ListFilter``; ``country`` is that of national numbers.

    Raises ``ListRefused`` for less than three digits, or than two letters of a name.
    """
    if any(char.isalpha() for char in text):
        words = words_of(text)
        if max(map(len, words), default=0) < MIN_LETTERS:
            raise ListRefused("q", "search_too_short")
        return {"words": tuple(words)}
    digits = phone_numbers.digits(text)
    if not MIN_DIGITS <= len(digits) <= MAX_SEARCHED_DIGITS:
        raise ListRefused("q", "search_too_short" if len(digits) < MIN_DIGITS else "search_too_long")
    if text.strip().startswith(("+", "＋")):
        return {"number": NumberSearch(("+" + digits,))}
    national = numbering_plans.international_beginning(digits, country)
    abroad = digits.removeprefix("00")
    beginnings = dict.fromkeys("+" + one for one in (abroad, national) if one)
    return {"number": NumberSearch(tuple(beginnings), digits[::-1])}

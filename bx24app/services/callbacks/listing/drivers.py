"""Where a list begins: the ways into the callbacks that an index opens, each for a part of a filter.

A driver selects ids of callbacks. ``is_ordered``: its indexes give them in the order of the list, so that reading may
stop at any row; the ids of any other driver have to be sorted, and it is used only while they are few. ``covers`` names
the parts of the filter that a driver fulfils; the others are looked up callback by callback (``matching.py``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, bindparam, func, select, union, union_all
from sqlalchemy.orm import InstrumentedAttribute

from bx24app.models import Attempt, Callback, CallbackWord, State, first_id, utcnow
from bx24app.models.callbacks.attempt import SECOND_SQL
from bx24app.models.callbacks.callback_word import STEM
from bx24app.models.callbacks.state import PUT_OFF_SQL, WAITING_SQL
from bx24app.services.callbacks.listing.filters import ATTENTION_LASTS, Day, ListFilter, NumberSearch, Quick, Scope

Ids = Select[UUID] | CompoundSelect[UUID]
# A callback gets its id within this time after the moment that counts as that of its request.
ID_DELAY = timedelta(minutes=1)
# So many callbacks of a driver are read for a page, or counted (``pages.py``), at the very most.
MOST_READ = 1001
# The first id that failing within ``ATTENTION_LASTS`` can have, at the time of the statement's run.
RECENT = bindparam("recent", callable_=lambda: first_id(utcnow() - ATTENTION_LASTS), type_=Callback.id.type)
_LAST_LETTER = "\U0010ffff"


@dataclass(frozen=True)
class Driver:
    """One way in; ``ids`` selects a column ``id``."""

    branches: tuple[Select[UUID], ...]
    covers: frozenset[str]
    is_ordered: bool = True
    # They come from the table of callbacks, so that more of them can be read at once.
    of_callbacks: bool = True
    # Of one without an order: what has to be read of its index, also when the list is of another time.
    whole: tuple[Select[UUID], ...] = ()

    @property
    def ids(self) -> Ids:
        """All of them. The branches of one in order share no row, so nothing has to be remembered to merge them."""
        if len(self.branches) == 1:
            return self.branches[0]
        return union_all(*self.branches) if self.is_ordered else union(*self.branches)


@dataclass(frozen=True)
class Span:
    """The ids between which a list lies: from ``first`` on, and before ``end``."""

    first: UUID | None = None
    end: UUID | None = None

    @classmethod
    def of(cls, wanted: ListFilter) -> "Span":
        """That of the period."""
        return cls.around(wanted.since, wanted.until)

    @classmethod
    def around(cls, since: datetime | None, until: datetime | None) -> "Span":
        """That of some time, a little longer at its end, because ids are given later than the time that counts."""
        return cls(first_id(since) if since else None, first_id(until + ID_DELAY) if until else None)

    def within(self, id: ColumnElement[UUID] | InstrumentedAttribute[UUID]) -> Iterator[ColumnElement[bool]]:
        """The conditions for a column of ids."""
        if self.first is not None:
            yield id >= self.first
        if self.end is not None:
            yield id < self.end


def drivers_of(
    scope: Scope, wanted: ListFilter, span: Span, *, newest_first: bool, most: int = MOST_READ
) -> list[Driver]:
    """All ways in that a list has, of each of which ``most`` are read; the first is there for every filter."""
    made = _Ways(scope, wanted, span, newest_first, most)
    return [made.by_choice("all", None), *made.special()]


@dataclass(frozen=True)
class _Ways:
    scope: Scope
    wanted: ListFilter
    span: Span
    newest_first: bool
    most: int

    def special(self) -> Iterator[Driver]:
        """Those for what is set."""
        wanted = self.wanted
        for name, column, value in (
            ("source", Callback.source, wanted.source),
            ("line", Callback.line_id, wanted.line_id),
            ("person", Callback.requested_by, wanted.requested_by),
        ):
            if value is not None:
                yield self.by_choice(name, column == value)
        if self.form_id is not None:
            yield self.by_form(self.form_id)
        if wanted.quick is Quick.MINE or self.scope.only_own:
            yield self.by_person(self.scope.asker)
        yield from self.counted()
        if wanted.quick is Quick.TODAY and wanted.today:
            yield self.of_today(wanted.today)
        if wanted.quick in (Quick.ATTENTION, Quick.NOT_CALLED_BACK):
            yield self.to_follow_up()
        if wanted.several_attempts:
            branch = select(Attempt.callback_id.label("id")).where(
                Attempt.portal_id == self.scope.portal_id, SECOND_SQL
            )
            branches = (branch.where(*self.span.within(Attempt.callback_id)),)
            yield Driver(branches, frozenset({"several"}), of_callbacks=False)
        if wanted.number:
            yield self.by_number(wanted.number)
        if wanted.words:
            yield from self.by_word(max(wanted.words, key=len))

    def counted(self) -> Iterator[Driver]:
        """Those for what the reports have counted."""
        wanted = self.wanted
        if wanted.outcomes:
            outcomes = (self.own.where(Callback.counted_outcome == one) for one in wanted.outcomes)
            yield self._in_span("outcome", outcomes)
        if wanted.person is not None:
            # They asked for it or answered it; which of both counts is looked up.
            yield replace(self.by_person(wanted.person), covers=frozenset())
        if wanted.hours:
            yield self._in_span("", (self.own.where(*Span.around(*one).within(Callback.id)) for one in wanted.hours))

    def _in_span(self, covers: str, branches: Iterable[Select[UUID]]) -> Driver:
        return Driver(tuple(ids.where(*self.span.within(Callback.id)) for ids in branches), frozenset({covers}))

    @property
    def form_id(self) -> int | None:
        return self.wanted.form_id if self.scope.form_id is None else self.scope.form_id

    @property
    def own(self) -> Select[UUID]:
        return select(Callback.id).where(Callback.portal_id == self.scope.portal_id)

    def _by_state(self, ids: Select[UUID], states: Sequence[State]) -> tuple[Select[UUID], ...]:
        """One branch for each state, in which the index gives the ids in order."""
        ids = ids.where(*self.span.within(Callback.id))
        return tuple(ids.where(Callback.state == state) for state in states)

    def by_choice(self, name: str, condition: ColumnElement[bool] | None) -> Driver:
        states = self.wanted.wanted_states
        if condition is None and len(states) == len(State):
            return Driver((self.own.where(*self.span.within(Callback.id)),), frozenset({"states"}))
        ids = self.own if condition is None else self.own.where(condition)
        return Driver(self._by_state(ids, states), frozenset({"states", name}))

    def by_form(self, form_id: int) -> Driver:
        ids = select(Callback.id).where(Callback.form_id == form_id)
        states = self.wanted.wanted_states
        if len(states) == len(State):
            return Driver((ids.where(*self.span.within(Callback.id)),), frozenset({"states", "form"}))
        return Driver(self._by_state(ids, states), frozenset({"states", "form"}))

    def by_person(self, user_id: int) -> Driver:
        """What somebody asked for, and what they answered of the others."""
        asked = self._by_state(self.own.where(Callback.requested_by == user_id), self.wanted.wanted_states)
        theirs = (Attempt.portal_id == self.scope.portal_id, Attempt.answered_by == user_id)
        ids = select(Attempt.callback_id.label("id")).where(*theirs, *self.span.within(Attempt.callback_id)).distinct()
        order = Attempt.callback_id.desc() if self.newest_first else Attempt.callback_id
        # More than this are never read. Only a limit makes PostgreSQL follow the index instead of joining all of them.
        answered = ids.order_by(order).limit(self.most).subquery("answered")
        asked_too = select(Callback.id).where(Callback.id == answered.c.id, Callback.requested_by == user_id)
        branches = (*asked, select(answered.c.id).where(~asked_too.exists()))
        return Driver(branches, frozenset({"mine"}), of_callbacks=False)

    def of_today(self, today: Day) -> Driver:
        """What was asked for today, and of the earlier ones what is due today."""
        asked = self.own.where(*self.span.within(Callback.id), Callback.id >= today.first)
        is_due = (Callback.due_at >= today.begins, Callback.due_at < today.ends)
        # They are few, and put in order: SQLite would go through all callbacks, where an index gives it the order.
        own = select(func.coalesce(Callback.id, Callback.id).label("id")).where(
            Callback.portal_id == self.scope.portal_id
        )
        due = own.where(PUT_OFF_SQL, *is_due, Callback.id < today.first)
        return Driver((asked, due.where(*self.span.within(Callback.id))), frozenset({"today"}))

    def to_follow_up(self) -> Driver:
        """Those that wait for a person; whether their number was asked for since is looked up one by one."""
        flagged = self.own.where(Callback.needs_follow_up)
        states = self.wanted.wanted_states
        covers = frozenset({"states", "marked"})
        if self.wanted.quick is Quick.NOT_CALLED_BACK:
            return Driver(self._by_state(flagged, [s for s in states if s == State.MISSED]), covers)
        recent = flagged.where(Callback.id >= RECENT)
        ended = self._by_state(recent, [s for s in states if s in (State.FAILED, State.EXPIRED)])
        unknown = self._by_state(self.own, [s for s in states if s == State.UNKNOWN])
        return Driver((*unknown, *ended), covers)

    def by_number(self, number: NumberSearch) -> Driver:
        parts = [digits_begin(Callback.to_number, beginning) for beginning in number.beginnings]
        if number.reversed_end:
            parts.append(digits_begin(Callback.number_reversed, number.reversed_end))
        whole = tuple(self.own.where(part) for part in parts)
        branches = tuple(branch.where(*self.span.within(Callback.id)) for branch in whole)
        return Driver(branches, frozenset({"number"}), is_ordered=False, whole=whole)

    def by_word(self, word: str) -> Iterator[Driver]:
        """By the word, while few names have it; else in order of time among those with the same first letters."""
        whole = select(CallbackWord.callback_id.label("id")).where(CallbackWord.portal_id == self.scope.portal_id)
        ids = whole.where(*self.span.within(CallbackWord.callback_id)).distinct()
        covers, begins = frozenset({f"word {word}"}), word_begins(word)
        few = (ids.where(begins),)
        yield Driver(few, covers, is_ordered=False, of_callbacks=False, whole=(whole.where(begins),))
        stem = CallbackWord.stem == word[:STEM]
        branch = ids.where(stem if len(word) <= STEM else and_(stem, word_begins(word)))
        yield Driver((branch,), covers, of_callbacks=False)


def planned(scope: Scope) -> Driver:
    """The waiting callbacks of a portal, which are in the order of their calls."""
    return Driver((select(Callback.id).where(Callback.portal_id == scope.portal_id, WAITING_SQL),), frozenset())


def word_begins(word: str) -> ColumnElement[bool]:
    """Tell whether a stored word begins with this one."""
    return and_(CallbackWord.word >= word, CallbackWord.word < word + _LAST_LETTER)


def digits_begin(column: InstrumentedAttribute[str], digits: str) -> ColumnElement[bool]:
    """Tell whether a column of digits begins with these; compares only digits, which every collation puts in order."""
    return and_(column >= digits, column < end) if (end := _next_digits(digits)) else column >= digits


def _next_digits(digits: str) -> str:
    """Return the first digits behind all that begin with these; empty: there are none."""
    kept = digits.rstrip("9")
    return kept[:-1] + str(int(kept[-1]) + 1) if kept and kept[-1].isdigit() else ""

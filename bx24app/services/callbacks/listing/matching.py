"""What each part of a filter means for one callback; a driver that fulfils a part leaves it out."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, and_, false, not_, or_, select
from sqlalchemy.orm import aliased

from bx24app.models import Attempt, Callback, CallbackWord, State, first_id
from bx24app.services.callbacks.listing.drivers import ID_DELAY, RECENT, digits_begin, word_begins
from bx24app.services.callbacks.listing.filters import (
    ATTENTION_SOURCES,
    ListFilter,
    NumberSearch,
    Quick,
    Scope,
)

# What the indexes of lists tell of each callback.
IN_INDEXES = frozenset({"states", "source", "form", "other form", "line", "person", "since", "until"})


def parts_of(scope: Scope, wanted: ListFilter) -> dict[str, ColumnElement[bool]]:
    """Return every part of a filter that restricts it, with its condition."""
    return dict([*_fields(scope, wanted), *_counted(wanted), *_looked_up(scope, wanted)])


def boundaries(scope: Scope) -> Iterator[ColumnElement[bool]]:
    """What holds for every callback that somebody may list, whatever led to it."""
    yield Callback.portal_id == scope.portal_id
    if scope.form_id is not None:
        yield Callback.form_id == scope.form_id
    if scope.only_own:
        yield is_of(scope.asker)


def _fields(scope: Scope, wanted: ListFilter) -> Iterator[tuple[str, ColumnElement[bool]]]:
    states = wanted.wanted_states
    if len(states) < len(State):
        yield "states", Callback.state.in_(states)
    if wanted.source is not None:
        yield "source", Callback.source == wanted.source
    if scope.form_id is not None:
        yield "form", Callback.form_id == scope.form_id
    if wanted.form_id is not None:
        name = "form" if scope.form_id in (None, wanted.form_id) else "other form"
        yield name, Callback.form_id == wanted.form_id
    if wanted.line_id is not None:
        yield "line", Callback.line_id == wanted.line_id
    if wanted.requested_by is not None:
        yield "person", Callback.requested_by == wanted.requested_by
    # Ids tell the time but for a minute; only in that the row is read.
    if wanted.since is not None:
        yield "since", or_(Callback.id >= first_id(wanted.since + ID_DELAY), _created_at() >= wanted.since)
    if wanted.until is not None:
        yield "until", or_(Callback.id < first_id(wanted.until), _created_at() < wanted.until)


def _created_at() -> ScalarSelect[datetime]:
    """The time of a callback, read by its id; for an EXISTS PostgreSQL would first find all of that time."""
    row = aliased(Callback)
    return select(row.created_at).where(row.id == Callback.id).scalar_subquery()


def _counted(wanted: ListFilter) -> Iterator[tuple[str, ColumnElement[bool]]]:
    if wanted.outcomes:
        yield "outcome", Callback.counted_outcome.in_(wanted.outcomes)
    if wanted.called is not None:
        yield "called", Callback.counted_called == wanted.called
    if wanted.picked_up is not None:
        yield "picked up", Callback.counted_picked_up == wanted.picked_up
    if wanted.wait_from is not None:
        yield "wait from", Callback.counted_wait >= wanted.wait_from
    if wanted.wait_below is not None:
        yield "wait below", Callback.counted_wait < wanted.wait_below
    if wanted.person is not None:
        yield "counted person", Callback.counted_person == wanted.person
    if wanted.hours is not None:
        times = (and_(Callback.created_at >= begin, Callback.created_at < end) for begin, end in wanted.hours)
        yield "hours", or_(false(), *times)


def _looked_up(scope: Scope, wanted: ListFilter) -> Iterator[tuple[str, ColumnElement[bool]]]:
    if wanted.quick is Quick.MINE or scope.only_own:
        yield "mine", is_of(scope.asker)
    if wanted.quick is Quick.TODAY and wanted.today:
        due = and_(Callback.due_at >= wanted.today.begins, Callback.due_at < wanted.today.ends)
        yield "today", or_(Callback.id >= wanted.today.first, due)
    if wanted.quick is Quick.NOT_CALLED_BACK:
        yield "marked", and_(Callback.state == State.MISSED, Callback.needs_follow_up)
        yield "waits", _waits_for_call()
    if wanted.quick is Quick.ATTENTION:
        ended = and_(Callback.state.in_((State.FAILED, State.EXPIRED)), Callback.id >= RECENT)
        yield "marked", or_(Callback.state == State.UNKNOWN, and_(ended, Callback.needs_follow_up))
        waits = and_(Callback.source.in_(ATTENTION_SOURCES), _waits_for_call())
        yield "waits", or_(Callback.state == State.UNKNOWN, waits)
    if wanted.several_attempts:
        second = select(Attempt.id).where(Attempt.callback_id == Callback.id, Attempt.number == 2)  # noqa: PLR2004
        yield "several", second.exists()
    if wanted.number:
        yield "number", _has_number(wanted.number)
    for word in wanted.words:
        found = select(CallbackWord.word).where(CallbackWord.callback_id == Callback.id, word_begins(word))
        yield f"word {word}", found.exists()


def is_of(user_id: int) -> ColumnElement[bool]:
    """Tell whether somebody asked for a callback or answered it."""
    answered = select(Attempt.id).where(Attempt.callback_id == Callback.id, Attempt.answered_by == user_id).limit(1)
    # As an EXISTS beside an OR PostgreSQL would first find all that they have ever answered.
    return or_(Callback.requested_by == user_id, answered.scalar_subquery().is_not(None))


def _waits_for_call() -> ColumnElement[bool]:
    """Tell whether nobody has asked for the number since; the mark may be there still when somebody has."""
    later = aliased(Callback)
    same = and_(later.portal_id == Callback.portal_id, later.to_number == Callback.to_number)
    return not_(select(later.id).where(same, later.id > Callback.id).exists())


def _has_number(number: NumberSearch) -> ColumnElement[bool]:
    parts = [digits_begin(Callback.to_number, beginning) for beginning in number.beginnings]
    if number.reversed_end:
        parts.append(digits_begin(Callback.number_reversed, number.reversed_end))
    return or_(*parts)

"""What each part of a filter means for one callback; a driver that fulfils a part leaves it out."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, not_, or_, select
from sqlalchemy.orm import aliased

from bx24app.models import Attempt, Callback, CallbackWord, State, first_id, utcnow
from bx24app.services.callbacks.listing.drivers import digits_begin, word_begins
from bx24app.services.callbacks.listing.filters import (
    ATTENTION_LASTS,
    ATTENTION_SOURCES,
    ListFilter,
    NumberSearch,
    Quick,
    Scope,
)


def parts_of(scope: Scope, wanted: ListFilter) -> dict[str, ColumnElement[bool]]:
    """Return every part of a filter that restricts it, with its condition."""
    return dict([*_fields(scope, wanted), *_looked_up(scope, wanted)])


def boundaries(scope: Scope) -> Iterator[ColumnElement[bool]]:
    """What holds for every callback that somebody may list, whatever led to it."""
    yield Callback.portal_id == scope.portal_id
    if scope.form_id is not None:
        yield Callback.form_id == scope.form_id
    if scope.only_own:
        yield is_of(scope.user_id or 0)


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
    if wanted.since is not None:
        yield "since", Callback.created_at >= wanted.since
    if wanted.until is not None:
        yield "until", Callback.created_at < wanted.until


def _looked_up(scope: Scope, wanted: ListFilter) -> Iterator[tuple[str, ColumnElement[bool]]]:
    if wanted.quick is Quick.MINE or scope.only_own:
        yield "mine", is_of(scope.user_id or 0)
    if wanted.quick is Quick.TODAY and wanted.today:
        begins, ends = wanted.today
        due = and_(Callback.due_at >= begins, Callback.due_at < ends)
        yield "today", or_(Callback.id >= first_id(begins), due)
    if wanted.quick is Quick.NOT_CALLED_BACK:
        yield "follow up", and_(Callback.state == State.MISSED, _waits_for_call())
    if wanted.quick is Quick.ATTENTION:
        yield "follow up", _needs_person()
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
    answered = select(Attempt.id).where(Attempt.callback_id == Callback.id, Attempt.answered_by == user_id)
    return or_(Callback.requested_by == user_id, answered.exists())


def _waits_for_call() -> ColumnElement[bool]:
    """Tell whether nobody has asked for the number since; the mark may be there still when somebody has."""
    later = aliased(Callback)
    same = and_(later.portal_id == Callback.portal_id, later.to_number == Callback.to_number)
    return and_(Callback.needs_follow_up, not_(select(later.id).where(same, later.id > Callback.id).exists()))


def _needs_person() -> ColumnElement[bool]:
    recent = Callback.id >= first_id(utcnow() - ATTENTION_LASTS)
    ended = and_(Callback.state.in_((State.FAILED, State.EXPIRED)), Callback.source.in_(ATTENTION_SOURCES))
    return or_(Callback.state == State.UNKNOWN, and_(ended, recent, _waits_for_call()))


def _has_number(number: NumberSearch) -> ColumnElement[bool]:
    parts = [digits_begin(Callback.to_number, beginning) for beginning in number.beginnings]
    if number.reversed_end:
        parts.append(digits_begin(Callback.number_reversed, number.reversed_end))
    return or_(*parts)

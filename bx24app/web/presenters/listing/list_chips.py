"""What a list is filtered by, in words, each with the list that is left without it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from babel.dates import get_day_names
from flask_babel import format_date, get_locale
from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.reports import SERIES_WORDS, period_label, series_label, source_label, wait_words
from bx24app.messages.states import StateFacts, state_label
from bx24app.models import CallbackOutcome, Portal, State
from bx24app.services.callbacks.listing.periods import ListPeriod, PeriodName
from bx24app.services.callbacks.listing.shown import ListChoice, ShownList
from bx24app.web.api.listing.list_query import ShownQuery

_UNNAMED_PERIODS = {ListPeriod.BETWEEN: N_("Between"), ListPeriod.ALL: N_("All time")}
JUST_BEFORE = timedelta(microseconds=1)


@dataclass(frozen=True)
class Chip:
    """Something that is filtered by; ``query`` is the list without it."""

    label: str
    query: str


def chips_of(query: ShownQuery, choice: ListChoice, shown: ShownList, portal: Portal) -> Iterator[Chip]:
    """Everything that a list is filtered by, but the quick filter."""
    yield from _periods(query, choice, shown)
    for state in choice.asked.state:
        rest = ",".join(other for other in choice.asked.state if other is not state)
        yield Chip(state_word(state), query.address(state=rest or None))
    if query.source:
        yield Chip(source_label(query.source), query.address(source=None))
    if query.form_key:
        names = {form.key: form.name for form in shown.forms}
        yield Chip(names.get(query.form_key, query.form_key), query.address(form_key=None))
    if query.line_id:
        yield Chip(portal.line_name(query.line_id), query.address(line_id=None))
    if query.requested_by:
        yield Chip(str(_("Asked by #%(id)s", id=query.requested_by)), query.address(requested_by=None))
    if query.several_attempts:
        yield Chip(str(_("More than one attempt")), query.address(several_attempts=None))
    yield from _counted(query, choice)


def _periods(query: ShownQuery, choice: ListChoice, shown: ShownList) -> Iterator[Chip]:
    if query.since or query.until:
        yield Chip(_days(query.since, query.until, shown.zone), query.address(**{"from": None, "to": None}))
    if query.period:
        yield Chip(_period_words(query, choice), query.address(period=None, first=None, last=None))
    elif choice.effective_days != choice.days:
        yield Chip(_period_words(query, choice), query.address(period=ListPeriod.ALL))


def _counted(query: ShownQuery, choice: ListChoice) -> Iterator[Chip]:
    """What the figures of the reports lead to."""
    for outcome in choice.asked.outcome:
        rest = ",".join(other for other in choice.asked.outcome if other is not outcome)
        yield Chip(_outcome_word(outcome), query.address(outcome=rest or None))
    if query.called is not None:
        yield Chip(str(_("Called") if query.called else _("Not called")), query.address(called=None))
    if query.picked_up is not None:
        words = _("Picked up") if query.picked_up else _("Not picked up")
        yield Chip(str(words), query.address(picked_up=None))
    if query.wait_from is not None or query.wait_below is not None:
        yield Chip(_wait(query.wait_from or 0, query.wait_below), query.address(wait_from=None, wait_below=None))
    if query.person:
        yield Chip(str(_("Person #%(id)s", id=query.person)), query.address(person=None))
    if query.weekday is not None and query.hour is not None:
        day = get_day_names("abbreviated", locale=get_locale())[query.weekday - 1]
        yield Chip(f"{day} {query.hour:02}:00", query.address(weekday=None, hour=None))


def state_word(state: State) -> str:
    """A state as a filter names it."""
    if state is State.MISSED:
        return str(_("Not reached"))
    return str(_("Ringing")) if state is State.STARTED else state_label(StateFacts(state))


def _outcome_word(outcome: CallbackOutcome) -> str:
    return series_label(outcome) if outcome in SERIES_WORDS else state_word(State(outcome))


def _wait(begin: int, below: int | None) -> str:
    if below is None:
        return str(_("Called back after %(time)s or later", time=wait_words(begin)) if begin else _("Called back"))
    return str(_("Called back within %(first)s–%(last)s", first=wait_words(begin), last=wait_words(below)))


def _days(since: datetime | None, until: datetime | None, zone: str) -> str:
    first, last = (
        format_date(moment.astimezone(ZoneInfo(zone)), "d MMM y") if moment else "…"
        for moment in (since, until and until - JUST_BEFORE)
    )
    return first if first == last else f"{first} – {last}"


def _period_words(query: ShownQuery, choice: ListChoice) -> str:
    name = choice.effective_days.name
    return f"{query.first or '…'} – {query.last or '…'}" if name is ListPeriod.BETWEEN else _period_name(name)


def period_choices() -> list[tuple[str, str]]:
    """The periods to choose among."""
    return [(name.value, _period_name(name)) for name in ListPeriod]


def _period_name(name: ListPeriod) -> str:
    if name in _UNNAMED_PERIODS:
        return str(_(_UNNAMED_PERIODS[name]))
    return period_label(PeriodName(name))

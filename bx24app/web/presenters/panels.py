"""What the administrator's panels show: words and choices for the models behind them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import holidays
from babel.dates import format_date, get_day_names
from flask_babel import get_locale, ngettext
from flask_babel import gettext as _

from bx24app.bitrix24.company.smart_processes import SmartProcess
from bx24app.messages.decisions import decision_words
from bx24app.messages.numbers import display_number
from bx24app.messages.rules import rule_words
from bx24app.models import DoNotCall, Portal, Rejection
from bx24app.services.calling.business_hours import DAYS
from bx24app.services.calling.decoration import NOTED
from bx24app.services.calling.spoken_text import MAX_SPOKEN_LENGTH
from bx24app.services.native.follow_up.choices import NoticeEvent, NotificationChoices
from bx24app.services.websites.rejections import RejectionSummary
from bx24app.web.moments import iso
from bx24app.web.presenters.desk import countries

Pairs = list[tuple[str, str]]
# So many changes of one form are told apart.
COUNTED = 40


def own_lines(portal: Portal) -> Pairs:
    """The lines that can ring, in the order of the portal."""
    return [(line.line_id, line.name) for line in portal.usable_lines]


def setting_options(portal: Portal) -> dict[str, Any]:
    """What the settings for everybody offer to choose from."""
    voices = [(id, str(name)) for id, name in (portal.voices or {}).items()]
    return {
        "lines": [("", _("None: everybody chooses")), *own_lines(portal)],
        "voices": [("", _("Default voice")), *voices],
        "countries": [("", _("None: always with a country code")), *countries()],
        "text_max": MAX_SPOKEN_LENGTH,
        "days": weekdays(),
        "holidays": holiday_countries(),
    }


def counted_changes() -> list[str]:
    """How many changes of a form are not saved yet, in words: the first for one, and so on."""
    return [ngettext("%(num)s change", "%(num)s changes", count) for count in range(1, COUNTED + 1)]


def weekdays() -> Pairs:
    """The days of a week by name in the reader's language, from Monday on."""
    # Babel counts from Monday, as we do.
    names = get_day_names("wide", context="stand-alone", locale=get_locale())
    return [(code, names[number].capitalize()) for number, code in enumerate(DAYS)]


def day_words(day: date) -> str:
    """A day by its name and date."""
    return str(format_date(day, "full", get_locale() or "en"))


def holiday_countries() -> Pairs:
    """The countries whose public holidays are known, by name in the reader's language."""
    locale = get_locale()
    territories = locale.territories if locale else {}
    named = [(code, str(territories[code])) for code in holidays.list_supported_countries() if code in territories]
    return sorted(named, key=lambda pair: pair[1])


@dataclass(frozen=True)
class TypeChoice:
    """A smart process to choose; ``problem`` says why one that was chosen has no tab."""

    id: int
    title: str
    is_chosen: bool
    problem: str


def type_choices(listed: Sequence[SmartProcess] | None, chosen: Sequence[int]) -> list[TypeChoice] | None:
    """Those with customers, and those that were chosen before they lost them; None: nobody knows any."""
    if listed is None and not chosen:
        return None
    known = {one.type_id: one for one in listed or []}
    found = [
        TypeChoice(one.type_id, one.title, one.type_id in chosen, "" if one.has_customers else _("names no client"))
        for one in known.values()
        if one.has_customers or one.type_id in chosen
    ]
    gone = [TypeChoice(id, f"#{id}", is_chosen=True, problem=_("deleted")) for id in chosen if id not in known]
    return [*sorted(found, key=lambda one: one.title.casefold()), *gone]


@dataclass(frozen=True)
class NumberRow:
    """A number of the do-not-call list."""

    id: int
    number: str
    note: str
    added_at: str
    added_by: str


def number_row(row: DoNotCall, names: dict[int, str]) -> NumberRow:
    """A listed number with the name of whoever listed it; an erased one has none."""
    return NumberRow(
        id=row.id,
        number=display_number(row.number) if row.number else "",
        note=row.note or "",
        added_at=iso(row.added_at),
        added_by=names.get(row.added_by or 0, ""),
    )


@dataclass(frozen=True)
class RejectedForm:
    """What one form has not taken: how many by rule, the most first, and the latest with their time and inputs."""

    name: str
    total: int
    counts: list[tuple[str, int]]
    latest: list[tuple[str, str, str]]


def rejected_form(name: str, found: RejectionSummary) -> RejectedForm:
    """The refusals of one form in words."""
    counts = sorted(found.counts.items(), key=lambda pair: -pair[1])
    return RejectedForm(
        name=name,
        total=sum(found.counts.values()),
        counts=[(_why(rule), count) for rule, count in counts],
        latest=[(iso(row.made_at), _why(row.rule), _looked_at(row)) for row in found.latest],
    )


def _why(rule: str) -> str:
    return rule_words(rule, {"rule": rule}, is_tried=True)


def _looked_at(row: Rejection) -> str:
    shown = {name: value for name, value in row.inputs.items() if name not in ("number_digest", *NOTED)}
    times = {"count": row.count} if row.count > 1 else {}
    looked_at = ", ".join(f"{name}: {value}" for name, value in {**shown, **times}.items())
    note = decision_words("decoration", {name: row.inputs[name] for name in NOTED if name in row.inputs})
    return ". ".join(filter(None, (looked_at, note)))


@dataclass(frozen=True)
class PeopleChoice:
    """Who may call beside administrators, and whether the others look on; ``departments`` are kept as they are."""

    everybody: bool
    people: list[tuple[int, str]]
    departments: list[int]
    others: str


def people_choice(roles: dict[str, Any] | None, names: dict[int, str]) -> PeopleChoice:
    """What the administrators have chosen; None: everybody may call."""
    if roles is None:
        return PeopleChoice(everybody=True, people=[], departments=[], others="view")
    chosen = roles["operators"]
    people = [(id, names.get(id) or _("employee #%(id)s", id=id)) for id in chosen["people"]]
    return PeopleChoice(everybody=False, people=people, departments=chosen["departments"], others=roles["others"])


def told_apart(known: Sequence[tuple[int, str]]) -> Pairs:
    """People by number and name; whoever shares a name with somebody has the number behind it."""
    names = Counter(name for _id, name in known)
    return [(str(id), name if names[name] == 1 else f"{name} (#{id})") for id, name in known]


@dataclass(frozen=True)
class EventChoice:
    """One event with its words, what is chosen, and what may be."""

    name: str
    title: str
    hint: str
    to: str
    people: list[str]
    options: Pairs


def event_choices(chosen: NotificationChoices) -> list[EventChoice]:
    """The events in the order of the page."""
    asked = _("The form's person, or whoever asked")
    owner, administrators = _("The form's person"), _("Administrators who keep the app connected")
    words = {
        NoticeEvent.MISSED: (
            _("Customer not reached"),
            _("No further attempt follows. A to-do is made on the customer's card too."),
            asked,
        ),
        NoticeEvent.PERSON: (
            _("Outcome needs a person"),
            _("The app can't find out by itself whether you talked to the customer."),
            asked,
        ),
        NoticeEvent.BUDGET: (
            _("Form stopped by its budget"),
            _("Until midnight it only accepts requests for later days."),
            owner,
        ),
        NoticeEvent.LINE: (_("Line without money"), _("Told at any hour, because its calls wait."), administrators),
        NoticeEvent.ACCESS: (
            _("The app lost its access"),
            _("Told at any hour. Nothing is called until an administrator opens the app."),
            administrators,
        ),
    }
    return [_choice(event, chosen, *words[event]) for event in NoticeEvent]


def _choice(event: NoticeEvent, chosen: NotificationChoices, title: str, hint: str, usual: str) -> EventChoice:
    told = chosen.told(event)
    options = [("usual", usual), ("people", _("Chosen people")), ("nobody", _("Nobody"))]
    if usual != (everybody := _("Administrators who keep the app connected")):
        options.insert(1, ("administrators", everybody))
    to = "usual" if told.to not in dict(options) else told.to
    return EventChoice(event, title, hint, to, [str(id) for id in told.people], options)


def offered_people(known: Sequence[tuple[int, str]], chosen: Iterable[int], names: dict[int, str]) -> Pairs:
    """Whoever may be chosen: those who have opened the app, and those who are chosen already."""
    offered = told_apart(known)
    listed = dict(offered)
    missing = {str(id): names.get(id) or _("employee #%(id)s", id=id) for id in chosen if str(id) not in listed}
    return [*offered, *missing.items()]

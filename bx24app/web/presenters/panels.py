"""What the administrator's panels show: words and choices for the models behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import holidays
from babel import Locale
from babel.dates import get_day_names
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.i18n import LANGUAGES
from bx24app.messages.decisions import decision_words
from bx24app.messages.numbers import display_number
from bx24app.messages.rules import rule_words
from bx24app.models import DoNotCall, Form, Portal, Rejection, UnknownPolicy
from bx24app.services.calling.business_hours import DAYS
from bx24app.services.calling.decoration import NOTED
from bx24app.services.calling.spoken_text import MAX_SPOKEN_LENGTH
from bx24app.services.websites.availability import ListedForm
from bx24app.services.websites.rejections import RejectionSummary
from bx24app.web.moments import iso
from bx24app.web.presenters.desk import countries

Pairs = list[tuple[str, str]]
COUNTRIES_NAMED = 15


@dataclass(frozen=True)
class FormRow:
    """A website form in the list."""

    key: str
    name: str
    is_on: bool
    line_name: str
    origins: list[str]
    problems: list[str]
    countries: str
    url: str
    snippet: str
    created_by: str


def form_row(listed: ListedForm, names: dict[int, str]) -> FormRow:
    """A form for the list, with why it takes no requests, and the name of whoever created it."""
    form, words = listed.form, form_problems()
    return FormRow(
        key=form.key,
        name=form.name,
        is_on=form.is_on,
        line_name=listed.line_name,
        origins=form.allowed_origins,
        problems=[words[name] for name in listed.problems],
        countries=_country_names(listed.countries),
        url=listed.url,
        snippet=listed.snippet,
        created_by=names.get(form.created_by or 0, ""),
    )


def form_problems() -> dict[str, str]:
    """Why a form takes no requests, by the name of the rule."""
    return {
        "portal_ready": _("The app is not connected with this Bitrix24 now. See Settings, Setup check."),
        "websites_on": _("All website forms are paused."),
        "form_on": _("The form is turned off."),
        "country_known": _("The form does not know which countries it may call. Choose its country in its settings."),
        "line": _("The form has no line that can ring. Choose one in its settings."),
    }


def _country_names(codes: Sequence[str]) -> str:
    """Countries by name in the reader's language, the first ones of many."""
    named = dict(countries())
    shown = ", ".join(named.get(code, code) for code in codes[:COUNTRIES_NAMED])
    more = len(codes) - COUNTRIES_NAMED
    return str(_("%(list)s and %(count)s more", list=shown, count=more)) if more > 0 else shown


def country_choices(portal: Portal) -> Pairs:
    """What a new form asks first while nobody has named the portal's country; else empty."""
    return [] if portal.settings.default_country else countries()


def own_lines(portal: Portal) -> Pairs:
    """The lines that can ring, in the order of the portal."""
    return [(line.line_id, line.name) for line in portal.usable_lines]


def form_options(form: Form, portal: Portal, usual_text: str) -> dict[str, Any]:
    """What the settings of a form offer to choose from."""
    voices = [(id, str(name)) for id, name in (portal.voices or {}).items()]
    named = dict(countries())
    usual = named.get(portal.settings.default_country or "")
    return {
        "lines": [("", _("The portal's default line")), *own_lines(portal)],
        "voices": [("", _("Default voice")), *voices],
        "usual_text": usual_text,
        "asked": [
            ("off", _("not asked")),
            ("optional", _("asked, may stay empty")),
            ("required", _("asked, required")),
        ],
        "languages": [(code, _language_name(code)) for code in LANGUAGES],
        "days": _days(),
        "holidays": holiday_countries(),
        "portal_has_hours": portal.settings.hours is not None,
        "policies": [
            (UnknownPolicy.ASK, _("Ask a person")),
            (UnknownPolicy.DIAL_AGAIN, _("Call once more")),
        ],
        "default_countries": [("", _("The portal's: %(country)s", country=usual or _("none"))), *named.items()],
        "countries": list(named.items()),
        "budget_money": None if form.budget_money is None else f"{form.budget_money.normalize():f}",
    }


def setting_options(portal: Portal) -> dict[str, Any]:
    """What the settings for everybody offer to choose from."""
    voices = [(id, str(name)) for id, name in (portal.voices or {}).items()]
    return {
        "lines": [("", _("None: everybody chooses")), *own_lines(portal)],
        "voices": [("", _("Default voice")), *voices],
        "countries": [("", _("None: always with a country code")), *countries()],
        "text_max": MAX_SPOKEN_LENGTH,
        "days": _days(),
        "holidays": holiday_countries(),
    }


def _language_name(code: str) -> str:
    return (Locale(code).get_display_name(code) or code).capitalize()


def _days() -> Pairs:
    # Babel counts from Monday, as we do.
    names = get_day_names("wide", context="stand-alone", locale=get_locale())
    return [(code, names[number].capitalize()) for number, code in enumerate(DAYS)]


def holiday_countries() -> Pairs:
    """The countries whose public holidays are known, by name in the reader's language."""
    locale = get_locale()
    territories = locale.territories if locale else {}
    named = [(code, str(territories[code])) for code in holidays.list_supported_countries() if code in territories]
    return sorted(named, key=lambda pair: pair[1])


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

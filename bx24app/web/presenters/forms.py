"""What administrators see of website forms: rows of the list, choices of the editor, words for problems and colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from babel import Locale
from babel.numbers import format_decimal
from flask_babel import force_locale, get_locale, ngettext
from flask_babel import gettext as _

from bx24app.i18n import LANGUAGES
from bx24app.messages.numbers import country_name
from bx24app.models import WAITING, Form, Portal, State, UnknownPolicy, WidgetSighting
from bx24app.services.callbacks.listing.pages import COUNTED_TO
from bx24app.services.calling.business_hours import Hours
from bx24app.services.reports.periods import Period
from bx24app.services.websites.availability import ListedForm
from bx24app.services.websites.editing.contrast import LIGHT, TextOn
from bx24app.services.websites.editing.today import FormDay
from bx24app.web.moments import iso
from bx24app.web.presenters.desk import countries
from bx24app.web.presenters.hours import opening_words, short_days
from bx24app.web.presenters.panels import Pairs, holiday_countries, own_lines, told_apart, weekdays
from bx24app.web.presenters.report_links import ListLinks
from bx24app.web.presenters.visitors import our_words

Sighting = WidgetSighting | None

COUNTRIES_NAMED = 15
# Contrast that is enough for text of any size (WCAG 2.2).
ANY_SIZE = 4.5


@dataclass(frozen=True)
class Trouble:
    """Why a form takes no requests, and what cures it: the page of ``href``, or turning the form on."""

    words: str
    cure: str
    href: str = ""


@dataclass(frozen=True)
class Figure:
    """How many requests of today, and the list that shows them."""

    words: str
    count: str
    href: str


@dataclass(frozen=True)
class FormRow:
    """A website form in the list."""

    key: str
    name: str
    is_on: bool
    takes_requests: bool
    line_name: str
    opening: str
    origins: list[str]
    trouble: list[Trouble]
    figures: list[Figure]
    countries: str
    url: str
    snippet: str
    created_by: str
    seen_at: str
    seen_on: str


@dataclass(frozen=True)
class ListedDay:
    """Today in the company's zone, by the clock of ``now``."""

    now: datetime
    today: Period


def form_row(
    listed: ListedForm, hours: Hours | None, day: ListedDay, did: FormDay, names: dict[int, str], seen: Sighting
) -> FormRow:
    """A form for the list: whether it is open, what it did today, and what keeps it from taking requests."""
    form = listed.form
    return FormRow(
        key=form.key,
        name=form.name,
        is_on=form.is_on,
        takes_requests=not (listed.problems or listed.exhausted),
        line_name=listed.line_name,
        opening=opening_words(hours, day.now),
        origins=[origin.partition("://")[2] for origin in form.allowed_origins],
        trouble=_troubles(listed),
        figures=_figures(form.key, did, day.today),
        countries=_country_names(listed.countries),
        url=listed.url,
        snippet=listed.snippet,
        created_by=names.get(form.created_by or 0, ""),
        seen_at=iso(seen.seen_at) if seen else "",
        seen_on=seen.origin.partition("://")[2] if seen else "",
    )


def _figures(key: str, did: FormDay, today: Period) -> list[Figure]:
    """What each figure counts, and the list that is filtered in the same way."""
    links = ListLinks(today, {"form_key": key}, has_hours=False)
    rejected = urlencode({"form": key, "day": today.first.isoformat()})
    return [
        Figure(ngettext("request", "requests", did.requests), _counted(did.requests), links.to()),
        Figure(
            ngettext("reached", "reached", did.reached), _counted(did.reached), links.to({"state": State.COMPLETED})
        ),
        Figure(
            ngettext("waiting", "waiting", did.waiting),
            _counted(did.waiting),
            links.to({"state": ",".join(sorted(WAITING))}),
        ),
        Figure(
            ngettext("rejected", "rejected", did.rejected),
            format_decimal(did.rejected, locale=get_locale()),
            f"#/websites/rejected?{rejected}",
        ),
    ]


def _counted(count: int) -> str:
    """A total as the list of callbacks tells it."""
    shown = format_decimal(min(count, COUNTED_TO), locale=get_locale())
    return f"{shown}+" if count > COUNTED_TO else str(shown)


def _troubles(listed: ListedForm) -> list[Trouble]:
    """What keeps a form from taking requests; that all are paused stands above the list."""
    page, form = f"#/websites/{listed.form.key}", listed.form
    words = {**form_problems(), **_used_up(form)}
    cures = {
        "portal_ready": (_("Setup check"), "#/settings/check"),
        "form_on": (_("Turn on"), ""),
        "country_known": (_("Choose its country"), f"{page}/protection"),
        "line": (_("Choose a line"), f"{page}/calling"),
        "budget_calls": (_("Change the limit"), f"{page}/protection"),
        "budget_money": (_("Change the limit"), f"{page}/protection"),
    }
    rules = [*listed.problems, *listed.exhausted]
    return [Trouble(words[rule], *cures[rule]) for rule in rules if rule in cures]


def _used_up(form: Form) -> dict[str, str]:
    return {
        "budget_calls": _(
            "The %(number)s calls of today are used up. Requests for later days are still accepted.",
            number=form.budget_calls,
        ),
        "budget_money": _("The money of today is used up. Requests for later days are still accepted."),
    }


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
    shown = ", ".join(country_name(code) for code in codes[:COUNTRIES_NAMED])
    more = len(codes) - COUNTRIES_NAMED
    return str(_("%(list)s and %(count)s more", list=shown, count=more)) if more > 0 else shown


def country_choices(portal: Portal) -> Pairs:
    """What a new form asks first while nobody has named the portal's country; else empty."""
    return [] if portal.settings.default_country else countries()


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
        "days": weekdays(),
        "short_days": short_days(),
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


def _language_name(code: str) -> str:
    return (Locale(code).get_display_name(code) or code).capitalize()


def form_tabs() -> Pairs:
    """The tabs of the editor; the first one needs no name in the address."""
    return [
        ("look", _("Look")),
        ("questions", _("Questions")),
        ("hours", _("Hours")),
        ("calling", _("Calling")),
        ("protection", _("Protection")),
        ("crm", _("CRM")),
        ("site", _("Put on site")),
        ("developers", _("Developers")),
    ]


def person_choices(form: Form, known: Sequence[tuple[int, str]]) -> Pairs:
    """Who may be told of a form's callbacks, with whoever is chosen, also where the app has never seen them."""
    offered = told_apart(known)
    chosen = str(form.person_id or "")
    if chosen and chosen not in dict(offered):
        offered.append((chosen, _("employee #%(id)s", id=chosen)))
    return [("", _("Whoever made the form")), *offered]


def placeholder_words() -> dict[str, dict[str, str]]:
    """Our own texts by language, which stand where an administrator has written none."""
    found = {}
    for language in LANGUAGES:
        with force_locale(language):
            found[language] = our_words()
    return found


def consents(form: Form, ours: dict[str, str]) -> dict[str, str]:
    """The administrator's own texts to agree to, by language; empty where it is ours."""
    return {
        language: "" if text == ours.get(language) else text for language, text in (form.consent_texts or {}).items()
    }


def contrast_words(text: TextOn) -> str:
    """How well the text on a colour is read."""
    ratio = format_decimal(round(text.contrast, 1), locale=get_locale())
    colour = _("White text") if text.colour == LIGHT else _("Dark text")
    if text.contrast >= ANY_SIZE:
        return str(_("%(colour)s, contrast %(ratio)s : 1: easy to read.", colour=colour, ratio=ratio))
    return str(_("%(colour)s, contrast %(ratio)s : 1: fine for large text, as here.", colour=colour, ratio=ratio))

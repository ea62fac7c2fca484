"""What the desk's button *Create* sends for whoever just presses it. The API's own defaults are others, and stay."""

from dataclasses import dataclass
from typing import Any

from bx24app.i18n import LANGUAGES, language_for
from bx24app.models import Portal, UnknownPolicy
from bx24app.services.calling.business_hours import working_week
from bx24app.services.calling.countries import country_of_zone
from bx24app.services.calling.phone_numbers import read_number
from bx24app.services.websites.editing.form_settings import FormSettings, our_consent

CALLS_A_DAY = 100


@dataclass(frozen=True)
class Proposal:
    """Settings of a new form as JSON; ``countries`` are those of the lines, by their ids, where one is known."""

    settings: dict[str, Any]
    countries: dict[str, str]


def propose_form(portal: Portal, zone: str | None) -> Proposal:
    """What suits a portal whose company has its clocks in ``zone``; None: the page's reader says which."""
    countries = {line.line_id: _country_of_line(line.name, portal, zone) for line in portal.usable_lines}
    language = language_for(portal.language)
    settings: dict[str, Any] = {
        "languages": [language, *(other for other in LANGUAGES if other != language)],
        "consent_texts": {one: our_consent(one) for one in LANGUAGES},
        "creates_lead": True,
        "retries": 2,
        "retry_minutes": 10,
        "unknown_policy": UnknownPolicy.ASK.value,
        "budget_calls": CALLS_A_DAY,
        # The company's own hours hold where it has some.
        "hours": None if portal.settings.hours else working_week(zone or "", portal.settings.default_country),
    }
    # Anything that the API would not take is a mistake of ours, and not of whoever presses the button.
    FormSettings.read(settings | {"hours": settings["hours"] and {**settings["hours"], "zone": zone or "UTC"}})
    return Proposal(settings, {line: country for line, country in countries.items() if country})


def _country_of_line(name: str, portal: Portal, zone: str | None) -> str:
    """The portal's own country, else that of a number in the line's name, else that of the zone; empty: not known."""
    named = portal.settings.default_country or (read_number(name, None).country if "+" in name else None)
    return named or country_of_zone(zone)

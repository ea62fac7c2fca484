"""Public holidays, as the library ``holidays`` knows them: of a country, or of a part of it that has more.

A region is a country (ISO 3166), perhaps with a part after a dash: ``DE``, ``DE-BY``. ``DE-`` says that no part is
meant, where ``DE`` leaves that open.
"""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import holidays

from bx24app.inputs import bare

SHORT_NAME = 3
# The library has a holiday in every year of these.
YEARS_AHEAD = 2


@dataclass(frozen=True)
class CountryPart:
    """A part of a country, with its name where the library knows one."""

    code: str
    name: str


@dataclass(frozen=True)
class Holiday:
    """One day, and what is celebrated."""

    day: date
    name: str


@dataclass(frozen=True)
class RegionHolidays:
    """What a region means: its next holiday, and the parts with more of them where it leaves its part open."""

    region: str
    next: Holiday | None
    parts: tuple[CountryPart, ...]


def check_region(code: str) -> str:
    """Return a region whose holidays are known as it is stored, or ""; raises ``ValueError`` for any other."""
    country, dash, part = bare(code).replace("_", "-").partition("-")
    known, country = holidays.list_supported_countries(), country.upper()
    parts = {"": "", **{known_part.casefold(): known_part for known_part in known.get(country, ())}}
    if (country or dash) and (country not in known or part.casefold() not in parts):
        raise ValueError("no holidays are known for this country or part, such as DE or DE-BY")
    return f"{country}{dash}{parts[part.casefold()]}"


def is_holiday(region: str, day: date) -> bool:
    """Tell whether a day is a public holiday of a region; "" has none."""
    return bool(region) and day in _named(region.removesuffix("-"), day.year, "")


def look_up(region: str, today: date, language: str) -> RegionHolidays:
    """Find the next holiday of a region after ``today``, named in a language as far as the library knows it."""
    if not region:
        return RegionHolidays("", None, ())
    years = range(today.year, today.year + YEARS_AHEAD)
    named = {day: name for year in years for day, name in _named(region.removesuffix("-"), year, language).items()}
    coming = next((Holiday(day, named[day]) for day in sorted(named) if day > today), None)
    return RegionHolidays(region, coming, () if "-" in region else parts_with_more(region, today.year))


@lru_cache(maxsize=64)
def parts_with_more(country: str, year: int) -> tuple[CountryPart, ...]:
    """List the parts of a country that have holidays of their own in this year or the next."""
    names: dict[str, str] = {}
    for name, code in getattr(holidays.country_holidays(country), "subdivisions_aliases", {}).items():
        # The first long name is the usual one; others are short forms, or in another language.
        if len(names.get(code, "")) <= SHORT_NAME:
            names[code] = name
    codes = holidays.list_supported_countries().get(country, [])
    found = [CountryPart(code, names.get(code, code)) for code in codes if _has_more(country, code, year)]
    return tuple(sorted(found, key=lambda part: part.name))


def _has_more(country: str, part: str, year: int) -> bool:
    return any(
        _named(f"{country}-{part}", each, "").keys() - _named(country, each, "").keys()
        for each in range(year, year + YEARS_AHEAD)
    )


@lru_cache(maxsize=512)
def _named(region: str, year: int, language: str) -> dict[date, str]:
    country, _, part = region.partition("-")
    spoken = holidays.country_holidays(country).supported_languages
    # A stranger reads English sooner than the language of the country.
    chosen = next((one for wish in (language, "en") for one in spoken if wish and one.startswith(wish)), None)
    return dict(holidays.country_holidays(country, subdiv=part or None, years=year, language=chosen))

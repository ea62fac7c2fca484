"""Countries: which one a portal probably lives in, and which territories belong to a country.

Countries are codes of ISO 3166-1, as Google's metadata names the regions of numbers.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.core import get_global

from bx24app.models import utcnow

# By the zone of a portal's domain; the zones "com" and "eu" are of many countries.
_ZONES = {
    "br": "BR",
    "by": "BY",
    "de": "DE",
    "es": "ES",
    "fr": "FR",
    "id": "ID",
    "in": "IN",
    "it": "IT",
    "jp": "JP",
    "kz": "KZ",
    "mx": "MX",
    "pl": "PL",
    "ru": "RU",
    "tr": "TR",
    "ua": "UA",
    "uk": "GB",
    "vn": "VN",
}
# By a portal's language, in the codes of Bitrix24; English, Arabic and Latin American Spanish are of many countries.
_LANGUAGES = {
    "br": "BR",
    "de": "DE",
    "fr": "FR",
    "id": "ID",
    "in": "IN",
    "it": "IT",
    "ja": "JP",
    "kz": "KZ",
    "pl": "PL",
    "ru": "RU",
    "th": "TH",
    "tr": "TR",
    "ua": "UA",
    "vn": "VN",
}


def guess_country(domain: str, language: str) -> str | None:
    """Guess the country of a portal's national numbers by the zone of its domain or its language; None: unknown."""
    zone = domain.partition(":")[0].rpartition(".")[2].lower()
    return _ZONES.get(zone) or _LANGUAGES.get(language.lower())


def country_of_zone(zone: str | None) -> str:
    """The country whose clocks a time zone is named for; empty: none, or not known."""
    territory = str(get_global("zone_territories").get(zone or "", ""))
    return territory if len(territory) == len("DE") else ""


@dataclass(frozen=True)
class Territories:
    """Places with a code of their own in ISO 3166 that belong to ``country``, with the source that says so."""

    country: str
    codes: tuple[str, ...]
    source: str


# A place stands here when the country's own numbering plan holds it, or when the country's law calls it a part of it.
# Countries that only share a calling code (Canada, Jamaica, Kazakhstan), and Britain's overseas territories with codes
# of their own (Gibraltar, the Falklands, Cayman), do not.
TERRITORIES = (
    Territories("AU", ("CC", "CX"), "ACMA, Telecommunications Numbering Plan 2015: +61 8 9162 and 9164"),
    Territories("DK", ("FO", "GL"), "Constitution of Denmark, section 1; home rule acts of 1948 and 2009"),
    Territories("FI", ("AX",), "Traficom, regulation 32 on numbering: area code 018 under +358"),
    Territories(
        "FR",
        ("BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "WF", "YT"),
        "Constitution of France, articles 72-3, 73, 74, 76",
    ),
    Territories("GB", ("GG", "IM", "JE"), "Ofcom, National Telephone Numbering Plan: 01481, 01624, 01534 under +44"),
    Territories("IT", ("VA",), "AGCOM, piano di numerazione nazionale: 06 698 under +39"),
    Territories("MA", ("EH",), "ANRT, plan national de numérotation: 05288, 05289 under +212"),
    Territories("NL", ("AW", "BQ", "CW", "SX"), "Charter for the Kingdom of the Netherlands, article 1"),
    Territories("NO", ("SJ",), "Nkom, nummerplan: 79 under +47; Svalbard Act of 1925, section 1"),
    Territories("SH", ("TA",), "ITU-T operational bulletin: +290 8 of Saint Helena's plan"),
    Territories("US", ("AS", "GU", "MP", "PR", "VI"), "NANPA, area codes of the territories of the United States"),
)
_TERRITORIES = {entry.country: entry.codes for entry in TERRITORIES}


def with_territories(country: str) -> tuple[str, ...]:
    """Return a country and its territories, itself first."""
    return (country, *_TERRITORIES.get(country, ()))


@lru_cache(maxsize=256)
def _zones_that_agree(country: str, year: int) -> str | None:
    zones: list[str] = get_global("territory_zones").get(country, [])
    offsets = {tuple(datetime(year, month, 1, tzinfo=ZoneInfo(zone)).utcoffset() for month in (1, 7)) for zone in zones}
    return zones[0] if len(offsets) == 1 else None


def single_zone(country: str) -> str | None:
    """The time zone of a country all whose clocks agree, in winter and in summer; None for any other."""
    return _zones_that_agree(country, utcnow().year)

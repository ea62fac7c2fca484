"""The ways in which people write a telephone number on a card, for a search that compares spellings."""

import re
from collections.abc import Collection, Iterator

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat

# What is dialled before the code of another country: in most of the world, in North America, in Russia.
_ABROAD = ("00", "011", "810")
_AREA_AND_REST = re.compile(r"(\d+)[ -]?(.*)")


def spellings_of(e164: str, countries: Collection[str]) -> list[str]:
    """List the usual spellings of a number, the likeliest first and each once.

    Beside its full form, with and without plus sign, only those that mean this number in one of ``countries``
    (ISO 3166), where the cards are written: elsewhere the same digits are somebody else's.
    """
    number = phonenumbers.parse(e164)
    usual = [text for text in _spellings(number) if any(_means(text, number, country) for country in countries)]
    return list(dict.fromkeys([e164, e164.removeprefix("+"), *usual, *_full_spellings(number)]))


def _means(text: str, number: PhoneNumber, country: str) -> bool:
    try:
        return bool(phonenumbers.parse(text, country) == number)
    except NumberParseException:
        return False


def _full_spellings(number: PhoneNumber) -> Iterator[str]:
    """Spell a number with its country, in ways that mean the same everywhere."""
    code, trunk, area, rest = _parts(number)
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    yield from (international, f"+{code} ({area}) {rest}", f"+{code}({area}){rest}")
    if trunk == "0":
        # As in +44 (0)20: people add the zero for callers inside the country.
        yield from (f"+{code}0{area}{rest}", f"+{code} (0){area} {rest}")
    yield from (international.replace("-", " "), international.replace(" ", "-"))


def _spellings(number: PhoneNumber) -> Iterator[str]:
    """Spell a number as people in its country do, and as those who dial it from another one."""
    code, trunk, area, rest = _parts(number)
    own = phonenumbers.national_significant_number(number)
    yield from (f"{trunk}{own}", own, phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))
    yield from (f"({area}) {rest}", f"{area} {rest}", f"{trunk}({area}){rest}")
    yield from (f"{trunk} {area} {rest}".strip(), f"{trunk}-{area}-{rest}".strip("-"))
    yield from (f"{abroad}{code}{own}" for abroad in _ABROAD)


def _parts(number: PhoneNumber) -> tuple[str, str, str, str]:
    """Return the code of the country, what is dialled before an area inside it, the area, and the rest as grouped."""
    code = str(number.country_code)
    region = phonenumbers.region_code_for_number(number) or ""
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    groups = _AREA_AND_REST.fullmatch(international.removeprefix(f"+{code} "))
    area, rest = groups.groups() if groups else (phonenumbers.national_significant_number(number), "")
    return code, phonenumbers.ndd_prefix_for_region(region, True) or "", area, rest

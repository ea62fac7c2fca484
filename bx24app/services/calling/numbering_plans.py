"""The numbering plans of the world: whether digits are a number, of which country, and of which kind."""

import re
from dataclasses import dataclass

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberFormat

# Its name is private, but it is how the library itself judges whether digits in a text are a whole number.
from phonenumbers.phonenumbermatcher import _is_national_prefix_present_if_required

from bx24app.services.calling.costly_numbers import costly_range, is_costly

# Longer ones are no number of any plan (ITU-T E.164: 15 digits), whatever stands before them.
MAX_DIGITS = 24


@dataclass(frozen=True)
class Obsolete:
    """How numbers of a country are still written, although its plan has changed."""

    old: re.Pattern[str]
    new: str
    source: str


OBSOLETE = (
    # Messengers and address books keep the 1 of mobile numbers, and people the prefixes of 2019.
    Obsolete(re.compile(r"\+52(?:1|01|02|044|045)(\d{10})"), r"+52\1", "IFT Mexico, Plan Nacional de Numeración, 2019"),
    Obsolete(re.compile(r"\+229([2-9]\d{7})"), r"+22901\1", "ARCEP Bénin, plan of 2024-11-30"),
)


@dataclass(frozen=True)
class Number:
    """A number that exists in a plan, or that belongs to a costly range.

    ``is_whole``: it was written as complete numbers are, with its national or international prefix where one is needed.
    """

    e164: str
    country: str | None
    calling_code: str
    is_whole: bool
    is_costly: bool


def read_world(digits: str, home: str | None) -> Number | None:
    """Read digits that begin with a calling code; ``home`` decides between countries that share one."""
    return _read("+" + digits, home)


def read_home(digits: str, home: str | None) -> Number | None:
    """Read digits as people dial them in ``home``: national numbers, also with the prefix for other countries."""
    return _read(digits, home) if home else None


def trunk_prefix(country: str | None) -> str:
    """Return what precedes national numbers when they are dialled at home; empty: nothing."""
    metadata = PhoneMetadata.metadata_for_region(country, None) if country else None
    return (metadata.national_prefix or "") if metadata else ""


def international_beginning(digits: str, home: str | None) -> str:
    """Return how numbers begin in E.164, without the plus, that begin with these digits at home; empty without one."""
    code = phonenumbers.country_code_for_region(home) if home else 0
    trunk = trunk_prefix(home)
    return f"{code}{digits.removeprefix(trunk)}" if code else ""


def _read(text: str, home: str | None) -> Number | None:
    if len(text) > MAX_DIGITS:
        return None
    number = _parse(text, home)
    if number is None:
        return None
    region = phonenumbers.region_code_for_number(number)
    is_valid = region is not None and phonenumbers.is_valid_number_for_region(number, region)
    if not is_valid and costly_range(number) is None:
        renewed = _renewed(number)
        return _read(renewed, home) if renewed else None
    if is_valid and region != home and home and phonenumbers.is_valid_number_for_region(number, home):
        # Valid in several countries of one calling code.
        region = home
    return Number(
        e164=_e164(number),
        country=region,
        calling_code=str(number.country_code),
        is_whole=text.startswith("+") or _is_national_prefix_present_if_required(number),
        is_costly=is_costly(number),
    )


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parse(text: str, home: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, home, keep_raw_input=True)
    except NumberParseException:
        return None


def _renewed(number: PhoneNumber) -> str | None:
    """Return the present form of a number in an obsolete one; None: it is in none."""
    e164 = _e164(number)
    return next((form.old.sub(form.new, e164) for form in OBSOLETE if form.old.fullmatch(e164)), None)

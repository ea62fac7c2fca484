"""Telephone numbers: read what people type and write it as E.164, by the rules of Google's libphonenumber."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat

from bx24app.errors import InvalidNumber, NumberNotAllowed
from bx24app.services.calling.costly_numbers import costly_range, is_costly

MAX_NUMBER_LENGTH = 64


def _parse(text: str, country: str | None) -> PhoneNumber:
    if len(text) > MAX_NUMBER_LENGTH:
        raise InvalidNumber("to_number")
    try:
        number = phonenumbers.parse(text, country)
    except NumberParseException:
        raise InvalidNumber("to_number") from None
    if costly_range(number) is not None:
        raise NumberNotAllowed("to_number")
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise InvalidNumber("to_number")
    return number


def normalize(text: str, country: str | None) -> str:
    """Turn a typed number into E.164; national numbers are read as those of ``country`` (ISO 3166).

    Raises ``InvalidNumber``, also for one with an extension (the portal cannot dial it), and ``NumberNotAllowed``
    for premium, shared-cost, personal, pager, voicemail and satellite numbers.
    """
    number = _parse(text, country)
    if is_costly(number):
        raise NumberNotAllowed("to_number")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


@dataclass(frozen=True)
class ParsedNumber:
    """A number that a visitor typed, as it was read; ``e164`` None: it cannot be dialled."""

    e164: str | None = None
    country: str | None = None
    is_costly: bool = False
    # The number is so short that it can only be an emergency or service number.
    is_short: bool = False


SHORT_DIGITS = 6
# People put these between digits, beside white space; a plus sign may stand only at the beginning.
_SEPARATORS = frozenset("().-‐‑‒–—−/（）．－")
_PLUS = frozenset("+＋")


# The cache helps because one request reads its number more than once.
@lru_cache(maxsize=64)
def parse_number(text: str, country: str | None) -> ParsedNumber:
    """Read what a visitor typed: digits of any script, separators and a plus sign, but no letters or extensions."""
    cleaned = _cleaned(text)
    if cleaned is None:
        return ParsedNumber()
    if len(cleaned.lstrip("+")) <= SHORT_DIGITS:
        return ParsedNumber(is_short=True)
    try:
        number = phonenumbers.parse(cleaned, country)
    except NumberParseException:
        return ParsedNumber()
    if costly_range(number) is not None:
        return ParsedNumber(phonenumbers.format_number(number, PhoneNumberFormat.E164), None, is_costly=True)
    region = phonenumbers.region_code_for_number(number)
    if region is None or not phonenumbers.is_valid_number_for_region(number, region):
        return ParsedNumber()
    return ParsedNumber(phonenumbers.format_number(number, PhoneNumberFormat.E164), region, is_costly(number))


def _cleaned(text: str) -> str | None:
    """Reduce a number to ASCII digits, perhaps with a plus sign in front; None for any other text."""
    if len(text) > MAX_NUMBER_LENGTH:
        return None
    cleaned = ""
    for char in text.strip():
        digit = unicodedata.decimal(char, None)
        if digit is not None:
            cleaned += str(digit)
        elif char in _PLUS and not cleaned:
            cleaned = "+"
        elif not (char.isspace() or char in _SEPARATORS or unicodedata.category(char) == "Cf"):
            return None
    return cleaned if cleaned.strip("+") else None


def digits(text: str) -> str:
    """Keep only the digits, because the portal writes numbers with and without a plus sign."""
    return "".join(filter(str.isdigit, text))

"""Telephone numbers: from what people type to E.164, by Google's rules."""

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from bx24app.errors import InvalidNumber, NumberNotAllowed

MAX_LENGTH = 64
# Never dialled: they cost the company money or reach nobody who asked.
REFUSED_TYPES = frozenset(
    {
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
    }
)
SATELLITE_CODES = frozenset({870, 881, 882, 883})
_ZONES = {
    "br": "BR",
    "de": "DE",
    "es": "ES",
    "eu": "",
    "fr": "FR",
    "in": "IN",
    "it": "IT",
    "jp": "JP",
    "kz": "KZ",
}
_ZONES |= {
    "by": "BY",
    "mx": "MX",
    "pl": "PL",
    "ru": "RU",
    "tr": "TR",
    "ua": "UA",
    "uk": "GB",
    "vn": "VN",
    "id": "ID",
}
_LANGUAGES = {"ru": "RU", "de": "DE", "fr": "FR", "it": "IT", "pl": "PL", "ua": "UA", "tr": "TR", "br": "BR"}
_LANGUAGES |= {"kz": "KZ", "vn": "VN", "ja": "JP", "id": "ID", "th": "TH", "in": "IN"}


def guess_country(domain: str, language: str) -> str | None:
    """The country whose national numbers a portal most likely writes, by its domain's zone or its language."""
    zone = domain.partition(":")[0].rpartition(".")[2].lower()
    return _ZONES.get(zone) or _LANGUAGES.get(language.lower())


def _parse(text: str, country: str | None) -> PhoneNumber:
    if len(text) > MAX_LENGTH:
        raise InvalidNumber("to_number")
    try:
        number = phonenumbers.parse(text, country)
    except NumberParseException:
        raise InvalidNumber("to_number") from None
    if not phonenumbers.is_valid_number(number) or number.extension:
        raise InvalidNumber("to_number")
    return number


def normalize(text: str, country: str | None) -> str:
    """Turn a typed number into E.164; ``country`` (ISO 3166) reads national forms.

    Raises ``InvalidNumber``, also for one with an extension (the portal cannot dial it), and ``NumberNotAllowed``
    for premium, shared-cost, voicemail and satellite numbers.
    """
    number = _parse(text, country)
    if phonenumbers.number_type(number) in REFUSED_TYPES or number.country_code in SATELLITE_CODES:
        raise NumberNotAllowed("to_number")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def display(e164: str) -> str:
    """Write an E.164 number for people: ``+49 30 1234567``."""
    try:
        return phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.INTERNATIONAL)
    except NumberParseException:
        return e164


def digits(text: str) -> str:
    """Only the digits: the portal writes numbers with and without a plus sign."""
    return "".join(filter(str.isdigit, text))

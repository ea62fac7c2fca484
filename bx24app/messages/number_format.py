"""Telephone numbers as people write them."""

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat


def display_number(e164: str) -> str:
    """Write an E.164 number for people: ``+49 30 1234567``."""
    try:
        return phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.INTERNATIONAL)
    except NumberParseException:
        return e164

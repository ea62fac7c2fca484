"""Telephone numbers for people: how they are written, of which country they are, and what was left out of them."""

import phonenumbers
from flask_babel import get_locale
from flask_babel import gettext as _
from phonenumbers import NumberParseException, PhoneNumberFormat

from bx24app.messages.reasons import reason_sentence
from bx24app.services.calling.phone_numbers import NumberProblem, ReadNumber


def display_number(e164: str) -> str:
    """Write an E.164 number for people: ``+49 30 1234567``."""
    try:
        return phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.INTERNATIONAL)
    except NumberParseException:
        return e164


def country_name(code: str) -> str:
    """Return a country's name in the reader's language."""
    locale = get_locale()
    return str(locale.territories.get(code, code)) if locale else code


def number_problem(read: ReadNumber) -> str | None:
    """Return a sentence about why a number cannot be dialled; None: it can."""
    if read.can_be_dialled:
        return None
    costly = read.problem == NumberProblem.COSTLY
    return reason_sentence("number_not_allowed" if costly else f"number_{read.problem}")


def number_notices(read: ReadNumber, home: str | None) -> list[str]:
    """Tell what somebody should know about a number before it is dialled.

    That is the country, where it is not ``home`` or a territory of it, and an extension, which cannot be dialled.
    """
    notices = []
    if read.country and read.is_abroad(home):
        notices.append(str(_("This is a number of %(country)s.", country=country_name(read.country))))
    return notices + extension_notices(read.extension)


def extension_notices(extension: str) -> list[str]:
    """Tell that an extension is not dialled; empty when there is none."""
    if not extension:
        return []
    return [str(_("The extension %(extension)s is not called: only the main number is.", extension=extension))]

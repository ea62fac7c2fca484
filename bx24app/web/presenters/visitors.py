"""What a website's visitors read: times and states in plain words, without anything internal."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

import phonenumbers
from babel.dates import format_skeleton, format_time, get_timezone_name
from flask_babel import get_locale, ngettext
from flask_babel import gettext as _
from phonenumbers import PhoneNumberFormat

from bx24app.models import FINAL, Form, State
from bx24app.services.websites.status_page import RequestStatus
from bx24app.services.websites.submission import Submission
from bx24app.web.moments import iso


@dataclass(frozen=True)
class Slot:
    """A time to choose: ``value`` is sent, ``label`` is read: a closed list shows it without its day above it."""

    value: str
    label: str


@dataclass(frozen=True)
class SlotDay:
    """The times of one day."""

    label: str
    slots: list[Slot]


@dataclass(frozen=True)
class ShownZone:
    """The zone in which the server writes times; a script writes them anew in the visitor's."""

    id: str
    name: str


@dataclass(frozen=True)
class HostedForm:
    """What the hosted form shows beside the form's own settings."""

    is_open: bool
    heading: str
    waiting: str
    button: str
    consent: str | None
    example: str
    days: list[SlotDay]
    zone: ShownZone


def hosted_form(case: Submission, minutes: int | None, slots: Iterable[datetime]) -> HostedForm:
    """The hosted form as it is now: a call comes within ``minutes`` (None: it is closed), or in one of ``slots``."""
    zone, words = case.hours.zone, own_words(case.form)
    return HostedForm(
        is_open=minutes is not None,
        heading=words["heading"],
        # A sentence of the administrator's promises what only somebody who is there can keep.
        waiting=_closed() if minutes is None else case.form.own_text(_language(), "sentence") or _waiting(minutes),
        button=words["button"],
        consent=case.form.consent_in(_language()),
        example=_example(case.country),
        days=days(slots, zone),
        zone=zone_of(zone),
    )


def own_words(form: Form) -> dict[str, str]:
    """Heading and button of a form in the reader's language: the administrator's, else ours."""
    return {name: form.own_text(_language(), name) or words for name, words in our_words().items()}


def our_words() -> dict[str, str]:
    """What stands in a form whose administrator has written nothing, in the reader's language."""
    return {"heading": _("We'll call you back"), "sentence": _waiting(5), "button": _("Call me back"), "thanks": ""}


def _language() -> str:
    return str(get_locale())


def _example(country: str | None) -> str:
    """How a number is written, where the form's callers live."""
    number = phonenumbers.example_number(country) if country else None
    return phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL) if number else "+49 30 901820"


def _waiting(minutes: int) -> str:
    return str(
        ngettext(
            "We'll call within about %(num)s minute.",
            "We'll call within about %(num)s minutes.",
            minutes,
        )
    )


def _closed() -> str:
    return str(_("We're closed now. Choose a time."))


# How a state looks: the colour of its dot.
_LOOKS = {
    "scheduled": "waiting",
    "queued": "ringing",
    "dialling": "ringing",
    "started": "ringing",
    "answered": "ringing",
    "completed": "done",
    "cancelled": "",
}


@dataclass(frozen=True)
class FollowedRequest:
    """A request's status as its customer reads it; ``at`` None: no time is awaited."""

    label: str
    look: str
    thanks: str
    at: str | None
    at_words: str
    chosen: str
    days: list[SlotDay]
    zone: ShownZone
    is_waiting: bool
    is_over: bool


def follow_request(status: RequestStatus, label: str, zone: str) -> FollowedRequest:
    """A status for the customer's page; ``label`` is its state in words."""
    at = status.expected_at if status.state == State.SCHEDULED else None
    return FollowedRequest(
        label=label,
        look=_LOOKS.get(status.state, "bad"),
        thanks=status.opened.form.own_text(_language(), "thanks") if status.is_waiting else "",
        at=iso(at) if at else None,
        at_words=written(at, zone) if at else "",
        chosen=iso(status.scheduled_at) if status.scheduled_at else "",
        days=days(status.slots, zone),
        zone=zone_of(zone),
        is_waiting=status.is_waiting,
        is_over=status.state in FINAL,
    )


def zone_of(name: str) -> ShownZone:
    """A zone by its name, in words."""
    return ShownZone(name, name if name == "UTC" else get_timezone_name(name, locale=get_locale()))


def days(slots: Iterable[datetime], zone: str) -> list[SlotDay]:
    """Times to choose, under their days in the company's zone."""
    found = [at.astimezone(ZoneInfo(zone)) for at in slots]
    return [SlotDay(_day(day[0]), [Slot(iso(at), written(at, zone)) for at in day]) for day in _by_day(found)]


def written(at: datetime, zone: str) -> str:
    """A moment in the company's zone, in words."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{_day(local)}, {_clock(local.time().replace(second=0, microsecond=0), str(get_locale()))}"


def _by_day(found: list[datetime]) -> list[list[datetime]]:
    return [list(times) for _day, times in groupby(found, key=datetime.date)]


def _day(at: datetime) -> str:
    return _day_words(at.date(), str(get_locale()))


# A form offers dozens of times, of a few days and mostly the same hours: writing them was a third of showing it.
@lru_cache(maxsize=1000)
def _day_words(day: date, language: str) -> str:
    return str(format_skeleton("MMMEd", datetime.combine(day, time()), locale=language))


@lru_cache(maxsize=1000)
def _clock(at: time, language: str) -> str:
    return str(format_time(at, "short", locale=language))

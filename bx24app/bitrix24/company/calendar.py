"""The company's calendar: when people work. Docs: api-reference/calendar/calendar-settings-get.md."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import PortalClient

MAX_CALENDAR_DAYS = 60
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_HOUR = re.compile(r"([01]?[0-9]|2[0-3]|24(?=$|.00))(?:[.:]([0-5][0-9])(?::00)?)?")
_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})(?:\.\d{2,4})?")
# February has its 29th in this year.
_LEAP_YEAR = 2024


@dataclass(frozen=True)
class CompanyCalendar:
    """Times as ``09:00`` (``24:00`` ends a day), weekdays from 0, which is Monday, and days as (month, day).

    The portal tells no time zone. ``closed`` are days of every year.
    """

    opens: str
    closes: str
    weekdays: tuple[int, ...]
    closed: tuple[tuple[int, int], ...]


def get_calendar(client: PortalClient) -> CompanyCalendar | None:
    """Ask for the calendar; None where it says no hours that could be meant. Raises ``ExchangeError``."""
    return read_calendar(client.invoke("calendar.settings.get"))


def read_calendar(said: Json) -> CompanyCalendar | None:
    """Read what the portal says: what cannot be understood is left out, and without hours nothing is."""
    fields = as_object(said)
    opens, closes = _clock(fields.get("work_time_start")), _clock(fields.get("work_time_end"))
    if closes == "00:00":
        closes = "24:00"
    free = {word.upper() for word in _words(fields.get("week_holidays"))}
    weekdays = tuple(number for number, day in enumerate(_DAYS) if day not in free)
    if not opens or not closes or opens >= closes or not weekdays:
        return None
    days = sorted(set(_days(fields.get("year_holidays"))))[:MAX_CALENDAR_DAYS]
    return CompanyCalendar(opens, closes, weekdays, tuple(days))


def _clock(value: Json) -> str:
    """``9``, ``9.30`` and ``09:30`` are times of a day; empty for anything else."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    match = _HOUR.fullmatch(text) if text.isascii() else None
    if match is None:
        return ""
    return f"{int(match[1]):02}:{match[2] or '00'}"


def _words(value: Json) -> list[str]:
    """Words in a text or in a list; PHP writes a list with gaps as an object."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    texts = [part for part in parts[:400] if isinstance(part, str)]
    return [word for text in texts for word in re.split(r"[^0-9A-Za-z.]+", text[:4000]) if word]


def _days(value: Json) -> Iterator[tuple[int, int]]:
    for word in _words(value):
        match = _DAY.fullmatch(word)
        if match is None:
            continue
        try:
            day = date(_LEAP_YEAR, int(match[2]), int(match[1]))
        except ValueError:
            continue
        yield day.month, day.day

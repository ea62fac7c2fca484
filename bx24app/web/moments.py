"""Moments as others write them, and as the API writes them."""

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime

from bx24app.inputs import AlsoWritten, JsonSchema, bare

# Seconds of Unix between 2001 and 2096; a thousand times as much are milliseconds.
_EARLIEST, _LATEST = 10**9, 4 * 10**9
# In the first and the last year of the calendar the days around a moment may lie outside of it, in one zone or another.
_FIRST_YEAR, _LAST_YEAR = MINYEAR + 1, MAXYEAR - 1
_UNIX = re.compile(r"\d{10}|\d{13}", re.ASCII)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
# "Tue, 01 Dec 2026 09:00:00 GMT" of mail and HTTP, "Tue Dec 01 2026 10:00:00 GMT+0100 (...)" of JavaScript.
_IN_WORDS = re.compile(
    r"(?:[A-Z][a-z]{2},? )?"
    r"(?:(?P<day>\d{1,2}) (?P<month>[A-Z][a-z]{2})|(?P<us_month>[A-Z][a-z]{2}) (?P<us_day>\d{1,2}))"
    r" (?P<year>\d{4}) (?P<time>\d{2}:\d{2}(?::\d{2})?) (?P<zone>GMT|UTC|Z|(?:GMT|UTC)?[+-]\d{2}:?\d{2})(?: \(.*\))?",
    re.ASCII,
)
# Behind a time: the plus that an address has lost, a space before the offset, and the zone's name beside it.
_TAIL = re.compile(
    r"(?<=:\d\d)(?P<rest>(?::\d\d(?:[.,]\d+)?)?) ?(?P<sign>[+ -])(?P<offset>\d\d:?\d\d)(?: [A-Z]{3,5})?$"
)
_ZONE_NAME = re.compile(r"\[[\w/+-]+\]$")


def read_moment(written: object) -> datetime | None:
    """Read a moment with its offset from UTC, as programs write it; None: it is none, or it lacks the offset."""
    try:
        moment = _moment(written)
        if moment is None or moment.tzinfo is None:
            return None
        utc = moment.astimezone(UTC)
        return utc if _FIRST_YEAR <= utc.year <= _LAST_YEAR else None
    except (ValueError, OverflowError):
        return None


def _moment(written: object) -> datetime | None:
    if isinstance(written, datetime):
        return written
    if isinstance(written, int | float) and not isinstance(written, bool):
        written = str(int(written)) if written == int(written) else ""
    if not isinstance(written, str):
        return None
    text = bare(written).replace("\u2212", "-")
    if _UNIX.fullmatch(text):
        seconds = int(text) / (1 if int(text) < 10**12 else 1000)
        return datetime.fromtimestamp(seconds, UTC) if _EARLIEST <= seconds <= _LATEST else None
    found = _IN_WORDS.fullmatch(text)
    return _in_words(found) if found else datetime.fromisoformat(_usual(text))


def _in_words(found: re.Match[str]) -> datetime:
    place = _MONTHS.index(found["month"] or found["us_month"])
    zone = re.sub("GMT|UTC", "", found["zone"]) or "Z"
    day = int(found["day"] or found["us_day"])
    return datetime.fromisoformat(f"{found['year']}-{place // 3 + 1:02}-{day:02}T{found['time']}{zone}")


def _usual(text: str) -> str:
    text = _ZONE_NAME.sub("", text).upper()
    text = re.sub(r"(?<=:\d\d) (UTC|GMT)$", "Z", text)
    return _TAIL.sub(lambda tail: f"{tail['rest']}{tail['sign'].replace(' ', '+')}{tail['offset']}", text)


def _read(written: object) -> object:
    moment = read_moment(written)
    if moment is None:
        raise ValueError("a moment with its offset from UTC, such as 2026-12-01T09:00:00Z")
    return moment


_UNIX_SECONDS: JsonSchema = {"type": "integer", "minimum": _EARLIEST, "maximum": _LATEST}
UtcMoment = Annotated[AwareDatetime, AlsoWritten(_read, (_UNIX_SECONDS,))]


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z")

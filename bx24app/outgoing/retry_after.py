"""How long the other side of an exchange asks us to wait (RFC 9110, 10.2.3), whatever it writes there."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import requests

# A header that asks for more was written by mistake.
LONGEST_WAIT = timedelta(hours=2)
_SECONDS = re.compile(r"[0-9]{1,200}(\.[0-9]*)?")
MAX_HEADERS, MAX_HEADER = 8, 200


def asked_wait(response: requests.Response, now: datetime) -> timedelta | None:
    """Read ``Retry-After``, in seconds or as a date; None when nothing in it says how long, or it is over.

    The longest of several counts, ``LONGEST_WAIT`` at most. A date is compared with the ``Date`` of the same answer,
    because the other side's clock may be wrong.
    """
    values = response.raw.headers.getlist("Retry-After")[:MAX_HEADERS]
    theirs = _moment(response.headers.get("Date", "")) or now
    waits = [wait for value in values for wait in _waits(value[:MAX_HEADER], theirs)]
    longest = max(waits, default=timedelta())
    return min(longest, LONGEST_WAIT) if longest > timedelta() else None


def _waits(value: str, theirs: datetime) -> Iterator[timedelta]:
    # A proxy joins several headers with commas; a date is still read without the day before its comma.
    for part in value.split(","):
        if _SECONDS.fullmatch(part.strip()):
            yield timedelta(seconds=min(float(part), LONGEST_WAIT.total_seconds()))
        elif (moment := _moment(part)) is not None:
            yield moment - theirs


def _moment(text: str) -> datetime | None:
    """Read a date of HTTP or ISO 8601; one without a zone is in UTC, as HTTP has it."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text.strip())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None

"""The times at which staff may plan a call, as moments: a day of the company in steps of a quarter of an hour."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bx24app.services.calling.business_hours import Hours

STEP = timedelta(minutes=15)
DAYS_OFFERED = 7
FURTHEST_DAY = timedelta(days=365)
MORNING = time(9)
# Beginnings of opening times alone, and no times between them.
_ONLY_BEGINNINGS = 24 * 60


@dataclass(frozen=True)
class CallTime:
    """One time to choose (UTC); ``is_open``: it lies inside the working hours, or there are none."""

    at: datetime
    is_open: bool


@dataclass(frozen=True)
class OfferedTimes:
    """What is offered on one day of the company: ``times`` that are still to come, and which of them is chosen first.

    ``opening`` is when the company opens next, ``tomorrow`` 09:00 of the next day; both are moments (UTC).
    """

    zone: str
    days: tuple[date, ...]
    day: date
    times: tuple[CallTime, ...]
    chosen: datetime | None
    opening: datetime | None
    tomorrow: datetime

    @property
    def last_day(self) -> date:
        """The last day that may be chosen."""
        return self.days[0] + FURTHEST_DAY


def offer_times(hours: Hours | None, zone: str, now: datetime, day: date | None = None) -> OfferedTimes | None:
    """Offer the times of a day; None: the day is past, or too far away.

    Without a day it is the first on which the company is open, a quarter of an hour from now or later.
    """
    here = ZoneInfo(zone)
    today = now.astimezone(here).date()
    first = now + STEP
    if day is None:
        first = (hours.next_open(first) if hours else None) or first
        day = moment_up(first).astimezone(here).date()
    if not today <= day <= today + FURTHEST_DAY:
        return None
    times = tuple(CallTime(at, hours is None or hours.is_open(at)) for at in quarters(day, here) if at > now)
    return OfferedTimes(
        zone=zone,
        days=tuple(today + timedelta(days=number) for number in range(DAYS_OFFERED)),
        day=day,
        times=times,
        chosen=_chosen(times, max(first, _moment(day, MORNING, here)) if hours is None else first),
        opening=next(iter(hours.slots(now, 1, _ONLY_BEGINNINGS)), None) if hours else None,
        tomorrow=_moment(today + timedelta(days=1), MORNING, here),
    )


def quarters(day: date, zone: ZoneInfo) -> list[datetime]:
    """List the quarters of an hour of a day (UTC): 92 or 100 where the clock is changed by an hour on that day."""
    begin, end = _moment(day, time(), zone), _moment(day + timedelta(days=1), time(), zone)
    return [begin + number * STEP for number in range(int((end - begin) / STEP))]


def moment_up(at: datetime) -> datetime:
    """Return the next full quarter of an hour, or the moment itself where it is one."""
    past = at - at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
    return at if not past else at - past + STEP


def _moment(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


def _chosen(times: tuple[CallTime, ...], first: datetime) -> datetime | None:
    """The first open time from ``first`` on, else the first one from then on, else any."""
    later = [time for time in times if time.at >= first]
    found = next((time for time in later if time.is_open), None) or next(iter(later or times), None)
    return found.at if found else None

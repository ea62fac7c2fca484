"""Periods by their names, and those of a list: whole days of the company's zone."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from bx24app.errors import ListRefused
from bx24app.models import utcnow
from bx24app.services.callbacks.listing.company_day import day_begins

ONE_DAY = timedelta(days=1)
FIRST_YEAR, LAST_YEAR = 2000, 2999


class PeriodName(StrEnum):
    """The periods that have a name; those of some days end with today."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "7_days"
    MONTH = "30_days"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"


class ListPeriod(StrEnum):
    """When callbacks were asked for: a period by its name, ``BETWEEN`` days of one's own, or at any time."""

    TODAY = PeriodName.TODAY
    YESTERDAY = PeriodName.YESTERDAY
    WEEK = PeriodName.WEEK
    MONTH = PeriodName.MONTH
    THIS_MONTH = PeriodName.THIS_MONTH
    LAST_MONTH = PeriodName.LAST_MONTH
    BETWEEN = "between"
    ALL = "all"


def named_days(name: PeriodName, today: date) -> tuple[date, date]:
    """The first and the last day of a period."""
    first_of_month = today.replace(day=1)
    return {
        PeriodName.TODAY: (today, today),
        PeriodName.YESTERDAY: (today - ONE_DAY, today - ONE_DAY),
        PeriodName.WEEK: (today - 6 * ONE_DAY, today),
        PeriodName.MONTH: (today - 29 * ONE_DAY, today),
        PeriodName.THIS_MONTH: (first_of_month, today),
        PeriodName.LAST_MONTH: ((first_of_month - ONE_DAY).replace(day=1), first_of_month - ONE_DAY),
    }[name]


@dataclass(frozen=True)
class ChosenDays:
    """A period, with its days where it is ``BETWEEN``; either of them may be left out."""

    name: ListPeriod = ListPeriod.ALL
    first: date | None = None
    last: date | None = None

    def moments(self, zone: str) -> tuple[datetime | None, datetime | None]:
        """When it begins and ends (UTC), None where it is open; raises ``ListRefused``."""
        first, last = self._days(utcnow().astimezone(ZoneInfo(zone)).date())
        for field, day in (("from", first), ("to", last)):
            if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
                raise ListRefused(field, "report_day")
        begins = day_begins(first, zone) if first else None
        return begins, day_begins(last + ONE_DAY, zone) if last else None

    def _days(self, today: date) -> tuple[date | None, date | None]:
        if self.name is ListPeriod.ALL:
            return None, None
        return (self.first, self.last) if self.name is ListPeriod.BETWEEN else named_days(PeriodName(self.name), today)

"""Working hours as the company's own calendar says them: a proposal for our hours, and never more than that."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from bx24app.bitrix24.company.calendar import CompanyCalendar, get_calendar
from bx24app.errors import Refusal
from bx24app.models import Portal
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling.business_hours import DAYS, Hours
from bx24app.services.calling.public_holidays import is_holiday
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal

CALENDAR_SCOPE = "calendar"
FEBRUARY_29 = (2, 29)


@dataclass(frozen=True)
class ProposedHours:
    """What the calendar says, and the days of the coming year on which it closes besides public holidays."""

    calendar: CompanyCalendar
    week: dict[str, list[tuple[str, str]]]
    closed: list[date]


def propose_hours(portal: Portal, user_id: int, today: date) -> ProposedHours | None:
    """Ask the company's calendar under an administrator's own access; None where it has nothing new to say.

    A portal that has not granted the scope, which the app does not require, is not asked.
    """
    if CALENDAR_SCOPE not in (portal.granted_scopes or ()):
        return None
    try:
        access = token_renewal.person_access(portal.id, user_id)
        calendar = portal_api.call(access, portal_api.RequestLabel("calendar.settings.get", {}), get_calendar)
    except (ExchangeError, Refusal):
        return None
    hours = Hours.of_stored(portal.settings.hours) if portal.settings.hours else None
    return None if calendar is None else _news(calendar, hours, today)


def _news(calendar: CompanyCalendar, hours: Hours | None, today: date) -> ProposedHours | None:
    week = {DAYS[number]: [(calendar.opens, calendar.closes)] for number in calendar.weekdays}
    region = hours.holidays if hours else ""
    closed = [day for day in _coming(calendar, today) if not is_holiday(region, day)]
    stored = {day: spans for day, spans in hours.week.items() if spans} if hours else {}
    if hours is not None and stored == week and set(closed) <= set(hours.closed):
        return None
    return ProposedHours(calendar, {str(day): spans for day, spans in week.items()}, closed)


def _coming(calendar: CompanyCalendar, today: date) -> Iterator[date]:
    """Each day of every year once, when it comes next; one that the year does not have is left out."""
    days = []
    for month, day in calendar.closed:
        for year in (today.year, today.year + 1):
            is_there = (month, day) != FEBRUARY_29 or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
            if is_there and date(year, month, day) >= today:
                days.append(date(year, month, day))
                break
    yield from sorted(days)

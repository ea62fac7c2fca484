"""What working hours mean now, in words: the proof that they were written as they were meant."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_skeleton, format_time, get_day_names
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.services.calling.business_hours import DAYS, Hours
from bx24app.services.calling.public_holidays import RegionHolidays
from bx24app.services.portals.places.company_calendar import ProposedHours

OPENINGS_SHOWN = 4
A_WEEK = timedelta(days=7)
# Four a day, of a week and a day.
SPANS_READ = 32


@dataclass(frozen=True)
class HoursProof:
    """Whether it is open, the next openings and the next holiday, in the hours' own zone."""

    zone: str
    is_open: bool
    openings: list[str]
    holiday: tuple[str, str] | None


def hours_proof(hours: Hours | None, holidays: RegionHolidays | None, now: datetime) -> HoursProof | None:
    """Make the proof of hours; None where there are none, which is always open."""
    if hours is None:
        return None
    locale = get_locale() or "en"
    coming = holidays.next if holidays else None
    return HoursProof(
        zone=hours.zone,
        is_open=hours.is_open(now),
        openings=[_opening(*span, ZoneInfo(hours.zone)) for span in hours.next_spans(now, OPENINGS_SHOWN)],
        holiday=(format_date(coming.day, "full", locale), coming.name) if coming else None,
    )


def _opening(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    locale = get_locale() or "en"
    begins, ends = start.astimezone(zone), end.astimezone(zone)
    # Midnight at the end belongs to the day before.
    last = (ends - timedelta(microseconds=1)).date()
    clock = [format_time(moment, "short", locale=locale) for moment in (begins, ends)]
    day = format_date(begins.date(), "EEEE, d MMMM", locale)
    return f"{day}: {clock[0]} – {clock[1]}" if last == begins.date() else f"{day}: {clock[0]} – …"


def opening_words(hours: Hours | None, now: datetime) -> str:
    """Whether it is open now, until when, or else when it opens, as short as a row of a list needs it."""
    if hours is None:
        return str(_("Open at any time"))
    spans = hours.next_spans(now, SPANS_READ)
    if not spans:
        return str(_("Closed, with no opening in the next 60 days"))
    start, end = spans[0]
    if start > now:
        return str(_("Closed, opens %(moment)s", moment=_soon(start, now, hours.zone)))
    for begins, ends in spans[1:]:
        # Midnight divides days, not what is open.
        end = ends if begins == end else end
    if end - now > A_WEEK:
        return str(_("Open at any time"))
    return str(_("Open until %(moment)s", moment=_soon(end, now, hours.zone)))


def _soon(moment: datetime, now: datetime, zone: str) -> str:
    """A time, with its day where that is not today's."""
    locale = get_locale() or "en"
    at, today = moment.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    clock = format_time(at, "short", locale=locale)
    # Midnight at the end belongs to the day before.
    if (at - timedelta(microseconds=1)).date() == today:
        return clock
    day = format_date(at, "EEE", locale) if at.date() - today < A_WEEK else format_skeleton("MMMEd", at, locale=locale)
    return f"{day} {clock}"


def short_days() -> list[tuple[str, str]]:
    """The days of the week with their short names, Monday first."""
    names = get_day_names("abbreviated", context="stand-alone", locale=get_locale() or "en")
    return [(code, names[number].capitalize()) for number, code in enumerate(DAYS)]


# Days that are named; of more it is said how many.
DAYS_NAMED = 4


@dataclass(frozen=True)
class ShownProposal:
    """What the company's calendar says, in words, and what the editor of hours is filled with."""

    days: str
    closed: str
    week: dict[str, list[tuple[str, str]]]
    dates: list[str]


def shown_proposal(found: ProposedHours) -> ShownProposal:
    """The hours of the company's calendar as an administrator reads them: Mon – Fri 09:00–19:00."""
    names = dict(short_days())
    clock = f"{found.calendar.opens}–{found.calendar.closes}"
    locale = get_locale() or "en"
    named = [format_skeleton("MMMd", day, locale=locale) for day in found.closed]
    closed = ", ".join(named[:DAYS_NAMED])
    if len(named) > DAYS_NAMED:
        closed = _("%(days)s and %(count)s more", days=closed, count=len(named) - DAYS_NAMED)
    days = ", ".join(_span([names[DAYS[number]] for number in run]) for run in _runs(found.calendar.weekdays))
    return ShownProposal(f"{days} {clock}", str(closed), found.week, [day.isoformat() for day in found.closed])


def _span(days: list[str]) -> str:
    return f"{days[0]} – {days[-1]}" if days[2:] else ", ".join(days)


def _runs(numbers: tuple[int, ...]) -> list[list[int]]:
    """Days that follow one another stand together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs

"""Periods of a report: whole days of a time zone, whatever the clock does in them, and the period to compare with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from bx24app.errors import ListRefused
from bx24app.models import QUARTER_SECONDS, QUARTERS_A_DAY, QUARTERS_AN_HOUR, SPAN_LENGTHS
from bx24app.services.callbacks.listing.company_day import day_begins
from bx24app.services.callbacks.listing.periods import FIRST_YEAR, LAST_YEAR, ONE_DAY, PeriodName, named_days

MAX_DAYS = 366


def slot_at(moment: datetime) -> int:
    """The quarter of an hour that contains a moment."""
    return int(moment.timestamp()) // QUARTER_SECONDS


def moment_of(slot: int) -> datetime:
    """The moment (UTC) at which a quarter of an hour begins."""
    return datetime.fromtimestamp(slot * QUARTER_SECONDS, UTC)


@dataclass(frozen=True)
class QuarterSpan:
    """Quarters of an hour, from ``begin`` to before ``end``, all with the same ``offset`` from UTC in quarters."""

    begin: int
    end: int
    offset: int = 0

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of what its hours are added up from: a zone that is whole hours from UTC has those of UTC."""
        return SPAN_LENGTHS[: 1 if self.offset % QUARTERS_AN_HOUR else 2]

    def whole_days(self) -> "QuarterSpan":
        """The days of UTC that lie in it; it may end before it begins."""
        begin = -(-self.begin // QUARTERS_A_DAY) * QUARTERS_A_DAY
        return replace(self, begin=begin, end=self.end - self.end % QUARTERS_A_DAY)


@dataclass(frozen=True)
class Period:
    """The days from ``first`` to ``last`` of a zone; ``until`` cuts it."""

    first: date
    last: date
    zone: str
    until: datetime | None = None

    @property
    def begins_at(self) -> datetime:
        """Its first moment."""
        return day_begins(self.first, self.zone)

    @property
    def ends_at(self) -> datetime:
        """The moment after its last."""
        end = day_begins(self.last + ONE_DAY, self.zone)
        return end if self.until is None else max(self.begins_at, min(end, self.until))

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    def each_day(self) -> Iterator[date]:
        """Its days, in order."""
        return (self.first + timedelta(days=number) for number in range(self.days))

    def whole(self) -> QuarterSpan:
        """All of it; where it is cut, the quarter of an hour that has begun belongs to it."""
        return QuarterSpan(slot_at(self.begins_at), -(-int(self.ends_at.timestamp()) // QUARTER_SECONDS))

    def before(self, now: datetime) -> "Period":
        """The equal period before, on the same weekdays for 7 and 28 days.

        A period that still runs is compared with as much of the one before, by the clock of the zone.
        """
        length = timedelta(days=self.days)
        until = None
        if self.ends_at > now:
            wall = now.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None) - length
            until = wall.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
        return replace(self, first=self.first - length, last=self.last - length, until=until)

    def spans(self) -> Iterator[QuarterSpan]:
        """Its parts between changes of the clock."""
        zone, whole = ZoneInfo(self.zone), self.whole()
        begin, offset = whole.begin, _offset(whole.begin, zone)
        while begin < whole.end:
            end = _next_change(begin, whole.end, zone)
            yield QuarterSpan(begin, end, offset)
            begin, offset = end, _offset(end, zone)


def _offset(slot: int, zone: ZoneInfo) -> int:
    shift = moment_of(slot).astimezone(zone).utcoffset() or timedelta()
    return int(shift.total_seconds()) // QUARTER_SECONDS


def _next_change(begin: int, end: int, zone: ZoneInfo) -> int:
    """The first quarter of an hour with another offset, else the end; looks at each day, and then closer."""
    offset = _offset(begin, zone)
    for day in range(begin, end, QUARTERS_A_DAY):
        beyond = min(day + QUARTERS_A_DAY, end)
        if _offset(beyond - 1, zone) != offset or _offset(day, zone) != offset:
            return next(slot for slot in range(day, beyond) if _offset(slot, zone) != offset)
    return end


def pieces(span: QuarterSpan, lengths: Sequence[int] = SPAN_LENGTHS) -> Iterator[tuple[int, QuarterSpan]]:
    """Divide a span into whole spans of the longest kept length, and what is left at both ends into shorter ones."""
    *shorter, length = lengths
    first, last = -(-span.begin // length) * length, span.end // length * length
    if first >= last:
        first = last = span.end
    else:
        yield length, QuarterSpan(first, last, span.offset)
    for edge in (QuarterSpan(span.begin, first, span.offset), QuarterSpan(last, span.end, span.offset)):
        if shorter and edge.begin < edge.end:
            yield from pieces(edge, shorter)


def named_period(name: PeriodName, zone: str, now: datetime) -> Period:
    """A period by its name."""
    return Period(*named_days(name, now.astimezone(ZoneInfo(zone)).date()), zone)


def chosen_period(first: date | None, last: date | None, zone: str, now: datetime) -> Period:
    """The days that somebody chose: without a last one until today, without a first one a week.

    Raises ``ListRefused`` for days in the wrong order, too many, or of no year that has callbacks.
    """
    last = last or now.astimezone(ZoneInfo(zone)).date()
    for field, day in (("to", last), ("from", first)):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise ListRefused(field, "report_day")
    first = first or last - 6 * ONE_DAY
    if first > last:
        raise ListRefused("from", "report_order")
    if (last - first).days >= MAX_DAYS:
        raise ListRefused("from", "report_length")
    return Period(first, last, zone)

"""Business hours: whether a time lies inside them, and which times do; they know holidays and daylight saving time."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib import resources
from itertools import islice
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bx24app.inputs import BLANK, SPELLED, AlsoWritten, JsonSchema, TolerantModel, bare, is_nothing
from bx24app.models import Form, Portal
from bx24app.services.calling.countries import country_of_zone
from bx24app.services.calling.public_holidays import check_region, is_holiday

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = "24:00"
OFFICE_DAY = ("09:00", "18:00")
# Hours that do not open within this time count as closed.
FURTHEST_OPENING = timedelta(days=60)


def _zone(name: str) -> str:
    """Return a zone as its list writes it; people write ``europe/berlin``, ``America/New York``."""
    known = _zones().get("_".join(bare(name).split()).casefold())
    if known is None:
        raise ValueError("not a time zone, such as Europe/Berlin")
    return known


@cache
def _zones() -> dict[str, str]:
    """The zones that each machine of the app has, by their folded names: some systems know hundreds more, or fewer."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return {name.casefold(): name for name in names}


def _clock(written: object) -> object:
    found = _WRITTEN_CLOCK.fullmatch(bare(written)) if isinstance(written, str) else None
    return f"{int(found[1]):02}:{found[2]}" if found else written


def _spans(written: object) -> object:
    return [] if is_nothing(written) else written


_WRITTEN_CLOCK = re.compile(r"([0-9]{1,2})[:.]([0-9]{2})(:00)?")
_CLOCKS: JsonSchema = {"type": "string", "pattern": r"^ *([01]?[0-9]|2[0-3])[:.][0-5][0-9](:00)? *$"}
Clock = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"), AlsoWritten(_clock, (_CLOCKS,))]
Spans = Annotated[list[tuple[Clock, Clock]], Field(max_length=4), AlsoWritten(_spans, ({"type": "null"}, BLANK))]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Region = Annotated[str, Field(max_length=16), AfterValidator(check_region)]


class Hours(TolerantModel, BaseModel):
    """The opening times of a week in one zone: ``{"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]]}}``.

    Closed are the days that ``week`` leaves out, the days in ``closed``, and the public holidays of the region
    ``holidays`` (``public_holidays``), "" for none. ``24:00`` is the end of a day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    zone: Zone
    week: dict[Annotated[Weekday, SPELLED], Spans]
    holidays: Region = ""
    closed: Annotated[list[date], Field(max_length=100)] = []

    @model_validator(mode="after")
    def _in_order(self) -> "Hours":
        for spans in self.week.values():
            flat = [clock for span in spans for clock in span]
            if flat != sorted(set(flat)):
                raise ValueError("times of a day must follow one another")
        return self

    @classmethod
    def of_stored(cls, stored: dict[str, Any]) -> "Hours":
        """Read hours that were checked when they were stored, perhaps by another version of the app.

        Names of zones and of parts of countries go out of use: a region that is not known any more has no holidays, and
        of a zone's name counts what is known.
        """
        try:
            return cls.model_validate(stored)
        except ValidationError:
            zone = re.sub("^(right|posix)/", "", str(stored.get("zone")))
            region = known_region(str(stored.get("holidays") or ""))
            return cls.model_validate(stored | {"zone": zone if is_zone(zone) else "UTC", "holidays": region})

    def today(self, at: datetime) -> date:
        """Return the day in the zone of the hours."""
        return at.astimezone(ZoneInfo(self.zone)).date()

    def is_open(self, at: datetime) -> bool:
        """Tell whether a time lies inside the hours."""
        return any(start <= at < end for start, end in self._spans(at))

    def next_open(self, at: datetime) -> datetime | None:
        """Find the first time inside the hours, at ``at`` or later (UTC); None when they do not open for 60 days."""
        return next((max(start, at) for start, end in self._openings(at) if end > at), None)

    def spans_on(self, day: date) -> list[tuple[str, str]]:
        """List the opening times of a day as the clock shows them; none on a closed day and on a holiday."""
        return [] if self._is_closed(day) else list(self.week.get(DAYS[day.weekday()], ()))

    def _is_closed(self, day: date) -> bool:
        return day in self.closed or is_holiday(self.holidays, day)

    def next_spans(self, at: datetime, count: int) -> list[tuple[datetime, datetime]]:
        """List the next ``count`` spans inside the hours that end after ``at``, from beginning to end (UTC)."""
        return list(islice(((start, end) for start, end in self._openings(at) if end > at), count))

    def slots(self, after: datetime, count: int, minutes: int = 30) -> list[datetime]:
        """List the next ``count`` times to offer (UTC), every ``minutes`` from the beginning of each opening time."""
        step = timedelta(minutes=minutes)
        times: list[datetime] = []
        for start, end in self._openings(after):
            moment = start
            while moment < end and len(times) < count:
                if moment > after:
                    times.append(moment)
                moment += step
            if len(times) == count:
                break
        return times

    def _spans(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        yield from self._day(self.today(at))

    def _openings(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        first = self.today(at)
        for number in range(FURTHEST_OPENING.days):
            yield from self._day(first + timedelta(days=number))

    def _day(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        for start, end in self.spans_on(day):
            yield _moment(self.zone, day, start, 0), _moment(self.zone, day, end, 1)


# Every request and every free time asks for the same few days.
@lru_cache(maxsize=4096)
def _moment(zone_name: str, day: date, clock: str, fold: Literal[0, 1]) -> datetime:
    """Turn a local time into UTC.

    A time that the change of the clock skips comes later by that change; of a repeated hour both passes are inside.
    """
    if clock == MIDNIGHT:
        day, clock = day + timedelta(days=1), "00:00"
    zone = ZoneInfo(zone_name)
    moment = datetime.combine(day, time.fromisoformat(clock), zone)
    skipped = moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment.replace(tzinfo=None)
    return moment.replace(fold=0 if skipped else fold).astimezone(UTC)


def working_week(zone: str, country: str | None) -> dict[str, Any]:
    """The hours of most companies as they are stored: Monday to Friday, 9 to 18, with the country's holidays.

    ``country`` None: that of the zone, which may be "" where nobody knows one yet.
    """
    region = known_region(country or country_of_zone(zone))
    return {"zone": zone, "week": {day: [list(OFFICE_DAY)] for day in DAYS[:5]}, "holidays": region, "closed": []}


def known_region(code: str) -> str:
    """Return a region as ``check_region`` does, or "" for one whose holidays nobody knows."""
    try:
        return check_region(code)
    except ValueError:
        return ""


def is_zone(name: str) -> bool:
    """Tell whether there is a time zone of this name."""
    return _zones().get(name.casefold()) == name


def hours_in_force(portal: Portal, form: Form | None = None) -> Hours | None:
    """Return the hours that apply to a callback: those of its form, else the portal's; None means always open."""
    stored = (form.hours if form is not None else None) or portal.settings.hours
    return Hours.of_stored(stored) if stored else None

"""Where the bars of the charts stand: counts in, numbers for the attributes of an SVG out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bx24app.services.reports.figures import DayCounts
from bx24app.services.reports.tally import Tally

# From the bottom of a bar to its top, each with a colour and a pattern of its own (templates/desk/charts.html).
SERIES = ("reached", "nobody_answered", "customer_not_reached", "not_told", "not_called", "under_way")
WIDTHS = {"wide": 480, "narrow": 320}
HEIGHT, TOP, BOTTOM, LEFT = 240, 18, 22, 30
# The room in units of width that a digit above a bar takes, a letter of a date below it, and what is between two texts.
DIGIT_WIDTH, LETTER_WIDTH, TEXT_GAP = 7, 6, 6
GAP = 1
ROUND = (2, 4, 6, 10)
SHADES = 6


@dataclass(frozen=True)
class CountedDays:
    """Some days, both included, and what they count together."""

    first: date
    last: date
    tally: Tally


@dataclass(frozen=True)
class LabelledBar:
    """What a bar shows, and where each of its series leads."""

    label: str
    tally: Tally
    links: Mapping[str, str]


@dataclass(frozen=True)
class Segment:
    """One series of one bar."""

    series: str
    count: int
    link: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One day or week: its place, its parts from below, and the words below it, empty where there is no room."""

    x: float
    width: float
    label: str
    total: int
    top: float
    segments: tuple[Segment, ...]
    has_total: bool


@dataclass(frozen=True)
class StackedBars:
    """A chart of bars; ``grid`` are the heights of its lines with their numbers."""

    name: str
    width: int
    height: int
    left: int
    bars: tuple[Bar, ...]
    grid: tuple[tuple[float, int], ...]


def stacked_bars(name: str, shown: Sequence[LabelledBar]) -> StackedBars:
    """Draw labelled counts; ``name`` is one of ``WIDTHS``."""
    width = WIDTHS[name]
    step = (width - LEFT) / max(1, len(shown))
    highest = max((one.tally.requests for one in shown), default=0)
    most = nice_top(highest)
    scale = (HEIGHT - TOP - BOTTOM) / most
    # Either all bars have their total above them, or none.
    has_totals = step >= DIGIT_WIDTH * len(str(highest)) + TEXT_GAP
    tick = max((len(one.label) for one in shown), default=0) * LETTER_WIDTH + TEXT_GAP
    every = max(1, math.ceil(tick / step))
    bars = []
    for number, one in enumerate(shown):
        segments, total = _segments(one, scale), one.tally.requests
        bars.append(
            Bar(
                x=round(LEFT + number * step + step * 0.12, 2),
                width=round(step * 0.76, 2),
                label=one.label if number % every == 0 else "",
                total=total,
                top=segments[-1].y if segments else HEIGHT - BOTTOM,
                segments=segments,
                has_total=has_totals and total > 0,
            )
        )
    grid = tuple((round(HEIGHT - BOTTOM - value * scale, 2), value) for value in (0, most // 2, most))
    return StackedBars(name, width, HEIGHT, LEFT, tuple(bars), grid)


def _segments(shown: LabelledBar, scale: float) -> tuple[Segment, ...]:
    found: list[Segment] = []
    y = float(HEIGHT - BOTTOM)
    for series in SERIES:
        count: int = getattr(shown.tally, series)
        if count:
            height = count * scale
            y -= height
            # A white gap tells the series apart without colours.
            found.append(
                Segment(series, count, shown.links.get(series, ""), round(y, 2), round(max(0.5, height - GAP), 2))
            )
    return tuple(found)


def nice_top(most: int) -> int:
    """The number at the top of an axis: even, round, and not below ``most``."""
    power = 1
    while ROUND[-1] * power < most:
        power *= 10
    return next(number * power for number in ROUND if number * power >= most)


def weeks_of(days: Sequence[DayCounts]) -> list[CountedDays]:
    """Add up days by week; the first and the last may be shorter."""
    weeks: dict[date, list[DayCounts]] = {}
    for one in days:
        weeks.setdefault(one.day - timedelta(days=one.day.weekday()), []).append(one)
    found = [CountedDays(week[0].day, week[-1].day, Tally()) for week in weeks.values()]
    for total, week in zip(found, weeks.values(), strict=True):
        for one in week:
            total.tally.add(one.tally)
    return found


def shade(part: float) -> int:
    """The shade of a part from 0 to 1: 0 is the lightest."""
    return min(SHADES - 1, int(part * SHADES))

"""Where the bars of the charts stand: counts in, numbers for the attributes of an SVG out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bx24app.services.reports.figures import DayCounts
from bx24app.services.reports.tally import Tally

# From the bottom of a bar to its top, each with a colour and a pattern of its own (templates/desk/charts.html).
SERIES = ("reached", "nobody_answered", "customer_not_reached", "not_told", "not_called", "under_way")
WIDTHS = {"wide": 720, "narrow": 320}
HEIGHT, TOP, BOTTOM, LEFT = 180, 18, 22, 30
# Fewer units of width than these have no room for a number or a date below.
LABEL_WIDTH, TICK_WIDTH = 22, 44
GAP = 1
ROUND = (2, 4, 6, 10)
SHADES = 6


@dataclass(frozen=True)
class Segment:
    """One series of one bar."""

    series: str
    count: int
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


def stacked_bars(name: str, days: Sequence[tuple[str, Tally]]) -> StackedBars:
    """Draw labelled counts; ``name`` is one of ``WIDTHS``."""
    width = WIDTHS[name]
    step = (width - LEFT) / max(1, len(days))
    most = nice_top(max((tally.requests for _, tally in days), default=0))
    scale = (HEIGHT - TOP - BOTTOM) / most
    every = max(1, -(-TICK_WIDTH // max(1, int(step))))
    bars = []
    for number, (label, tally) in enumerate(days):
        segments = _segments(tally, scale)
        bars.append(
            Bar(
                x=round(LEFT + number * step + step * 0.12, 2),
                width=round(step * 0.76, 2),
                label=label if number % every == 0 else "",
                total=tally.requests,
                top=segments[-1].y if segments else HEIGHT - BOTTOM,
                segments=segments,
                has_total=step >= LABEL_WIDTH and tally.requests > 0,
            )
        )
    grid = tuple((round(HEIGHT - BOTTOM - value * scale, 2), value) for value in (0, most // 2, most))
    return StackedBars(name, width, HEIGHT, LEFT, tuple(bars), grid)


def _segments(tally: Tally, scale: float) -> tuple[Segment, ...]:
    found: list[Segment] = []
    y = float(HEIGHT - BOTTOM)
    for series in SERIES:
        count: int = getattr(tally, series)
        if count:
            height = count * scale
            y -= height
            # A white gap tells the series apart without colours.
            found.append(Segment(series, count, round(y, 2), round(max(0.5, height - GAP), 2)))
    return tuple(found)


def nice_top(most: int) -> int:
    """The number at the top of an axis: even, round, and not below ``most``."""
    power = 1
    while ROUND[-1] * power < most:
        power *= 10
    return next(number * power for number in ROUND if number * power >= most)


def weeks_of(days: Sequence[DayCounts]) -> list[tuple[date, Tally]]:
    """Add up days by week, each named by its first day; the first and the last may be shorter."""
    weeks: dict[date, Tally] = {}
    for one in days:
        monday = one.day - timedelta(days=one.day.weekday())
        weeks.setdefault(max(monday, days[0].day), Tally()).add(one.tally)
    return list(weeks.items())


def shade(part: float) -> int:
    """The shade of a part from 0 to 1: 0 is the lightest."""
    return min(SHADES - 1, int(part * SHADES))

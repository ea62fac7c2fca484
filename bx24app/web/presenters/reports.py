"""What the page of reports shows: figures in words and numbers of the reader's language, charts, and tables."""

from dataclasses import dataclass
from datetime import date

from flask_babel import format_date, format_percent, ngettext
from flask_babel import gettext as _

from bx24app.messages import reports as words
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.reports.figures import DayCounts, PartCounts
from bx24app.services.reports.overview import Overview
from bx24app.services.reports.tally import Kind, Tally
from bx24app.web.presenters.charts import SERIES, CountedDays, LabelledBar, StackedBars, stacked_bars, weeks_of
from bx24app.web.presenters.report_links import ListLinks
from bx24app.web.presenters.report_tables import (
    FEW,
    FILTERS,
    BarRow,
    HeatCell,
    PartTable,
    count_words,
    funnel_rows,
    heat_rows,
    money_words,
    part_name,
    part_table,
    refusal_rows,
    share_words,
    wait_rows,
    wait_summary,
    weekdays,
)

# More bars than these are drawn by week.
MAX_BARS = 62
OWN_DAYS = "between"


@dataclass(frozen=True)
class FigureCard:
    """One figure on top: what it is, how much (of each currency), how it has changed, and what belongs to it."""

    title: str
    figures: tuple[str, ...]
    change: str
    note: str
    link: str = ""


@dataclass(frozen=True)
class FilterChoice:
    """One filter that the page offers: its name in the address, its values with their words, and the chosen one."""

    name: str
    title: str
    options: list[tuple[str, str]]
    chosen: str


@dataclass(frozen=True)
class ReportChoices:
    """What the page offers: periods, filters, and which of them are chosen."""

    periods: list[tuple[str, str]]
    period: str
    first: str
    last: str
    filters: list[FilterChoice]
    compares: bool


@dataclass(frozen=True)
class ReportPage:
    """Everything that the template shows."""

    choices: ReportChoices
    # Why something else is shown than was asked for.
    problem: str
    heading: str
    zone: str
    is_empty: bool
    cards: list[FigureCard]
    legend: list[tuple[str, str]]
    charts: list[StackedBars]
    day_summary: str
    # The counts of each day, with their links.
    day_rows: list[tuple[str, list[tuple[str, str]]]]
    hours: list[tuple[str, list[HeatCell]]]
    weekdays: list[str]
    waits: list[BarRow]
    wait_summary: str
    parts: list[PartTable]
    funnel: list[BarRow]
    refusals: list[BarRow]


def report_page(found: Overview, *, period: PeriodName | None, chosen: dict[str, str], problem: str = "") -> ReportPage:
    """The page; ``period`` is the name that was chosen, ``chosen`` the filters by their names."""
    tally = found.summary.tally
    own = {"person": found.scope.parts[Kind.PERSON]} if Kind.PERSON in found.scope.parts else {}
    links = ListLinks(found.period, chosen | own, found.is_company_zone)
    return ReportPage(
        choices=_choices(found, period, chosen),
        problem=problem,
        heading=_days_words(found.period.first, found.period.last),
        zone=found.period.zone,
        is_empty=not tally.requests and not found.summary.rejected,
        cards=_cards(found, links),
        legend=[(series, words.series_label(series)) for series in SERIES],
        charts=_charts(found, links),
        day_summary=_day_summary(found),
        day_rows=[_day_row(one, links) for one in found.days],
        hours=heat_rows(found.hours, links),
        weekdays=weekdays(),
        waits=wait_rows(tally, links),
        wait_summary=wait_summary(tally),
        parts=[part_table(kind, rows, links) for kind, rows in found.parts.items() if rows],
        funnel=funnel_rows(found.summary.funnel(), links),
        refusals=refusal_rows(found.refusals),
    )


def _filter(kind: Kind, rows: list[PartCounts], chosen: str) -> FilterChoice:
    options = [(row.key, part_name(kind, row)) for row in rows]
    if chosen and all(chosen != value for value, _label in options):
        # Nothing of it in this period; it stays chosen.
        options.append((chosen, chosen))
    return FilterChoice(FILTERS[kind], words.part_title(kind), options, chosen)


def _choices(found: Overview, period: PeriodName | None, chosen: dict[str, str]) -> ReportChoices:
    offered = (_filter(kind, rows, chosen.get(FILTERS[kind], "")) for kind, rows in found.choices.items())
    filters = [one for one in offered if one.options]
    return ReportChoices(
        periods=[*((name.value, words.period_label(name)) for name in PeriodName), (OWN_DAYS, _("Between"))],
        period=period.value if period else OWN_DAYS,
        first=found.period.first.isoformat(),
        last=found.period.last.isoformat(),
        filters=filters,
        compares=found.before is not None,
    )


def _days_words(first: date, last: date) -> str:
    if first == last:
        return str(format_date(first, "full"))
    return f"{format_date(first, 'medium')} – {format_date(last, 'medium')}"


def _cards(found: Overview, links: ListLinks) -> list[FigureCard]:
    tally, before = found.summary.tally, found.before.tally if found.before else None
    rejected = found.summary.rejected
    shares = [
        FigureCard(
            words.card_title(name),
            (share_words(getattr(tally, name), tally.requests) if tally.requests else "–",),
            _points(name, tally, before),
            ngettext("%(num)s request", "%(num)s requests", getattr(tally, name)),
            links.to_outcome(name) if getattr(tally, name) else "",
        )
        for name in ("reached", "nobody_answered", "customer_not_reached")
    ]
    asked = FigureCard(
        _("Requests"),
        (count_words(tally.requests),),
        _growth(tally.requests, before.requests if before else None),
        _("%(count)s more rejected", count=count_words(rejected)) if rejected else "",
        links.to() if tally.requests else "",
    )
    return [asked, *shares, _time_card(tally, links), _cost_card(tally)]


def _growth(now: int, before: int | None) -> str:
    if before is None:
        return ""
    if now == before:
        return str(_("as many as before"))
    if before == 0:
        return str(_("none before"))
    change = format_percent(abs(round(now / before - 1, 2)))
    return str(_("▲ %(change)s more", change=change) if now > before else _("▼ %(change)s fewer", change=change))


def _points(name: str, now: Tally, before: Tally | None) -> str:
    if before is None or before.requests < FEW or now.requests < FEW:
        return ""
    difference = round(100 * getattr(now, name) / now.requests) - round(100 * getattr(before, name) / before.requests)
    if not difference:
        return str(_("same share as before"))
    points = ngettext("%(num)s point", "%(num)s points", abs(difference))
    return str(_("▲ %(points)s more", points=points) if difference > 0 else _("▼ %(points)s less", points=points))


def _time_card(tally: Tally, links: ListLinks) -> FigureCard:
    median, most = tally.wait(50), tally.wait(90)
    note = _("9 of 10 within %(time)s", time=words.wait_words(most)) if most is not None else ""
    link = links.to({"wait_from": 0}) if median is not None else ""
    return FigureCard(_("Time to callback"), (words.wait_words(median) if median is not None else "–",), "", note, link)


def _cost_card(tally: Tally) -> FigureCard:
    known = money_words(tally.costs)
    untold = ""
    if tally.calls_without_cost:
        untold = ngettext(
            "%(num)s call without a known cost", "%(num)s calls without a known cost", tally.calls_without_cost
        )
    return FigureCard(_("Cost"), tuple(known) or ("–",), "", str(untold))


def _charts(found: Overview, links: ListLinks) -> list[StackedBars]:
    weeks = [_counted(one, links) for one in weeks_of(found.days)]
    days = [_counted(CountedDays(one.day, one.day, one.tally), links) for one in found.days]
    wide = days if len(days) <= MAX_BARS else weeks
    return [stacked_bars("wide", wide), stacked_bars("narrow", days if len(days) <= len(SERIES) + 1 else weeks)]


def _counted(one: CountedDays, links: ListLinks) -> LabelledBar:
    at = {name: links.to_outcome(name, one.first, one.last) for name in SERIES if getattr(one.tally, name)}
    return LabelledBar(str(format_date(one.first, "d MMM")), one.tally, at)


def _day_row(one: DayCounts, links: ListLinks) -> tuple[str, list[tuple[str, str]]]:
    counts = [(name, getattr(one.tally, name)) for name in ("requests", *SERIES)]
    linked = [(count_words(n), links.to_outcome(name, one.day, one.day) if n else "") for name, n in counts]
    return str(format_date(one.day, "EEE, d MMM")), linked


def _day_summary(found: Overview) -> str:
    busiest = max(found.days, key=lambda one: one.tally.requests)
    return str(
        _(
            "%(requests)s requests, %(reached)s reached. Most came on %(day)s: %(most)s.",
            requests=count_words(found.summary.tally.requests),
            reached=count_words(found.summary.tally.reached),
            day=format_date(busiest.day, "d MMMM"),
            most=count_words(busiest.tally.requests),
        )
    )

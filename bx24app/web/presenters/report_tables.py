"""The tables of the reports: each row in words and numbers of the reader's language, with the length of its bar."""

from collections.abc import Sequence
from dataclasses import dataclass

from babel.dates import get_day_names
from flask_babel import format_currency, format_decimal, format_percent, get_locale
from flask_babel import gettext as _

from bx24app.messages import reports as words
from bx24app.messages.rules import rule_words
from bx24app.services.reports.figures import FunnelStep, HourCounts, PartCounts, RefusalCounts
from bx24app.services.reports.tally import TEN_THOUSANDTHS, Kind, Tally
from bx24app.web.presenters.charts import shade
from bx24app.web.presenters.report_links import ListLinks

# A share of fewer calls says nothing: their number is shown instead.
FEW = 5
SMALL_MONEY = 0.01
# The names of filters in addresses.
FILTERS = {Kind.FORM: "form_key", Kind.LINE: "line_id", Kind.SOURCE: "source", Kind.PERSON: "person"}
_STEP_FILTERS = {
    "accepted": {},
    "called": {"called": "1"},
    "picked_up": {"picked_up": "1"},
    "reached": {"outcome": "reached"},
}


@dataclass(frozen=True)
class HeatCell:
    """One hour of a weekday: the share that picked up and the number called; ``shade`` None: too few for a share."""

    text: str
    title: str
    shade: int | None
    link: str = ""


@dataclass(frozen=True)
class BarRow:
    """A row of a table with a bar; ``part`` is the length of the bar, from 0 to 100, ``link`` that of its count."""

    label: str
    count: str
    part: int
    note: str = ""
    cells: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class PartTable:
    """A table by form, line, source or person."""

    name: str
    title: str
    heads: tuple[str, ...]
    rows: list[BarRow]


def count_words(number: int) -> str:
    """A number in the reader's language."""
    return str(format_decimal(number))


def share_words(part: int, whole: int) -> str:
    """A share; of few, the number itself."""
    return str(format_percent(round(part / whole, 2))) if whole >= FEW else count_words(part)


def money_words(costs: dict[str, int]) -> list[str]:
    """Amounts by currency; below a hundredth with four decimals."""
    found = []
    for currency, amount in sorted(costs.items()):
        value = amount / TEN_THOUSANDTHS
        pattern = "#,##0.0000\u00a0¤¤" if 0 < value < SMALL_MONEY else "#,##0.00\u00a0¤¤"
        found.append(str(format_currency(value, currency, format=pattern, currency_digits=False)))
    return found


def weekdays() -> list[str]:
    """The days of the week from Monday, in the reader's language."""
    names = get_day_names("abbreviated", context="stand-alone", locale=get_locale())
    return [names[number] for number in range(7)]


def heat_rows(hours: Sequence[HourCounts], links: ListLinks) -> list[tuple[str, list[HeatCell]]]:
    """A row for each hour between the first and the last with calls, a cell for each weekday."""
    if not hours:
        return []
    known = {(one.hour, one.weekday): one for one in hours}
    shown = range(min(one.hour for one in hours), max(one.hour for one in hours) + 1)
    return [(f"{hour:02}:00", [_cell(known.get((hour, weekday)), links) for weekday in range(7)]) for hour in shown]


def _cell(counts: HourCounts | None, links: ListLinks) -> HeatCell:
    if counts is None:
        return HeatCell("", "", None)
    title = _("%(picked)s of %(called)s picked up", picked=counts.picked_up, called=counts.called)
    link = links.to_hour(counts.weekday, counts.hour)
    if counts.called < FEW:
        return HeatCell(f"{counts.picked_up}/{counts.called}", str(title), None, link)
    part = counts.picked_up / counts.called
    return HeatCell(str(format_percent(round(part, 2))), str(title), shade(part), link)


def wait_rows(tally: Tally, links: ListLinks) -> list[BarRow]:
    """How many waited how long."""
    labels = (_("under 1 min"), _("1–5 min"), _("5–15 min"), _("15–60 min"), _("over 60 min"))
    buckets = tally.waits_by_bucket()
    most, begin, rows = max(count for _bound, count in buckets), 0, []
    for label, (below, count) in zip(labels, buckets, strict=True):
        link = links.to({"wait_from": begin, **({"wait_below": below} if below else {})})
        rows.append(BarRow(str(label), count_words(count), _length(count, most), link=link if count else ""))
        begin = below or begin
    return rows


def _length(count: int, most: int) -> int:
    return max(1, round(100 * count / most)) if count else 0


def wait_summary(tally: Tally) -> str:
    """Of how many the wait is known, and of whom not."""
    return str(
        _(
            "Measured for %(measured)s. Not called: %(uncalled)s. Picked up, time not told: %(untold)s.",
            measured=count_words(tally.waited),
            uncalled=count_words(tally.requests - tally.called),
            untold=count_words(tally.untimed),
        )
    )


def part_name(kind: Kind, row: PartCounts) -> str:
    """A form, line, source or person as people call it."""
    return words.source_label(row.key) if kind == Kind.SOURCE else row.name or _("No. %(key)s", key=row.key)


def part_table(kind: Kind, rows: Sequence[PartCounts], links: ListLinks) -> PartTable:
    """A table by form, line, source or person; people only by their talks, for a line may stay unanswered."""
    heads: tuple[str, ...]
    cells: list[tuple[str, ...]]
    if kind == Kind.PERSON:
        counts = [row.tally.reached for row in rows]
        cells = [(words.wait_words(row.tally.talk_seconds),) for row in rows]
        heads = (_("Person"), _("Talks"), _("Talk time"))
    else:
        counts = [row.tally.requests for row in rows]
        cells = [_cells(row) for row in rows]
        heads = (words.part_title(kind), _("Requests"), _("Reached"), _("Cost"))
    bars = [
        BarRow(
            part_name(kind, row),
            count_words(count),
            _length(count, max(counts)),
            cells=cell,
            link=_part_link(kind, row.key, links) if count else "",
        )
        for row, count, cell in zip(rows, counts, cells, strict=True)
    ]
    return PartTable(kind, words.part_title(kind), heads, bars)


def _part_link(kind: Kind, key: str, links: ListLinks) -> str:
    named = {FILTERS[kind]: key}
    return links.to({**named, "outcome": "reached"} if kind == Kind.PERSON else named)


def _cells(row: PartCounts) -> tuple[str, ...]:
    tally = row.tally
    return share_words(tally.reached, tally.requests), " + ".join(money_words(tally.costs)) or "–"


def funnel_rows(steps: Sequence[FunnelStep], links: ListLinks) -> list[BarRow]:
    """Where requests end."""
    most = steps[0].count
    return [
        BarRow(
            words.step_label(step.step),
            count_words(step.count),
            _length(step.count, most),
            _loss(step),
            link=links.to(_STEP_FILTERS[step.step]) if step.count and step.step in _STEP_FILTERS else "",
        )
        for step in steps
    ]


def _loss(step: FunnelStep) -> str:
    return words.loss_words(step, count_words(step.lost))


def refusal_rows(found: Sequence[RefusalCounts]) -> list[BarRow]:
    """Rejected requests by the rule that decided."""
    most = max((one.count for one in found), default=0)
    return [
        BarRow(
            rule_words(one.rule, {"rule": one.rule}, is_tried=True), count_words(one.count), _length(one.count, most)
        )
        for one in found
    ]


def _why(rule: str) -> str:
    return rule_words(rule, {"rule": rule}, is_tried=True)

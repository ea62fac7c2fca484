"""The figures of a period, added up from what the worker has counted.

Sums read the longest spans that fit and, at both ends, shorter ones down to quarters of an hour, so that any zone is
exact. Days of a zone are days of UTC, but for some hours, and hours of a zone are hours, or quarters of one, that the
database adds up between changes of the clock.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Integer, and_, case, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from bx24app.models import QUARTERS_A_DAY, QUARTERS_AN_HOUR, SPAN_LENGTHS, Form, Portal, Rejection, ReportFigure
from bx24app.services.callbacks.people import read_names
from bx24app.services.reports.periods import Period, QuarterSpan, moment_of, pieces
from bx24app.services.reports.stored import StoredFigures, add_sums, summed, sums_of, tally_of_sums
from bx24app.services.reports.tally import COUNTS, SPREADS, Kind, Tally, parts_of_combination

EPOCH = date(1970, 1, 1)
HOURS_A_DAY, HOURS_A_WEEK = 24, 168
# 1 January 1970 was a Thursday.
FIRST_WEEKDAY = 3
HOUR_COUNTS = ("called", "picked_up")


@dataclass(frozen=True)
class ReportScope:
    """Whose figures: of a whole portal, or of the callbacks of one source, form and line, or of one person."""

    portal_id: int
    parts: Mapping[Kind, str] = field(default_factory=dict)

    def has(self, kinds: Collection[Kind]) -> bool:
        """Tell whether it is of nothing but such parts."""
        return set(self.parts) <= set(kinds)


# What rejected requests are told by; parts that are counted together.
REJECTED_BY = frozenset({Kind.FORM})
COMBINED = frozenset({Kind.SOURCE, Kind.FORM, Kind.LINE})


@dataclass(frozen=True)
class FunnelStep:
    """How many requests came so far, how many were lost on the way there, and why most of them were."""

    step: str
    count: int
    lost: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Summary:
    """The sums of a period; ``rejected``: requests of the public that were not taken, None where that is not told."""

    tally: Tally
    rejected: int | None

    def funnel(self) -> list[FunnelStep]:
        """Where requests end; a reason is the name of a count, or ``under_way``."""
        counted, rejected = self.tally, self.rejected or 0
        uncalled, unanswered = ("expired", "failed", "cancelled", "under_way"), ("nobody_answered", "not_told")
        return [
            FunnelStep("asked", counted.requests + rejected),
            FunnelStep("accepted", counted.requests, rejected, "rejected" if rejected else None),
            self._step("called", counted.called, counted.requests, uncalled),
            self._step("picked_up", counted.picked_up, counted.called, unanswered),
            self._step("reached", counted.reached, counted.picked_up, ("customer_not_reached", "not_told")),
        ]

    def _step(self, step: str, count: int, before: int, reasons: tuple[str, ...]) -> FunnelStep:
        lost = before - count
        return FunnelStep(step, count, lost, max(reasons, key=lambda name: getattr(self.tally, name)) if lost else None)


@dataclass(frozen=True)
class DayCounts:
    """What became of the requests of one day."""

    day: date
    tally: Tally


@dataclass(frozen=True)
class HourCounts:
    """Of the requests of one hour of a weekday (0 is Monday): how many were called, and how many picked up."""

    weekday: int
    hour: int
    called: int
    picked_up: int


@dataclass(frozen=True)
class PartCounts:
    """What became of the requests of one form, line, source or person; ``name`` is empty where it is not known.

    ``key`` is what a filter takes: of a form its public key.
    """

    key: str
    name: str
    tally: Tally


@dataclass(frozen=True)
class RefusalCounts:
    """How many requests of the public one rule has rejected."""

    rule: str
    count: int


def summarize(session: Session, scope: ReportScope, period: Period) -> Summary:
    """Add up a period."""
    tally = Tally()
    for found in _sums(session, _stored(session, scope, period), period, SPREADS).values():
        tally.add(found)
    counted = _rejections(session, scope, period)
    return Summary(tally, None if counted is None else sum(one.count for one in counted))


def by_day(session: Session, scope: ReportScope, period: Period) -> list[DayCounts]:
    """Count each day of the zone, those without requests too."""
    days = {day: Tally() for day in period.each_day()}
    stored = _stored(session, scope, period)
    for span in period.spans():
        for number, tally in _days(session, stored, span):
            days[EPOCH + timedelta(days=number)].add(tally)
    return [DayCounts(day, tally) for day, tally in days.items()]


def by_hour(session: Session, scope: ReportScope, period: Period) -> list[HourCounts]:
    """Count each hour of the week that was called in; both passes of an hour that the clock repeats count as one."""
    hours: dict[int, Tally] = {}
    stored = _stored(session, scope, period)
    for change in period.spans():
        for quarters, span in pieces(change, change.lengths):
            hour = _hour_of_week(ReportFigure.slot + literal(span.offset, Integer))
            add_sums(session, stored.of(summed(hour, HOUR_COUNTS), quarters, span), hours, HOUR_COUNTS)
    return [_hour_counts(number, tally) for number, tally in sorted(hours.items()) if tally.called]


def _hour_of_week(local: ColumnElement[int]) -> ColumnElement[int]:
    return (local + FIRST_WEEKDAY * QUARTERS_A_DAY) // QUARTERS_AN_HOUR % HOURS_A_WEEK


def _hour_counts(number: int, tally: Tally) -> HourCounts:
    weekday, hour = divmod(number, HOURS_A_DAY)
    return HourCounts(weekday, hour, tally.called, tally.picked_up)


def by_part(session: Session, portal: Portal, scope: ReportScope, kind: Kind, period: Period) -> list[PartCounts]:
    """Count each form, line, source or person, the one with most requests first.

    ``scope`` must not have parts that are not counted together with this kind.
    """
    stored = _stored(session, scope, period, by=kind)
    found = _sums(session, stored, period, ("costs",))
    if stored.kind == Kind.COMBINATION:
        found = _by_part_of(kind, found)
    names = _names(session, portal, kind, found)
    keys = _form_keys(session, portal) if kind == Kind.FORM else {}
    parts = [PartCounts(keys.get(key, key), names.get(key, ""), tally) for key, tally in found.items()]
    return sorted(parts, key=lambda part: (-part.tally.requests, part.key))


def _by_part_of(kind: Kind, found: dict[str, Tally]) -> dict[str, Tally]:
    parts: dict[str, Tally] = {}
    for key, tally in found.items():
        if part := parts_of_combination(key)[kind]:
            parts.setdefault(part, Tally()).add(tally)
    return parts


def _stored(session: Session, scope: ReportScope, period: Period, by: Kind | None = None) -> StoredFigures:
    """Choose the rows of a scope, divided by ``by``: those of one part alone where that is enough."""
    kinds = {*scope.parts, *([by] if by else [])}
    if len(kinds) > 1:
        return StoredFigures(scope.portal_id, Kind.COMBINATION, _combinations(session, scope, period))
    kind = next(iter(kinds), Kind.ALL)
    return StoredFigures(scope.portal_id, kind, (scope.parts[kind],) if kind in scope.parts else None)


def _combinations(session: Session, scope: ReportScope, period: Period) -> tuple[str, ...]:
    """The keys of a scope in the longest spans that a period touches: there is a row for each of the shorter ones."""
    whole, length = period.whole(), SPAN_LENGTHS[-1]
    span = QuarterSpan(whole.begin - whole.begin % length, whole.end)
    rows = StoredFigures(scope.portal_id, Kind.COMBINATION).of(select(ReportFigure.key).distinct(), length, span)
    wanted = scope.parts.items()
    return tuple(key for key in session.scalars(rows) if wanted <= parts_of_combination(key).items())


def _form_keys(session: Session, portal: Portal) -> dict[str, str]:
    return {str(id): key for id, key in session.execute(select(Form.id, Form.key).where(Form.portal_id == portal.id))}


def _names(session: Session, portal: Portal, kind: Kind, keys: dict[str, Tally]) -> dict[str, str]:
    if kind == Kind.LINE:
        return {key: portal.line_name(key) for key in keys}
    if kind == Kind.FORM:
        rows = session.execute(select(Form.id, Form.name).where(Form.portal_id == portal.id))
        return {str(id): name for id, name in rows}
    if kind == Kind.PERSON:
        return {str(id): name for id, name in read_names(session, portal.id, map(int, keys)).items()}
    return {}


def refusals(session: Session, scope: ReportScope, period: Period) -> list[RefusalCounts]:
    """Count rejected requests by the rule that decided, the most first; none where the scope has no forms' requests."""
    return _rejections(session, scope, period) or []


def _rejections(session: Session, scope: ReportScope, period: Period) -> list[RefusalCounts] | None:
    if not scope.has(REJECTED_BY):
        return None
    whole = period.whole()
    query = select(Rejection.rule, func.sum(Rejection.count)).where(
        Rejection.portal_id == scope.portal_id,
        Rejection.made_at >= moment_of(whole.begin),
        Rejection.made_at < moment_of(whole.end),
    )
    if scope.parts:
        query = query.where(Rejection.form_id == int(scope.parts[Kind.FORM]))
    counted = [RefusalCounts(rule, int(count)) for rule, count in session.execute(query.group_by(Rejection.rule))]
    return sorted(counted, key=lambda one: (-one.count, one.rule))


def _sums(session: Session, stored: StoredFigures, period: Period, spreads: tuple[str, ...]) -> dict[str, Tally]:
    """Add up rows by key; ``spreads``: which of the columns that are no numbers are wanted too."""
    found: dict[str, Tally] = {}
    for quarters, span in pieces(period.whole()):
        add_sums(session, stored.of(summed(ReportFigure.key), quarters, span), found)
        columns = (getattr(ReportFigure, name) for name in spreads)
        for key, *values in session.execute(stored.of(select(ReportFigure.key, *columns), quarters, span)):
            tally = found.setdefault(key, Tally())
            for name, counts in zip(spreads, values, strict=True):
                tally.add_spread(name, counts)
    return found


def _days(session: Session, stored: StoredFigures, span: QuarterSpan) -> Iterator[tuple[int, Tally]]:
    """Add up the days of a zone between two changes of its clock, as changes of each day's counts.

    They are the days of UTC, less the hours of these that belong to the day before or after, which gets them. So two
    rows are read of most days, and not 24.
    """
    slot, whole = ReportFigure.slot, span.whole_days()
    utc, local = slot // QUARTERS_A_DAY, (slot + literal(span.offset, Integer)) // QUARTERS_A_DAY
    sums = sums_of(COUNTS)
    is_moved = case((and_(slot >= whole.begin, slot < whole.end), 1), else_=0)
    days = select(literal(0, Integer), utc, utc.label("to_day"), *sums).group_by(utc)
    hours = select(is_moved, utc, local, *sums).where(or_(is_moved == 0, utc != local)).group_by(is_moved, utc, local)
    parts = [stored.of(hours, quarters, part) for quarters, part in pieces(span, span.lengths)]
    # By one statement: what is counted between two would be taken from a day that does not have it.
    found: CompoundSelect[*tuple[Any, ...]] = union_all(stored.of(days, QUARTERS_A_DAY, whole), *parts)
    for moved, day, to_day, *counts in session.execute(found):
        yield to_day, tally_of_sums(counts)
        if moved:
            yield day, tally_of_sums(counts, sign=-1)

"""``/api/v1/reports/<name>``: the figures of a period, as JSON and as CSV."""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field, RootModel
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import NotFound, RateLimited
from bx24app.models import utcnow
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.reports import figures
from bx24app.services.reports.choice import divided_with, require_part
from bx24app.services.reports.figures import REJECTED_BY, FunnelStep, ReportScope, Summary
from bx24app.services.reports.periods import Period
from bx24app.services.reports.tally import TEN_THOUSANDTHS, Kind, Tally
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.csv_files import CSV_TYPE, Line, csv_text
from bx24app.web.guards import principal_required
from bx24app.web.report_query import ReportQuery, read_report_query

blueprint = Blueprint("reports", __name__, url_prefix="/api/v1/reports")


class ReportName(StrEnum):
    """The reports that there are."""

    SUMMARY = "summary"
    BY_DAY = "by_day"
    BY_HOUR = "by_hour"
    BY_FORM = "by_form"
    BY_LINE = "by_line"
    BY_SOURCE = "by_source"
    BY_PERSON = "by_person"
    REFUSALS = "refusals"


PARTS = {
    ReportName.BY_FORM: Kind.FORM,
    ReportName.BY_LINE: Kind.LINE,
    ReportName.BY_SOURCE: Kind.SOURCE,
    ReportName.BY_PERSON: Kind.PERSON,
}


class Money(BaseModel):
    """An amount of one currency."""

    currency: str
    amount: float


class Outcomes(BaseModel):
    """What became of requests; all but ``called``, ``picked_up`` and ``calls`` together are ``requests``."""

    requests: int
    reached: int
    nobody_answered: int
    customer_not_reached: int
    not_told: int
    expired: int
    failed: int
    cancelled: int
    under_way: int
    called: int
    picked_up: int
    talk_seconds: int
    calls: int
    calls_without_cost: int


class WaitBucket(BaseModel):
    """How many waited less than so many seconds, and not less than the bucket before; null: any longer."""

    below_seconds: int | None
    count: int


class TimeToCallback(BaseModel):
    """From the request, or the promised moment if that is later, to the first pick-up, in rounded steps."""

    median_seconds: int | None
    p90_seconds: int | None
    measured: int
    not_told: int
    not_called: int
    buckets: list[WaitBucket]


class FunnelStepSchema(BaseModel):
    """One step, and what was lost on the way there with the most frequent reason."""

    step: str
    count: int
    lost: int
    reason: str | None


class SummarySchema(Outcomes):
    """The sums of a period; ``rejected`` is null where rejections are not told by this filter."""

    rejected: int | None
    time_to_callback: TimeToCallback
    cost: list[Money]
    funnel: list[FunnelStepSchema]


class DayRow(Outcomes):
    """One day."""

    day: date


class HourRow(BaseModel):
    """One hour of a weekday (1 is Monday) in which there were calls."""

    weekday: int
    hour: int
    called: int
    picked_up: int


class PartRow(Outcomes):
    """One form, line, source or person, by the ``key`` that a filter takes; ``name`` is empty where it is not known."""

    key: str
    name: str
    cost: list[Money]


class RefusalRow(BaseModel):
    """How many requests of websites and back ends one rule has rejected; kept for 30 days."""

    rule: str
    count: int


class ReportFrame(BaseModel):
    """The days of a report, both included, and their zone."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    report: ReportName
    since: Annotated[date, Field(serialization_alias="from")]
    until: Annotated[date, Field(serialization_alias="to")]
    zone: str


Rows = list[DayRow] | list[HourRow] | list[PartRow] | list[RefusalRow]


class SummaryReport(ReportFrame):
    """``before`` is the equal period before, where it was asked for."""

    figures: SummarySchema
    before: SummarySchema | None


class RowsReport(ReportFrame):
    """A table; ``before`` is that of the equal period before, where it was asked for."""

    rows: Rows
    before: Rows | None


class ReportSchema(RootModel[SummaryReport | RowsReport]):
    """A report."""


def money(costs: dict[str, int]) -> list[Money]:
    """Amounts by currency, never added up."""
    return [Money(currency=name, amount=amount / TEN_THOUSANDTHS) for name, amount in sorted(costs.items())]


def _outcomes(tally: Tally) -> dict[str, Any]:
    return {name: getattr(tally, name) for name in Outcomes.model_fields}


def summary_schema(summary: Summary) -> SummarySchema:
    """The sums of a period."""
    tally = summary.tally
    waits = TimeToCallback(
        median_seconds=tally.wait(50),
        p90_seconds=tally.wait(90),
        measured=tally.waited,
        not_told=tally.untimed,
        not_called=tally.requests - tally.called,
        buckets=[WaitBucket(below_seconds=bound, count=count) for bound, count in tally.waits_by_bucket()],
    )
    steps = [_step(step) for step in summary.funnel()]
    named = {"rejected": summary.rejected, "time_to_callback": waits, "cost": money(tally.costs), "funnel": steps}
    return SummarySchema(**_outcomes(tally), **named)


def _step(step: FunnelStep) -> FunnelStepSchema:
    return FunnelStepSchema.model_validate(step, from_attributes=True)


def _rows(session: Session, principal: Principal, name: ReportName, scope: ReportScope, period: Period) -> Rows:
    if name == ReportName.BY_DAY:
        return [DayRow(day=one.day, **_outcomes(one.tally)) for one in figures.by_day(session, scope, period)]
    if name == ReportName.BY_HOUR:
        return [
            HourRow(weekday=one.weekday + 1, hour=one.hour, called=one.called, picked_up=one.picked_up)
            for one in figures.by_hour(session, scope, period)
        ]
    if name == ReportName.REFUSALS:
        return [RefusalRow(rule=one.rule, count=one.count) for one in figures.refusals(session, scope, period)]
    return [
        PartRow(key=one.key, name=one.name, cost=money(one.tally.costs), **_outcomes(one.tally))
        for one in figures.by_part(session, principal.portal, scope, PARTS[name], period)
    ]


def _made(principal: Principal, name: ReportName) -> SummaryReport | RowsReport:
    query, now = read_report_query(), utcnow()
    scope = query.scope_chosen().scope(principal)
    if name == ReportName.REFUSALS:
        require_part(principal, scope, REJECTED_BY)
    if name in PARTS:
        require_part(principal, scope, divided_with(PARTS[name]))
    period = query.period_chosen().period(principal, now)
    earlier = period.before(now) if query.compare else None
    frame: dict[str, Any] = {"report": name, "since": period.first, "until": period.last, "zone": period.zone}
    with reading() as session:
        if name == ReportName.SUMMARY:
            shown = summary_schema(figures.summarize(session, scope, period))
            before = summary_schema(figures.summarize(session, scope, earlier)) if earlier else None
            return SummaryReport(**frame, figures=shown, before=before)
        rows = _rows(session, principal, name, scope, period)
        earlier_rows = _rows(session, principal, name, scope, earlier) if earlier else None
    return RowsReport(**frame, rows=rows, before=earlier_rows)


def _named(name: str) -> ReportName:
    try:
        return ReportName(name)
    except ValueError:
        raise NotFound from None


@blueprint.get("/<report>")
@operation({200: ReportSchema}, query=ReportQuery, refuses=(RateLimited,))
@principal_required(Role.VIEWER)
def show(principal: Principal, report: str) -> Response:
    """The figures of a period, equal to a recount of its callbacks a few seconds ago."""
    return json_response(_made(principal, _named(report)))


@blueprint.get("/<report>.csv")
@operation({200: "text/csv"}, query=ReportQuery, refuses=(RateLimited,))
@principal_required(Role.VIEWER)
def show_csv(principal: Principal, report: str) -> Response:
    """The same as a table that spreadsheets open safely, with the separator of the reader's language."""
    made = _made(principal, _named(report))
    if isinstance(made, SummaryReport):
        lines = _table([made.figures], "chosen") + _table([made.before] if made.before else [], "before")
    else:
        lines = _table(made.rows, "chosen") + _table(made.before or [], "before")
    hidden = set() if made.before is not None else {"period"}
    names = list(dict.fromkeys(name for line in lines for name in line if name not in hidden))
    response = Response(csv_text(names, lines), content_type=CSV_TYPE)
    file = f"{made.report}-{made.since}-{made.until}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
    return response


def _table(rows: Iterable[BaseModel], period: str) -> list[Line]:
    """A line for each row: money in a column for each currency, waits and steps in one for each of their figures."""
    return [{"period": period, **_flat(row.model_dump(mode="json"))} for row in rows]


def _flat(row: Line) -> Line:
    flat: Line = {}
    for name, value in row.items():
        if name == "cost" and isinstance(value, list):
            flat |= {f"cost_{one['currency']}": one["amount"] for one in value}
        elif isinstance(value, dict):
            flat |= {f"wait_{of}": one for of, one in value.items() if not isinstance(one, list)}
        elif not isinstance(value, list):
            flat[name] = value
    return flat

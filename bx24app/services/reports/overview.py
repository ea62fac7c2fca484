"""Everything that the page of reports shows, loaded once."""

from dataclasses import dataclass

from bx24app.database import reading
from bx24app.models import utcnow
from bx24app.services.callbacks.listing.company_day import company_zone
from bx24app.services.callbacks.principal import Principal
from bx24app.services.reports import figures
from bx24app.services.reports.choice import PeriodChoice, ScopeChoice, divided_with, sees_everybody
from bx24app.services.reports.figures import DayCounts, HourCounts, PartCounts, RefusalCounts, ReportScope, Summary
from bx24app.services.reports.periods import Period
from bx24app.services.reports.tally import Kind

# In the order in which the page shows them.
SHOWN_PARTS = (Kind.FORM, Kind.LINE, Kind.SOURCE, Kind.PERSON)


@dataclass(frozen=True)
class Overview:
    """The figures of a period; ``before`` are the sums of the one it is compared with.

    ``parts`` are those that the scope has. ``choices`` are the parts that somebody may choose among.
    """

    period: Period
    scope: ReportScope
    summary: Summary
    before: Summary | None
    days: list[DayCounts]
    hours: list[HourCounts]
    parts: dict[Kind, list[PartCounts]]
    refusals: list[RefusalCounts]
    choices: dict[Kind, list[PartCounts]]
    is_company_zone: bool


def load_overview(principal: Principal, periods: PeriodChoice, scopes: ScopeChoice, *, compares: bool) -> Overview:
    """Read all figures of a period in one transaction; raises as the choices do."""
    now = utcnow()
    scope, period = scopes.scope(principal), periods.period(principal, now)
    whole = ReportScope(scope.portal_id)
    is_company_zone = period.zone == company_zone(principal.portal)
    with reading() as session:
        parts = {
            kind: figures.by_part(session, principal.portal, scope, kind, period)
            for kind in SHOWN_PARTS
            if scope.has(divided_with(kind))
        }
        chosen_among = SHOWN_PARTS if sees_everybody(principal) and scope.parts else ()
        others = {kind: figures.by_part(session, principal.portal, whole, kind, period) for kind in chosen_among}
        return Overview(
            period=period,
            scope=scope,
            summary=figures.summarize(session, scope, period),
            before=figures.summarize(session, scope, period.before(now)) if compares else None,
            days=figures.by_day(session, scope, period),
            hours=figures.by_hour(session, scope, period),
            parts=parts,
            refusals=figures.refusals(session, scope, period),
            choices=others or (parts if sees_everybody(principal) else {}),
            is_company_zone=is_company_zone,
        )

"""Whose figures somebody may see, and what they have chosen to see of them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from bx24app.errors import ListRefused, NotFound, NotPermitted
from bx24app.services.callbacks.listing.asked import form_id_of
from bx24app.services.callbacks.listing.company_day import company_zone
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.business_hours import is_zone
from bx24app.services.reports.figures import COMBINED, ReportScope
from bx24app.services.reports.periods import Period, chosen_period, named_period
from bx24app.services.reports.tally import Kind

DayOrMoment = date | datetime


@dataclass(frozen=True)
class PeriodChoice:
    """A period by its name or by its days; a moment instead of a day means its day, ``last`` the day before it ends."""

    name: PeriodName | None = None
    first: DayOrMoment | None = None
    last: DayOrMoment | None = None
    zone: str | None = None

    def period(self, principal: Principal, now: datetime) -> Period:
        """The days of the zone, by default the company's; raises ``ListRefused``."""
        if self.zone is not None and not is_zone(self.zone):
            raise ListRefused("zone", "report_zone")
        zone = self.zone or company_zone(principal.portal)
        if self.name is None:
            last = self.last - timedelta(microseconds=1) if isinstance(self.last, datetime) else self.last
            return chosen_period(_day(self.first, zone), _day(last, zone), zone, now)
        if self.first is not None or self.last is not None:
            raise ListRefused("period", "report_period")
        return named_period(self.name, zone, now)


def _day(day: DayOrMoment | None, zone: str) -> date | None:
    return day.astimezone(ZoneInfo(zone)).date() if isinstance(day, datetime) else day


@dataclass(frozen=True)
class ScopeChoice:
    """A form, a line and a source, any of them together, or a person; nothing means everything that one may see."""

    form_key: str | None = None
    line_id: str | None = None
    source: str | None = None
    person: int | None = None

    def scope(self, principal: Principal) -> ReportScope:
        """Whose figures are read; raises ``NotPermitted``, ``NotFound`` for a form of nobody, ``ListRefused``."""
        chosen = {name: value for name, value in vars(self).items() if value is not None}
        if self.person is not None and len(chosen) > 1:
            raise ListRefused("person", "report_together")
        portal_id = principal.portal.id
        if sees_everybody(principal):
            return ReportScope(portal_id, dict(self._parts(portal_id)))
        if chosen and self.person != principal.user_id:
            raise NotPermitted
        return ReportScope(portal_id, {Kind.PERSON: str(principal.user_id)})

    def _parts(self, portal_id: int) -> Iterator[tuple[Kind, str]]:
        if self.form_key is not None:
            # Also a removed one: its requests are still counted.
            if not (form_id := form_id_of(portal_id, self.form_key)):
                raise NotFound
            yield Kind.FORM, str(form_id)
        for kind, value in ((Kind.LINE, self.line_id), (Kind.SOURCE, self.source), (Kind.PERSON, self.person)):
            if value is not None:
                yield kind, str(value)


def sees_everybody(principal: Principal) -> bool:
    """Tell whether somebody sees the figures of all; operators may be shown only their own."""
    return principal.role != Role.OPERATOR or principal.portal.settings.shares_reports


def require_part(principal: Principal, scope: ReportScope, kinds: Collection[Kind]) -> None:
    """Refuse a report that is not told for a scope's parts; raises ``NotPermitted``, ``ListRefused``."""
    if not scope.has(kinds):
        if not sees_everybody(principal):
            raise NotPermitted
        raise ListRefused(next(iter(scope.parts)), "report_together")


def divided_with(kind: Kind) -> frozenset[Kind]:
    """The parts of a scope that may be divided by a kind."""
    return COMBINED if kind in COMBINED else frozenset({kind})

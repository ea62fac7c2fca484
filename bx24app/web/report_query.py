"""What a report is asked for with, by programs and by the page."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bx24app.errors import InvalidRequest, ListRefused
from bx24app.inputs import SPELLED, Flag, Identifier
from bx24app.models import Source
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.reports.choice import PeriodChoice, ScopeChoice
from bx24app.web.addresses import MAX_ID, FormKey
from bx24app.web.guards import read_query
from bx24app.web.moments import UtcMoment

DAY_FIELDS = frozenset({"from", "to"})


def _day_or_moment(value: object) -> object:
    """Leave only a whole day or a moment with its zone: a number would be read as seconds since 1970."""
    if str(value).replace(".", "").lstrip("-").isdigit():
        raise ValueError("no day")
    return value


Day = Annotated[date | UtcMoment, BeforeValidator(_day_or_moment)]


class ReportQuery(BaseModel):
    """What a report takes: a period by its name or by days (whole days of ``zone``, both included), and filters."""

    model_config = ConfigDict(extra="forbid")

    period: Annotated[PeriodName, SPELLED] | None = None
    since: Annotated[Day | None, Field(alias="from")] = None
    until: Annotated[Day | None, Field(alias="to")] = None
    zone: Annotated[Identifier, Field(max_length=64)] | None = None
    # Also of the equal period before.
    compare: Flag = False
    form_key: FormKey | None = None
    line_id: Identifier | None = None
    source: Annotated[Source, SPELLED] | None = None
    person: Annotated[int, Field(ge=1, le=MAX_ID)] | None = None

    def period_chosen(self) -> PeriodChoice:
        """The period for the use case."""
        return PeriodChoice(self.period, self.since, self.until, self.zone)

    @property
    def filters(self) -> dict[str, str]:
        """The chosen filters as they stand in an address."""
        return {name: str(value) for name, value in vars(self.scope_chosen()).items() if value is not None}

    def scope_chosen(self) -> ScopeChoice:
        """The filter for the use case."""
        return ScopeChoice(self.form_key, self.line_id, self.source, self.person)


def read_report_query() -> ReportQuery:
    """Read the query string; raises ``InvalidRequest``, and ``ListRefused`` for what is no day."""
    try:
        return read_query(ReportQuery)
    except InvalidRequest as error:
        if error.field in DAY_FIELDS:
            raise ListRefused(error.field, "report_day") from None
        raise

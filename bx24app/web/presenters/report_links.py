"""Where a figure of the reports leads: the list of callbacks, filtered so that it has as many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from urllib.parse import urlencode

from bx24app.services.reports.periods import Period

# What these figures add up.
OUTCOMES = {"not_called": "expired,failed,cancelled"}


@dataclass(frozen=True)
class ListLinks:
    """Addresses in the list of callbacks; ``chosen`` is the filter of the report, in the words of the list."""

    period: Period
    chosen: dict[str, str]
    # The list knows the hours of the company's zone alone.
    has_hours: bool

    def to(
        self, wanted: Mapping[str, str | int] | None = None, first: date | None = None, last: date | None = None
    ) -> str:
        """All callbacks of the period, or of some of its days, that fulfil a filter too."""
        days = replace(self.period, first=first or self.period.first, last=last or self.period.last)
        moments = {"from": _moment(days.begins_at), "to": _moment(days.ends_at)}
        named = {"quick": "all", **moments, **self.chosen, **(wanted or {})}
        return f"#/callbacks?{urlencode(named)}"

    def to_outcome(self, name: str, first: date | None = None, last: date | None = None) -> str:
        """Those of a count of a ``Tally``; of "requests" all."""
        return self.to({} if name == "requests" else {"outcome": OUTCOMES.get(name, name)}, first, last)

    def to_hour(self, weekday: int, hour: int) -> str:
        """Those that were called of an hour of a weekday (0 is Monday); empty where the list cannot tell."""
        return self.to({"weekday": weekday + 1, "hour": hour, "called": 1}) if self.has_hours else ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

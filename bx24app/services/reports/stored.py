"""Rows of figures that were counted, and their sums."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select
from sqlalchemy.orm import Session

from bx24app.models import ReportFigure
from bx24app.services.reports.periods import QuarterSpan
from bx24app.services.reports.tally import COUNTS, Kind, Tally

Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class StoredFigures:
    """Some rows of a portal: all of one kind, or only those with some keys."""

    portal_id: int
    kind: Kind
    keys: tuple[str, ...] | None = None

    def of(self, query: Select[*Ts], quarters: int, span: QuarterSpan) -> Select[*Ts]:
        """Select those that are ``quarters`` long and lie in a span."""
        query = query.where(
            ReportFigure.portal_id == self.portal_id,
            ReportFigure.quarters == quarters,
            ReportFigure.kind == self.kind,
            ReportFigure.slot >= span.begin,
            ReportFigure.slot < span.end,
        )
        return query if self.keys is None else query.where(ReportFigure.key.in_(self.keys))


def sums_of(names: Sequence[str]) -> list[ColumnElement[int]]:
    """The sums of some counts."""
    return [func.sum(getattr(ReportFigure, name)) for name in names]


def summed(by: SQLColumnExpression[Any], names: Sequence[str] = COUNTS) -> Select[*tuple[Any, ...]]:
    """Select the sums of some counts for each value of an expression."""
    return select(by, *sums_of(names)).group_by(by)


def tally_of_sums(sums: Iterable[Any], names: Sequence[str] = COUNTS, sign: int = 1) -> Tally:
    """Read sums; ``sign`` -1: what is to be taken away."""
    counts: dict[str, Any] = {name: sign * int(total) for name, total in zip(names, sums, strict=True)}
    return Tally(**counts)


def add_sums(
    session: Session, query: Select[*tuple[Any, ...]], found: dict[Any, Tally], names: Sequence[str] = COUNTS
) -> None:
    """Add what ``summed`` selects to what was found before, by its value."""
    for key, *sums in session.execute(query):
        found.setdefault(key, Tally()).add(tally_of_sums(sums, names))

"""The budget of a form for one day, as the conditions and the guarded write see it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.models import BudgetDay

Facts = dict[str, object]


@dataclass(frozen=True)
class DayMoney:
    """What was found when the money of a form's day was looked up.

    It is enough up to so many ``calls`` of the day. Each call that is counted meanwhile uses up one of them, so those
    who come at once need not wait for each other; only when all are used up must the money be looked up again.
    ``overspent``: why it is used up, None while some is left.
    """

    calls: int
    overspent: Facts | None = None


@dataclass
class Budget:
    """How many calls a form may take for one day, in the time zone of its hours.

    ``calls``: the limit, None for no limit. ``look_up``: finds what is left of the day's money, None where the form has
    no budget of money. It costs more than all other conditions, so it is called only when these hold, and once.
    """

    form_id: int
    day: date
    calls: int | None = None
    look_up: Callable[[Session], DayMoney] | None = None
    _found: DayMoney | None = field(default=None, init=False)

    def money(self, session: Session) -> DayMoney | None:
        """Return what is left of the day's money; None: the form has no budget of money."""
        if self._found is None and self.look_up is not None:
            self._found = self.look_up(session)
        return self._found

    @property
    def money_calls(self) -> int | None:
        """Up to which count of the day its money is enough, None for no limit; it was looked up before."""
        assert self.look_up is None or self._found is not None
        return self._found.calls if self._found is not None else None


# The requests that are still due on the day for which they were taken; these the budget of calls limits.
CALLS_STAYING = BudgetDay.calls - BudgetDay.moved_away


def calls_taken(session: Session, form_id: int, day: date) -> int:
    """Count the requests that a form has ever taken for a day."""
    query = select(BudgetDay.calls).where(BudgetDay.form_id == form_id, BudgetDay.day == day)
    return session.scalar(query) or 0


def calls_staying(session: Session, form_id: int, day: date) -> int:
    """Count the requests that a form has taken for a day and that were not moved to another one."""
    query = select(CALLS_STAYING).where(BudgetDay.form_id == form_id, BudgetDay.day == day)
    return session.scalar(query) or 0

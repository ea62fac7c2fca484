"""The budgets of a form for one day: the number of calls is exact, their cost includes a reserve for open calls.

A request uses the budget of the day on which it is due, whenever it was made.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from bx24app.database import purge
from bx24app.models import IS_WAITING, Attempt, BudgetDay, Callback, Form, Outcome, utcnow

# The costs of so many of the portal's last calls decide how much is reserved for one call.
LAST_CALLS = 100
COST_PERCENTILE = 0.9
# While no call is known that cost something, this part of the budget is reserved for one call.
UNKNOWN_PART = Decimal("0.05")
# More than a form takes in a day: a budget is enough for no more calls, however little each costs.
MOST_CALLS = 1_000_000_000
BUDGET_DAYS_KEPT = timedelta(days=400)
# Attempts with these outcomes may have cost something that the portal has not reported yet.
_MAY_COST = (
    Outcome.DIALLING,
    Outcome.UNKNOWN,
    Outcome.STARTED,
    Outcome.ANSWERED,
    Outcome.COMPLETED,
    Outcome.MISSED,
)


@dataclass(frozen=True)
class LocalDay:
    """One day of a form in the time zone of its hours; ``begins_at`` and ``ends_at`` are UTC."""

    day: date
    begins_at: datetime
    ends_at: datetime


def local_day(at: datetime, zone: str) -> LocalDay:
    """Return the day of a time zone that contains ``at``."""
    local = ZoneInfo(zone)
    day = at.astimezone(local).date()
    begins, ends = (datetime.combine(day + timedelta(days=n), time(), local).astimezone(UTC) for n in (0, 1))
    return LocalDay(day, begins, ends)


@dataclass(frozen=True)
class SpentMoney:
    """The cost of a day's calls, with what is reserved for each open call."""

    known: Decimal
    open_calls: int
    reserve: Decimal
    currency: str | None

    def calls_left(self, budget: Decimal) -> int:
        """Tell for how many more calls a budget has a reserve, beside the known cost and the open calls."""
        # Nothing is reserved for a call only where the budget is nothing.
        if self.reserve <= 0 or self.known + self.reserve * (self.open_calls + 1) > budget:
            return 0
        return min(MOST_CALLS, int((budget - self.known) // self.reserve) - self.open_calls)

    def facts(self) -> dict[str, Any]:
        """Return the facts that the portal may read about the decision."""
        return {
            "known": str(self.known),
            "open_calls": self.open_calls,
            "reserve": str(self.reserve),
            "currency": self.currency,
        }


def spent_money(session: Session, form: Form, day: LocalDay) -> SpentMoney:
    """Compute what a form's calls of a day have cost so far, inside the caller's transaction."""
    currency = form.budget_currency or _last_currency(session, form.portal_id)
    # Those that wait first: what is dialled in between is then counted twice, never not.
    waiting = _waiting_calls(session, form, day)
    known, dialled = _dialled(session, form, day, currency)
    return SpentMoney(known, waiting + dialled, _reserve(session, form, currency), currency)


def _waiting_calls(session: Session, form: Form, day: LocalDay) -> int:
    """Count what waits to be dialled on a day: today also what was due before."""
    # By the portal's day: the sum keeps the databases from an index by form, which leads through all days to come.
    of_form = Callback.form_id + 0 == form.id
    query = select(func.count(Callback.id)).where(Callback.portal_id == form.portal_id, IS_WAITING)
    query = query.where(Callback.due_at < day.ends_at, of_form)
    if day.begins_at > utcnow():
        query = query.where(Callback.due_at >= day.begins_at)
    return session.scalar(query) or 0


def _dialled(session: Session, form: Form, day: LocalDay, currency: str | None) -> tuple[Decimal, int]:
    """Return the known cost of the day's attempts, and how many may still cost something."""
    is_known = and_(Attempt.cost.is_not(None), Attempt.cost_currency == currency)
    is_open = and_(
        or_(Attempt.cost.is_(None), Attempt.cost_currency.is_distinct_from(currency)), Attempt.outcome.in_(_MAY_COST)
    )
    # Neither database makes a join of this: by a join it may look through all callbacks that the form ever had.
    form_id = select(Callback.form_id).where(Callback.id == Attempt.callback_id).scalar_subquery()
    query = select(func.sum(case((is_known, Attempt.cost))), func.count(case((is_open, Attempt.id)))).where(
        Attempt.portal_id == form.portal_id,
        Attempt.started_at >= day.begins_at,
        Attempt.started_at < day.ends_at,
        form_id == form.id,
    )
    known, dialled = session.execute(query).one()
    return Decimal(known or 0), dialled


def _last_currency(session: Session, portal_id: int) -> str | None:
    query = select(Attempt.cost_currency).where(Attempt.portal_id == portal_id, Attempt.cost_currency.is_not(None))
    return session.scalar(query.order_by(Attempt.id.desc()).limit(1))


def _reserve(session: Session, form: Form, currency: str | None) -> Decimal:
    """Return the cost that nine of ten of those of the portal's last calls that cost something did not exceed.

    Calls that nobody answers cost nothing. Whoever has many of them made must not make the budget endless.
    """
    query = select(Attempt.cost).where(Attempt.portal_id == form.portal_id, Attempt.cost_currency == currency)
    costs = session.scalars(query.where(Attempt.cost.is_not(None)).order_by(Attempt.id.desc()).limit(LAST_CALLS))
    in_order = sorted(cost for cost in costs if cost is not None and cost > 0)
    if not in_order:
        return (form.budget_money or Decimal(0)) * UNKNOWN_PART
    return in_order[math.ceil(COST_PERCENTILE * len(in_order)) - 1]


def purge_budget_days() -> int:
    """Delete the counts of days that ended long ago; returns how many."""
    return purge(BudgetDay, BudgetDay.day < (utcnow() - BUDGET_DAYS_KEPT).date(), oldest_first=True)

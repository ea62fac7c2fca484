"""The budgets of a form for one day: the number of calls is exact, their cost includes a reserve for open calls."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from bx24app.database import purge
from bx24app.models import WAITING, Attempt, BudgetDay, Callback, Form, Outcome, utcnow

# The costs of so many of the portal's last calls decide how much is reserved for one call.
LAST_CALLS = 100
COST_PERCENTILE = 0.9
# While no cost is known, this part of the budget is reserved for one call.
UNKNOWN_PART = Decimal("0.05")
# More than a form takes in a day: a budget is enough for so many calls that cost nothing.
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


def local_day(now: datetime, zone: str) -> LocalDay:
    """Return the day of a time zone that contains ``now``."""
    local = ZoneInfo(zone)
    day = now.astimezone(local).date()
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
        if self.known + self.reserve * (self.open_calls + 1) > budget:
            return 0
        if self.reserve <= 0:
            return MOST_CALLS
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
    own = select(Attempt).join(Callback, Callback.id == Attempt.callback_id).where(Callback.form_id == form.id)
    today = and_(Attempt.started_at >= day.begins_at, Attempt.started_at < day.ends_at)
    is_known = and_(Attempt.cost.is_not(None), Attempt.cost_currency == currency)
    known = session.scalar(own.where(today, is_known).with_only_columns(func.sum(Attempt.cost)))
    cost_unknown = or_(Attempt.cost.is_(None), Attempt.cost_currency.is_distinct_from(currency))
    dialled = own.where(today, cost_unknown, Attempt.outcome.in_(_MAY_COST)).with_only_columns(func.count(Attempt.id))
    waiting = select(func.count(Callback.id)).where(
        Callback.form_id == form.id, Callback.state.in_(WAITING), Callback.due_at < day.ends_at
    )
    return SpentMoney(
        known=Decimal(known or 0),
        open_calls=(session.scalar(dialled) or 0) + (session.scalar(waiting) or 0),
        reserve=_reserve(session, form, currency),
        currency=currency,
    )


def _last_currency(session: Session, portal_id: int) -> str | None:
    query = select(Attempt.cost_currency).where(Attempt.portal_id == portal_id, Attempt.cost_currency.is_not(None))
    return session.scalar(query.order_by(Attempt.id.desc()).limit(1))


def _reserve(session: Session, form: Form, currency: str | None) -> Decimal:
    """Return the cost that nine of ten of the portal's last calls did not exceed."""
    query = select(Attempt.cost).where(Attempt.portal_id == form.portal_id, Attempt.cost_currency == currency)
    costs = session.scalars(query.where(Attempt.cost.is_not(None)).order_by(Attempt.id.desc()).limit(LAST_CALLS))
    in_order = sorted(cost for cost in costs if cost is not None)
    if not in_order:
        return (form.budget_money or Decimal(0)) * UNKNOWN_PART
    return in_order[math.ceil(COST_PERCENTILE * len(in_order)) - 1]


def purge_budget_days() -> int:
    """Delete the counts of days that ended long ago; returns how many."""
    return purge(BudgetDay, BudgetDay.day < (utcnow() - BUDGET_DAYS_KEPT).date(), oldest_first=True)

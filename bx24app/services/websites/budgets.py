"""The budgets of a form for one day: the number of calls is exact, their cost includes a reserve for open calls.

A request uses the budget of the day on which it is due, whenever it was made.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from bx24app.database import purge
from bx24app.models import (
    IS_UNRELEASED,
    IS_WAITING,
    Attempt,
    BudgetDay,
    Callback,
    DecoyRequest,
    Form,
    Outcome,
    utcnow,
)
from bx24app.models.lease import CLOCK_SLACK
from bx24app.services.callbacks.number_holder import waits_still
from bx24app.services.runtime.local_memory import recall, remember

# The costs of so many of the portal's last calls decide how much is reserved for one call.
LAST_CALLS = 100
COST_PERCENTILE = 0.9
# While no call is known that cost something, this part of the budget is reserved for one call.
UNKNOWN_PART = Decimal("0.05")
# More than a form takes in a day: a budget is enough for no more calls, however little each costs.
MOST_CALLS = 1_000_000_000
# To add up more attempts of a day takes long, and whoever posts to a form with money has it done: the sum is kept for a
# moment. What began within the last minutes is read each time, so that no open call is ever missed: a dial is committed
# after it began, by a machine whose clock may be behind. What is accepted meanwhile is counted beside (``DayMoney``).
MANY_ATTEMPTS, MANY_KEPT_SECONDS = 1000, 2.0
READ_EACH_TIME = CLOCK_SLACK + timedelta(minutes=1)
_DAYS_COSTS = "costs_of_day"
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


class PortalCosts:
    """What the calls of a portal cost, read once for all of its forms that are looked at in one transaction."""

    def __init__(self, session: Session, portal_id: int) -> None:
        self._session, self._portal_id = session, portal_id
        self.last_currency = cache(self._last_currency)
        self.last_costs = cache(self._last_costs)
        self.dialled = cache(self._dialled)

    def _last_currency(self) -> str | None:
        of_portal = (Attempt.portal_id == self._portal_id, Attempt.cost_currency.is_not(None))
        query = select(Attempt.cost_currency).where(*of_portal)
        return self._session.scalar(query.order_by(Attempt.id.desc()).limit(1))

    def _last_costs(self, currency: str | None) -> list[Decimal]:
        """Those of the last calls that cost something, the least first."""
        query = select(Attempt.cost).where(Attempt.portal_id == self._portal_id, Attempt.cost_currency == currency)
        query = query.where(Attempt.cost.is_not(None)).order_by(Attempt.id.desc()).limit(LAST_CALLS)
        return sorted(cost for cost in self._session.scalars(query) if cost is not None and cost > 0)

    def _dialled(self, day: LocalDay, currency: str | None) -> Mapping[int | None, tuple[Decimal, int]]:
        """Return by form the known cost of the day's attempts, and how many may still cost something.

        Of what began minutes ago both may be two seconds old: a cost that came since then is reserved for until then.
        """
        name = f"{self._portal_id} {day.begins_at} {day.ends_at} {currency}"
        kept = cast("_KeptCosts | None", recall(_DAYS_COSTS, name))
        until = utcnow() - READ_EACH_TIME if kept is None else kept.until
        read = self._added_up(day.begins_at if kept is None else until, day.ends_at, until, currency)
        settled = [one for one in read if one.is_settled] if kept is None else kept.costs
        if sum(one.attempts for one in settled) > MANY_ATTEMPTS and kept is None:
            remember(_DAYS_COSTS, name, MANY_KEPT_SECONDS, _KeptCosts(until, settled))
        found: dict[int | None, tuple[Decimal, int]] = {}
        for one in [*settled, *(one for one in read if not one.is_settled)]:
            known, open_calls = found.get(one.form_id, (Decimal(0), 0))
            found[one.form_id] = known + one.known, open_calls + one.open_calls
        return found

    def _added_up(
        self, begins_at: datetime, ends_at: datetime, until: datetime, currency: str | None
    ) -> list["_FormCosts"]:
        """Add up the attempts that began within a time: by form, those before ``until`` apart from the others."""
        is_known = and_(Attempt.cost.is_not(None), Attempt.cost_currency == currency)
        is_open = and_(
            or_(Attempt.cost.is_(None), Attempt.cost_currency.is_distinct_from(currency)),
            Attempt.outcome.in_(_MAY_COST),
        )
        # Neither database makes a join of this: by a join it may look through all callbacks of the portal.
        form_id = select(Callback.form_id).where(Callback.id == Attempt.callback_id).scalar_subquery()
        is_settled = (Attempt.started_at < until).label("is_settled")
        of_time = select(
            form_id.label("form_id"),
            is_settled,
            Attempt.cost,
            Attempt.id,
            is_known.label("is_known"),
            is_open.label("is_open"),
        ).where(Attempt.portal_id == self._portal_id, Attempt.started_at >= begins_at, Attempt.started_at < ends_at)
        one = of_time.subquery("one")
        known = func.coalesce(func.sum(case((one.c.is_known, one.c.cost))), 0)
        sums = (func.count(), known, func.count(case((one.c.is_open, one.c.id))))
        groups = one.c.form_id, one.c.is_settled
        return [_FormCosts(*row) for row in self._session.execute(select(*groups, *sums).group_by(*groups))]


class _FormCosts(NamedTuple):
    form_id: int | None
    is_settled: bool
    attempts: int
    known: Decimal
    open_calls: int


class _KeptCosts(NamedTuple):
    """What the attempts of a day had cost that began before a moment."""

    until: datetime
    costs: list[_FormCosts]


def spent_money(session: Session, form: Form, day: LocalDay, costs: PortalCosts | None = None) -> SpentMoney:
    """Compute what a form's calls of a day have cost so far, inside the caller's transaction."""
    costs = costs or PortalCosts(session, form.portal_id)
    currency = form.budget_currency or costs.last_currency()
    # Those that wait first: what is dialled in between is then counted twice, never not.
    waiting = _waiting_calls(session, form, day) + _waiting_decoys(session, form, day)
    known, dialled = costs.dialled(day, currency).get(form.id, (Decimal(0), 0))
    return SpentMoney(known, waiting + dialled, _reserve(form, costs.last_costs(currency)), currency)


def _waiting_calls(session: Session, form: Form, day: LocalDay) -> int:
    """Count what waits to be dialled on a day: today also what was due before."""
    # By the portal's day: the sum keeps the databases from an index by form, which leads through all days to come.
    of_form = Callback.form_id + 0 == form.id
    query = select(func.count(Callback.id)).where(Callback.portal_id == form.portal_id, IS_WAITING)
    query = query.where(Callback.due_at < day.ends_at, of_form)
    if day.begins_at > utcnow():
        query = query.where(Callback.due_at >= day.begins_at)
    return session.scalar(query) or 0


def _waiting_decoys(session: Session, form: Form, day: LocalDay) -> int:
    """Count the decoys of a day that may become callbacks, and those that wait: none must be told by its cost.

    One that was released is shown as dialled, but is called if the callback before it ends without having rung.
    """
    now = utcnow()
    of_day = and_(DecoyRequest.form_id == form.id, DecoyRequest.due_at < day.ends_at)
    if day.begins_at > now:
        of_day = and_(of_day, DecoyRequest.due_at >= day.begins_at)
    holders = select(Callback.id).where(Callback.portal_id == form.portal_id, IS_WAITING)
    released = and_(DecoyRequest.released_at.is_not(None), DecoyRequest.holder_id.in_(holders), waits_still(now))
    counts = [select(func.count(DecoyRequest.id)).where(of_day, which) for which in (IS_UNRELEASED, released)]
    return sum(session.scalar(count) or 0 for count in counts)


def _reserve(form: Form, costs: Sequence[Decimal]) -> Decimal:
    """Return the cost that nine of ten of those of the portal's last calls that cost something did not exceed.

    Calls that nobody answers cost nothing. Whoever has many of them made must not make the budget endless.
    """
    if not costs:
        return (form.budget_money or Decimal(0)) * UNKNOWN_PART
    return costs[math.ceil(COST_PERCENTILE * len(costs)) - 1]


def purge_budget_days() -> int:
    """Delete the counts of days that ended long ago; returns how many."""
    return purge(BudgetDay, BudgetDay.day < (utcnow() - BUDGET_DAYS_KEPT).date(), oldest_first=True)

"""A hand-made week of a company in Berlin, over the night in which its clocks go back (25 October 2026).

Every figure of it is counted by hand below. Legs that Bitrix24 does not tell, two currencies and calls without a known
cost are in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bx24app.database import writing
from bx24app.models import Attempt, Callback, Form, Outcome, Portal, Rejection, Source, State

ZONE = "Europe/Berlin"
FIRST, LAST = date(2026, 10, 19), date(2026, 10, 25)
ANNA, MAX = 7, 8


@dataclass(frozen=True)
class Call:
    """One call: its code (200: somebody talked), when somebody picked up (seconds after the request), its cost."""

    code: str | None
    picked_up: int | None = None
    cost: str | None = None
    currency: str = "EUR"
    talk: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request by the clock of Berlin; ``fold`` is 1 in the hour that is repeated."""

    at: str
    state: str
    calls: Sequence[Call] = ()
    form: bool = True
    by: int | None = None
    fold: int = 0
    later: int = 0

    def moment(self) -> datetime:
        """When it was, in UTC."""
        return datetime.fromisoformat(self.at).replace(tzinfo=ZoneInfo(ZONE), fold=self.fold).astimezone(UTC)


DONE, MISSED = State.COMPLETED, State.MISSED
WEEK = (
    # Monday: two talks, one that nobody answered.
    Asked("2026-10-19 09:00:10", DONE, [Call("200", 40, "0.0312", talk=180)]),
    Asked("2026-10-19 09:20:00", DONE, [Call("304"), Call("200", 700, "0.05", talk=60)]),
    Asked("2026-10-19 23:59:00", MISSED, [Call("304", cost="0.0000")]),
    # Tuesday: of the two legs one is told by its code, one by a pick-up, and one not at all.
    Asked("2026-10-20 00:00:00", MISSED, [Call("486", cost="0.02")]),
    Asked("2026-10-20 10:00:00", MISSED, [Call("304", 20)]),
    Asked("2026-10-20 10:30:00", MISSED, [Call("603-S", cost="0.01")]),
    # Wednesday: in roubles, asked by staff; and what was never called.
    Asked("2026-10-21 12:00:00", DONE, [Call("200", 5, "1.5", "RUB", 30)], form=False, by=MAX),
    Asked("2026-10-21 12:10:00", State.EXPIRED),
    Asked("2026-10-21 12:20:00", State.CANCELLED),
    Asked("2026-10-21 12:30:00", State.FAILED),
    # Sunday: the hour from 2 to 3 comes twice.
    Asked("2026-10-25 02:30:00", DONE, [Call("200", 100, "0.10", talk=90)]),
    Asked("2026-10-25 02:30:00", State.UNKNOWN, [Call(None)], fold=1),
    Asked("2026-10-25 23:59:59", State.SCHEDULED, later=3600),
    # The Sunday before and the Monday after, which are of other weeks.
    Asked("2026-10-18 23:59:59", DONE, [Call("200", 10, "5.00", talk=5)]),
    Asked("2026-10-26 00:00:00", MISSED, [Call("304")]),
)
# What is to be found of the week, counted by hand.
EXPECTED: dict[str, object] = {
    "requests": 13,
    "reached": 4,
    "nobody_answered": 1,
    "customer_not_reached": 2,
    "not_told": 2,
    "expired": 1,
    "failed": 1,
    "cancelled": 1,
    "under_way": 1,
    "called": 9,
    "picked_up": 6,
    "talk_seconds": 360,
    "calls": 10,
    "calls_without_cost": 3,
    "rejected": 9,
    "cost": [{"currency": "EUR", "amount": 0.2112}, {"currency": "RUB", "amount": 1.5}],
}
# 5, 20, 40, 100 and 700 seconds, in steps; of one pick-up the time is not told.
EXPECTED_TIMES = {"median_seconds": 40, "p90_seconds": 660, "measured": 5, "not_told": 1, "not_called": 4}
EXPECTED_DAYS = [3, 3, 4, 0, 0, 0, 3]
EXPECTED_FUNNEL = [
    ("asked", 22, 0, None),
    ("accepted", 13, 9, "rejected"),
    ("called", 9, 4, "expired"),
    ("picked_up", 6, 3, "not_told"),
    ("reached", 4, 2, "customer_not_reached"),
]


def write_week(portal_id: int, form: Form | None, asked: Sequence[Asked] = WEEK) -> None:
    """Store the week, as it would have come about."""
    with writing() as session:
        for number, one in enumerate(asked):
            session.add(_callback(portal_id, form, number, one))
        if form is not None:
            for at, rule, count in ((date(2026, 10, 19), "origin", 7), (date(2026, 10, 23), "hours", 2)):
                made_at = datetime.combine(at, datetime.min.time(), ZoneInfo(ZONE)).astimezone(UTC)
                row = Rejection(
                    portal_id=portal_id, form_id=form.id, rule=rule, inputs={}, count=count, made_at=made_at
                )
                session.add(row)
        settings = session.scalars(select(Portal).where(Portal.id == portal_id)).one().settings
        settings.hours = {"zone": ZONE, "week": {}}


def _callback(portal_id: int, form: Form | None, number: int, asked: Asked) -> Callback:
    at = asked.moment()
    of_form = form if asked.form else None
    callback = Callback(
        id=UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | portal_id << 20 | number),
        portal_id=portal_id,
        state=asked.state,
        to_number=f"+49309018{number:03}",
        line_id="reg150907" if number % 2 else "sip7",
        line_name="Sales line",
        text="Callback request.",
        source=Source.WEBSITE if of_form else Source.STAFF,
        form_id=of_form.id if of_form else None,
        requested_by=asked.by,
        scheduled_at=at + timedelta(seconds=asked.later) if asked.later else None,
        due_at=at,
        expires_at=at,
        created_at=at,
        updated_at=at,
    )
    callback.attempts = [_attempt(portal_id, n, call, at) for n, call in enumerate(asked.calls, 1)]
    return callback


def _attempt(portal_id: int, number: int, call: Call, at: datetime) -> Attempt:
    outcome = Outcome.COMPLETED if call.code == "200" else Outcome.MISSED if call.code else Outcome.UNKNOWN
    return Attempt(
        portal_id=portal_id,
        number=number,
        line_id="reg150907",
        to_number="+4930901800",
        outcome=outcome,
        failed_code=None if call.code == "200" else call.code,
        answered_by=ANNA if call.picked_up is not None else None,
        answered_at=None if call.picked_up is None else at + timedelta(seconds=call.picked_up),
        duration_seconds=call.talk,
        cost=Decimal(call.cost) if call.cost else None,
        cost_currency=call.currency if call.cost else None,
        started_at=at,
    )

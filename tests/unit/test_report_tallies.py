"""What one callback counts for: each end, each code, each wait."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bx24app.models import FINAL, Outcome, Source, State
from bx24app.services.callbacks.retry_policy import NEXT_STEPS
from bx24app.services.reports.tally import (
    COUNTS,
    WAIT_BUCKETS,
    WAIT_STEPS,
    CountedAttempt,
    CountedCallback,
    Tally,
    kinds_of,
    tally_of,
    wait_step,
)

AT = datetime(2026, 11, 27, 9, tzinfo=UTC)
FATES = (
    "reached",
    "nobody_answered",
    "customer_not_reached",
    "not_told",
    "expired",
    "failed",
    "cancelled",
    "under_way",
)


def attempt(
    code: str | None = None,
    outcome: str = Outcome.MISSED,
    picked_up_after: float | None = None,
    cost: tuple[str, str] | None = None,
) -> CountedAttempt:
    return CountedAttempt(
        outcome=outcome,
        failed_code=code,
        answered_by=7 if picked_up_after is not None else None,
        answered_at=None if picked_up_after is None else AT + timedelta(seconds=picked_up_after),
        duration_seconds=60 if outcome == Outcome.COMPLETED else None,
        cost=Decimal(cost[0]) if cost else None,
        currency=cost[1] if cost else None,
    )


def callback(state: str, *attempts: CountedAttempt, reason: str | None = None, later: float = 0) -> CountedCallback:
    scheduled_at = AT + timedelta(seconds=later) if later else None
    return CountedCallback(state, reason, Source.STAFF, None, "reg1", 8, AT, scheduled_at, attempts)


MISSED, COMPLETED = State.MISSED, State.COMPLETED
DONE = attempt(outcome=Outcome.COMPLETED)


@pytest.mark.parametrize(
    ("counted", "fate", "called", "picked_up"),
    [
        (callback(COMPLETED, DONE), "reached", 1, 1),
        (callback(COMPLETED, attempt(outcome=Outcome.UNKNOWN), reason="resolved_reached"), "reached", 1, 1),
        # Another telephony app was given the call.
        (callback(COMPLETED, attempt(outcome=Outcome.HANDED_OVER), reason="handed_over"), "not_told", 1, 0),
        (callback(MISSED, attempt("304")), "nobody_answered", 1, 0),
        (callback(MISSED, attempt("304", picked_up_after=9)), "customer_not_reached", 1, 1),
        (callback(MISSED, attempt("486")), "customer_not_reached", 1, 1),
        (callback(MISSED, attempt("603-S")), "not_told", 1, 0),
        (callback(MISSED, attempt("304"), attempt("402")), "not_told", 1, 0),
        (callback(MISSED, attempt("486"), reason="resolved_not_reached"), "not_told", 1, 0),
        (callback(MISSED, attempt(None), reason="end_not_seen"), "not_told", 1, 0),
        (callback(State.UNKNOWN, attempt(outcome=Outcome.UNKNOWN)), "not_told", 1, 0),
        (callback(State.EXPIRED), "expired", 0, 0),
        (callback(State.CANCELLED), "cancelled", 0, 0),
        (callback(State.FAILED), "failed", 0, 0),
        (callback(State.FAILED, attempt(outcome=Outcome.REFUSED)), "failed", 0, 0),
        # It was called before: what that call said counts.
        (callback(State.EXPIRED, attempt("304")), "nobody_answered", 1, 0),
        (
            callback(State.CANCELLED, attempt("486"), attempt(outcome=Outcome.NOT_EXECUTED)),
            "customer_not_reached",
            1,
            1,
        ),
        (callback(State.SCHEDULED, attempt("304")), "under_way", 1, 0),
        (callback(State.DIALLING, attempt(outcome=Outcome.DIALLING)), "under_way", 0, 0),
    ],
)
def test_the_end_of_a_callback(counted: CountedCallback, fate: str, called: int, picked_up: int) -> None:
    tally = tally_of(counted)
    assert [name for name in FATES if getattr(tally, name)] == [fate]
    assert (tally.requests, tally.called, tally.picked_up) == (1, called, picked_up)
    assert tally.untimed == picked_up - sum(tally.waits.values())


def test_every_request_counts_once_however_it_stands() -> None:
    for state in State:
        for code in [*NEXT_STEPS, None]:
            for attempts in ((), (attempt(code),), (attempt(code, picked_up_after=3),)):
                tally = tally_of(callback(state, *attempts))
                assert sum(getattr(tally, name) for name in FATES) == tally.requests == 1
                assert (tally.under_way == 1) == (state not in FINAL and state != State.UNKNOWN)
                assert tally.not_called <= 1 - tally.called <= 1


def test_money_is_counted_by_currency_and_calls_without_a_cost_beside_it() -> None:
    calls = [attempt("304", cost=("0.0300", "EUR")), attempt("304", cost=("1.5", "RUB")), attempt("304")]
    calls += [attempt("304", cost=("0.0001", "EUR")), attempt(outcome=Outcome.NOT_EXECUTED)]
    tally = tally_of(callback(MISSED, *calls))
    assert tally.costs == {"EUR": 301, "RUB": 15_000}
    assert (tally.calls, tally.calls_without_cost) == (4, 1)


def test_a_wait_begins_at_the_promised_moment_if_that_is_later() -> None:
    called = attempt(outcome=Outcome.COMPLETED, picked_up_after=95)
    for later, step in ((0, "90"), (60, "35"), (3600, "0"), (-60, "90")):
        assert tally_of(callback(COMPLETED, called, later=later)).waits == {step: 1}, later


def test_median_and_p90_are_by_nearest_rank_of_waits_rounded_down() -> None:
    for waits, median, p90 in (
        ([], None, None),
        ([7], 5, 5),
        ([7, 400], 5, 360),
        ([1, 2, 100, 200, 300], 90, 300),
        (list(range(1000, 2000)), 1200, 1800),
        ([10**7] * 3, 86_400, 86_400),
    ):
        total = Tally()
        for wait in waits:
            total.add(Tally(waits={wait_step(wait): 1}))
        assert (total.wait(50), total.wait(90)) == (median, p90)
        assert sum(count for _, count in total.waits_by_bucket()) == total.waited == len(waits)
    assert list(WAIT_STEPS) == sorted(set(WAIT_STEPS))
    # Each bound of a bucket is a step, or rounded waits would stand in the wrong bucket.
    assert set(WAIT_BUCKETS) <= set(WAIT_STEPS)
    assert Tally(waits={"55": 1, "60": 2, "3600": 4}).waits_by_bucket() == [
        (60, 1),
        (300, 2),
        (900, 0),
        (3600, 0),
        (None, 4),
    ]


def test_tallies_add_up_and_people_are_those_who_answered() -> None:
    total, one = Tally(), tally_of(callback(COMPLETED, attempt(outcome=Outcome.COMPLETED, cost=("2", "EUR"))))
    total.add(one)
    total.add(one)
    assert all(getattr(total, name) == 2 * getattr(one, name) for name in COUNTS)
    assert total.costs == {"EUR": 40_000}
    assert ("person", "8") in set(kinds_of(callback(MISSED, attempt("304"))))
    assert ("person", "7") in set(kinds_of(callback(MISSED, attempt("304", picked_up_after=1))))

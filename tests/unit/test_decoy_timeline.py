"""The steps that decoys show: lawful, of all lengths and ends, and those of the policy of their form."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise

import pytest

from bx24app.models import FINAL, TRANSITIONS, DecoyRequest, State, UnknownPolicy
from bx24app.models.ids import new_id
from bx24app.services.callbacks import decoys
from bx24app.services.callbacks.retry_policy import RetryPolicy
from bx24app.services.calling.business_hours import Hours
from bx24app.services.security import digests

# A Friday, 17:50 in Berlin.
CLOSING = datetime(2026, 11, 27, 16, 50, tzinfo=UTC)
MONDAY = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
OFFICE = Hours(zone="Europe/Berlin", week={day: [("09:00", "18:00")] for day in ("mon", "tue", "wed", "thu", "fri")})


@pytest.fixture(autouse=True)
def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(purpose: str, value: str) -> str:
        return sha256(f"{purpose}{value}".encode()).hexdigest()

    monkeypatch.setattr(digests, "digest", digest)


def policy(retries: int = 2, hours: Hours | None = None) -> RetryPolicy:
    return RetryPolicy(retries, timedelta(minutes=20), UnknownPolicy.ASK, timedelta(hours=1), hours)


def steps(decoy: DecoyRequest, policy: RetryPolicy) -> list[decoys.ShownStep]:
    """Every step, found by looking at each moment at which something begins."""
    found = [decoys.shown_step(decoy, policy, decoy.created_at)]
    for step in decoys._dials(decoy.id, decoy.due_at, policy):
        assert step.begins_at > found[-1].begins_at
        assert decoys.shown_step(decoy, policy, step.begins_at - timedelta(microseconds=1)) == found[-1]
        found.append(decoys.shown_step(decoy, policy, step.begins_at))
    return found


def decoy_due(at: datetime, after: timedelta = timedelta(0)) -> DecoyRequest:
    return DecoyRequest(id=new_id(), created_at=at, due_at=at + after, tried=0)


@pytest.mark.parametrize("retries", [0, 2])
def test_every_way_is_lawful_and_every_end_is_met(retries: int) -> None:
    ends, dials = Counter[State](), Counter[int]()
    for _ in range(300):
        path = steps(decoy_due(CLOSING), policy(retries))
        states = [step.state for step in path]
        # Between a planned and a dialled one a worker takes it into the queue, which no look is fast enough to see.
        for old, new in pairwise(states):
            assert new in TRANSITIONS[old] or (old, new) == (State.SCHEDULED, State.DIALLING)
        assert states[-1] in FINAL
        ends[states[-1]] += 1
        dials[states.count(State.DIALLING)] += 1
        assert path[-1].begins_at - CLOSING < timedelta(minutes=10) + (retries + 1) * timedelta(minutes=22)
    assert set(ends) == {State.COMPLETED, State.MISSED}
    assert set(dials) == set(range(1, retries + 2))
    assert ends[State.COMPLETED] > ends[State.MISSED]


def test_one_that_is_due_later_is_planned_until_then() -> None:
    for _ in range(50):
        first, second, *_ = steps(decoy_due(CLOSING, timedelta(minutes=3)), policy())
        assert (first.state, second.state) == (State.SCHEDULED, State.DIALLING)
        assert timedelta(0) < second.begins_at - first.due_at < timedelta(seconds=1)


def test_nobody_is_shown_a_dial_while_the_company_is_closed() -> None:
    met = set()
    for _ in range(200):
        path = steps(decoy_due(CLOSING), policy(hours=OFFICE))
        assert all(OFFICE.is_open(step.begins_at) for step in path if step.state == State.DIALLING)
        met |= {step.due_at for step in path if step.state == State.SCHEDULED}
    assert MONDAY in met


def test_hours_that_never_open_again_end_it() -> None:
    closed = Hours(zone="UTC", week={})
    assert [step.state for step in steps(decoy_due(CLOSING), policy(hours=closed))] == [State.QUEUED, State.FAILED]


def test_a_look_from_before_it_was_made_shows_its_beginning() -> None:
    """Of two equal requests that meet, one gets the other's decoy, which was made after its own moment."""
    made = decoy_due(CLOSING)
    early = decoys.shown_step(made, policy(), CLOSING - timedelta(milliseconds=3))
    assert early == decoys.shown_step(made, policy(), CLOSING)
    assert early.state == State.QUEUED

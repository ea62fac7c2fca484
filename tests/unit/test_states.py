"""The table of states: every pair of states is either a step that the model takes or one that it refuses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from bx24app.models import (
    FINAL,
    IN_HAND,
    TRANSITIONS,
    WAITING,
    Attempt,
    Callback,
    IllegalTransition,
    MovedBackwards,
    Outcome,
    State,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def a_callback(state: State) -> Callback:
    attempt = Attempt(number=1, line_id="reg1", to_number="+4930123456", started_at=NOW)
    return Callback(state=state, line_id="reg1", to_number="+4930123456", attempts=[attempt], decisions=[], due_at=NOW)


# Written by hand from the design, not from the code: who may follow whom.
STEPS: dict[str, str] = {
    "scheduled": "scheduled queued cancelled expired failed",
    "queued": "scheduled dialling cancelled expired failed started answered completed missed",
    "dialling": "scheduled queued started completed failed unknown",
    "started": "scheduled answered completed missed",
    "answered": "scheduled completed missed",
    "unknown": "scheduled queued started answered completed missed",
    "failed": "started answered completed missed",
    "completed": "",
    "missed": "",
    "cancelled": "",
    "expired": "",
}


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_every_pair_of_states_is_decided(old: State, new: State) -> None:
    assert (new in TRANSITIONS[old]) == (new.value in STEPS[old.value].split())


METHODS: list[tuple[str, State, Callable[[Callback, Attempt], object]]] = [
    ("queue", State.QUEUED, lambda c, a: c.queue(NOW)),
    ("fence", State.DIALLING, lambda c, a: c.fence(NOW, LATER, "digest", None)),
    ("start", State.STARTED, lambda c, a: c.start(a, "callback.1", NOW)),
    ("hand_over", State.COMPLETED, lambda c, a: c.hand_over(a, NOW)),
    ("refuse", State.FAILED, lambda c, a: c.refuse(a, NOW, "portal_refused", "no")),
    ("put_back", State.SCHEDULED, lambda c, a: c.put_back(a, NOW, LATER, "bitrix24_busy")),
    ("put_back_now", State.QUEUED, lambda c, a: c.put_back(a, NOW, NOW, "expired_token")),
    ("mark_unknown", State.UNKNOWN, lambda c, a: c.mark_unknown(a, NOW, "dial_timeout")),
    ("answer", State.ANSWERED, lambda c, a: c.answer(a, 7, NOW)),
    ("complete", State.COMPLETED, lambda c, a: c.complete(NOW)),
    ("miss", State.MISSED, lambda c, a: c.miss(NOW, "code_304")),
    ("fail", State.FAILED, lambda c, a: c.fail(NOW, "not_permitted")),
    ("cancel", State.CANCELLED, lambda c, a: c.cancel(NOW)),
    ("expire", State.EXPIRED, lambda c, a: c.expire(NOW)),
    ("dial_again", State.QUEUED, lambda c, a: c.dial_again(NOW, LATER)),
    ("reschedule", State.SCHEDULED, lambda c, a: c.reschedule(NOW, LATER, LATER)),
]


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize(("name", "new", "method"), METHODS, ids=[name for name, _, _ in METHODS])
def test_every_method_keeps_to_the_table(
    old: State, name: str, new: State, method: Callable[[Callback, Attempt], object]
) -> None:
    callback = a_callback(old)
    if new in TRANSITIONS[old]:
        method(callback, callback.attempts[0])
        assert callback.state == new
        assert (callback.ended_at is not None) == (new in FINAL)
    else:
        with pytest.raises(IllegalTransition):
            method(callback, callback.attempts[0])
        assert callback.state == old


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("outcome", [None, Outcome.NOT_EXECUTED, Outcome.UNKNOWN, Outcome.STARTED, Outcome.MISSED])
def test_whatever_was_not_over_is_unknown_after_a_restore(old: State, outcome: Outcome | None) -> None:
    callback = a_callback(old)
    if outcome is not None:
        callback.attempts[0].outcome = outcome
    if old in FINAL:
        with pytest.raises(IllegalTransition):
            callback.restore(NOW, LATER, "digest", 7)
        assert callback.state == old
        return
    callback.restore(NOW, LATER, "digest", 7)
    assert (callback.state, callback.reason, callback.updated_at) == (State.UNKNOWN, "restored", LATER)
    assert callback.holds_number
    # What waited may have been dialled since: the history is asked about that attempt, and about no other one.
    if old in WAITING:
        first, lost = callback.attempts
        assert first.outcome == outcome or outcome is None
        assert (lost.outcome, lost.number, lost.started_at, lost.history_cursor) == (Outcome.UNKNOWN, 2, NOW, 7)
    else:
        [lost] = callback.attempts
        assert lost.outcome == (outcome or Outcome.UNKNOWN)


def test_a_waiting_or_final_callback_is_not_mistaken_for_one_in_hand() -> None:
    assert {State.SCHEDULED} == WAITING - IN_HAND
    assert not FINAL & IN_HAND
    assert set(State) == FINAL | IN_HAND | WAITING


ORDER = [Outcome.DIALLING, Outcome.UNKNOWN, Outcome.STARTED, Outcome.ANSWERED, Outcome.COMPLETED]


# Nothing leads to the first: an attempt begins there.
@pytest.mark.parametrize(("earlier", "later"), [(a, b) for a in range(5) for b in range(1, 5) if a >= b])
def test_an_attempt_never_moves_backwards(earlier: int, later: int) -> None:
    attempt = Attempt(number=1, outcome=ORDER[earlier])
    moves: dict[Outcome, Callable[[], object]] = {
        Outcome.UNKNOWN: attempt.mark_unknown,
        Outcome.STARTED: lambda: attempt.start("callback.1", NOW),
        Outcome.ANSWERED: lambda: attempt.answer(7, NOW),
        Outcome.COMPLETED: lambda: attempt.end(Outcome.COMPLETED, NOW, None, None),
    }
    with pytest.raises(MovedBackwards):
        moves[ORDER[later]]()
    assert attempt.outcome == ORDER[earlier]

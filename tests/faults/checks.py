"""The assertions: at every request to dial, after every step, and when everything has come to rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Engine, Row, select

from bx24app.models import Attempt, Callback, Decision
from tests.fake_bitrix24 import FakeCall
from tests.faults.phones import Phones

# Written by hand from the design, not from the code.
ORDER = {"dialling": 0, "unknown": 1, "refused": 1, "started": 2, "answered": 3}
END = 4
ENDS = ("completed", "missed", "failed", "cancelled", "expired")
NEVER_EXECUTED = ("refused", "not_executed")
OPEN_FATE = ("dialling", "unknown", "started", "answered")
# What lets an attempt follow one of unknown fate.
DECIDED = ("resolved", "deadline_dials_again")
# What lets a number be called although an earlier call of it may go on.
FREED = (*DECIDED, "deadline_asks", "closed_unseen")
DIALS_AT_ONCE = 2


class Broken(Exception):
    """The promise is broken; ``kind`` names the assertion."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind = kind


class Place(NamedTuple):
    """One attempt of one callback, for ever."""

    callback_id: UUID
    number: int


@dataclass
class Arrival:
    """A request to dial as it reached the portal; ``call`` is what it made, if anything."""

    place: Place
    to_number: str
    line: str
    call: FakeCall | None = None


@dataclass
class Snapshot:
    """What the database says of the schedule's callbacks."""

    callbacks: dict[UUID, Row[Any]]
    attempts: dict[Place, Row[Any]]
    decisions: dict[UUID, list[Row[Any]]]

    def attempts_of(self, callback_id: UUID) -> list[Row[Any]]:
        """In their order."""
        return [row for place, row in sorted(self.attempts.items()) if place.callback_id == callback_id]

    def decided(self, callback_id: UUID, rules: Iterable[str], after: int = 0) -> list[Row[Any]]:
        """Decisions by these rules that were made after one."""
        return [row for row in self.decisions.get(callback_id, ()) if row.rule in rules and row.id > after]


def look(observer: Engine) -> Snapshot:
    """Read everything, as another process sees it: only what is committed."""
    with observer.connect().execution_options(bx24app_writes=False) as connection:
        callbacks = connection.execute(select(Callback.__table__)).all()
        attempts = connection.execute(select(Attempt.__table__)).all()
        decisions = connection.execute(select(Decision.__table__).order_by(Decision.id)).all()
    seen = Snapshot(
        {row.id: row for row in callbacks}, {Place(row.callback_id, row.number): row for row in attempts}, {}
    )
    for row in decisions:
        seen.decisions.setdefault(row.callback_id, []).append(row)
    return seen


def is_at_rest(callback: Row[Any]) -> bool:
    """It has ended, or a person is asked and its number is free."""
    asks = callback.state == "unknown" and callback.asks_since is not None and not callback.holds_number
    return callback.state in ENDS or asks


@dataclass
class Ledger:
    """What has happened in one schedule, apart from what the app says of it."""

    observer: Engine
    phones: Phones
    accepted: list[UUID] = field(default_factory=list)
    cancelled: set[UUID] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    # Fencing numbers of the claims that workers of this process follow just now.
    claims: dict[UUID, set[int]] = field(default_factory=dict)
    # Numbers for which somebody else's callback rang on the same line: nobody could tell it from ours.
    ambiguous: set[str] = field(default_factory=set)
    retries: dict[UUID, int] = field(default_factory=dict)
    # Where no form says so: also of what automation rules have asked for.
    portal_retries: int = 0
    _last: Snapshot | None = None

    def find(self, place: Place) -> Arrival | None:
        """The request of an attempt, if it ever arrived."""
        return next((arrival for arrival in self.arrivals if arrival.place == place), None)

    # At the portal

    def arrive(self, number: str, line: str, now: datetime) -> Arrival | None:
        """Check a request to dial before it is executed; None when it should never have come."""
        try:
            arrival = self._arrive(number, line, now)
        except Broken as broken:
            self.broken.append(broken)
            return None
        self.arrivals.append(arrival)
        return arrival

    def _arrive(self, number: str, line: str, now: datetime) -> Arrival:
        seen = look(self.observer)
        dialling = [row for row in seen.callbacks.values() if row.state == "dialling"]
        here = [row for row in seen.callbacks.values() if row.to_number == number and self._may_arrive(seen, row)]
        if len(here) != 1:
            states = [row.state for row in seen.callbacks.values() if row.to_number == number]
            raise Broken("no_fence", f"a dial of {number} arrived while its callbacks were {states}")
        [callback] = here
        place = Place(callback.id, len(seen.attempts_of(callback.id)))
        attempt = seen.attempts.get(place)
        if attempt is None or attempt.outcome not in ("dialling", "unknown"):
            raise Broken("no_fence", f"{place} has no attempt under way")
        if self.find(place) is not None:
            raise Broken("dialled_twice", f"{place} arrived a second time")
        if sum(row.leased_until is not None and row.leased_until >= now for row in dialling) > DIALS_AT_ONCE:
            raise Broken("too_many_dials", f"{len(dialling)} dials are in flight")
        followed = self.claims.get(callback.id)
        if followed is not None and callback.lease_fence not in followed:
            raise Broken("lost_lease", f"{place} was dialled under {followed}, the lease is {callback.lease_fence}")
        self._check_earlier(seen, place)
        self._check_number(seen, callback)
        self._check_calls(seen, callback)
        return Arrival(place, number, line)

    def _may_arrive(self, seen: Snapshot, callback: Row[Any]) -> bool:
        """It is being dialled; or its worker has taken silence for silence before the portal got round to reading."""
        return callback.state == "dialling" or self.is_straggler(seen, callback)

    def is_straggler(self, seen: Snapshot, callback: Row[Any]) -> bool:
        """Its request was sent, nobody waits for the answer any more, and it has not arrived yet."""
        timed_out = callback.state == "unknown" and callback.reason == "dial_timeout"
        return timed_out and self.find(Place(callback.id, len(seen.attempts_of(callback.id)))) is None

    def has_stragglers(self) -> bool:
        """Whether any such request is still to come."""
        seen = look(self.observer)
        return any(self.is_straggler(seen, row) for row in seen.callbacks.values())

    def _check_earlier(self, seen: Snapshot, place: Place) -> None:
        """No attempt follows one of unknown fate, unless somebody or the form's policy has said so since."""
        for attempt in seen.attempts_of(place.callback_id)[:-1]:
            fenced = next(
                row
                for row in seen.decided(place.callback_id, ["fenced"])
                if row.inputs["attempt"] == str(attempt.number)
            )
            if attempt.outcome in OPEN_FATE and not seen.decided(place.callback_id, DECIDED, after=fenced.id):
                raise Broken("fate_unknown", f"{place} was dialled while attempt {attempt.number} is {attempt.outcome}")
        executed = [a for a in seen.attempts_of(place.callback_id) if a.outcome not in NEVER_EXECUTED]
        again = [d for d in seen.decided(place.callback_id, ["resolved"]) if d.inputs["outcome"] == "dial_again"]
        if len(executed) > self.retries.get(place.callback_id, self.portal_retries) + 1 + len(again):
            raise Broken("too_often", f"{place} is more than the policy and people have asked for")

    def _check_number(self, seen: Snapshot, callback: Row[Any]) -> None:
        others = [
            row.state
            for row in seen.callbacks.values()
            if row.to_number == callback.to_number and row.id != callback.id and row.holds_number
        ]
        if others:
            raise Broken("number_in_hand", f"{callback.to_number} is also in hand as {others}")

    def _check_calls(self, seen: Snapshot, callback: Row[Any]) -> None:
        """The customer is not called twice at once, unless nobody could know better."""
        for earlier in self.arrivals:
            going_on = earlier.call is not None and earlier.call.state != "ended"
            if earlier.to_number != callback.to_number or not going_on or earlier.to_number in self.ambiguous:
                continue
            if not seen.decided(earlier.place.callback_id, FREED):
                raise Broken("two_calls_at_once", f"{earlier.place} still rings or talks")

    # After every step

    def check(self) -> Snapshot:
        """Check what must hold at any moment; raises ``Broken``."""
        if self.broken:
            raise self.broken[0]
        seen = look(self.observer)
        self.accepted += [
            row.id for row in seen.callbacks.values() if row.source == "robot" and row.id not in self.accepted
        ]
        if lost := [id for id in self.accepted if id not in seen.callbacks]:
            raise Broken("lost", f"accepted, and gone: {lost}")
        for callback in seen.callbacks.values():
            numbers = [row.number for row in seen.attempts_of(callback.id)]
            if numbers != list(range(1, len(numbers) + 1)):
                raise Broken("attempt_numbers", f"{callback.id} has attempts {numbers}")
        if self._last is not None:
            self._check_forward(self._last, seen)
        for id in self.cancelled:
            if seen.callbacks[id].state != "cancelled":
                raise Broken("cancelled_in_vain", f"{id} is {seen.callbacks[id].state}")
        self._last = seen
        return seen

    def _check_forward(self, before: Snapshot, after: Snapshot) -> None:
        for place, old in before.attempts.items():
            new = after.attempts.get(place)
            if new is None or new.id != old.id:
                raise Broken("attempt_numbers", f"{place} is another attempt now")
            steps = (ORDER.get(old.outcome, END), ORDER.get(new.outcome, END))
            if steps[1] < steps[0] or (steps[0] == steps[1] and old.outcome != new.outcome):
                raise Broken("backwards", f"{place} went from {old.outcome} to {new.outcome}")
            if old.call_id is not None and new.call_id != old.call_id:
                raise Broken("backwards", f"{place} changed its call")
        for id, callback in before.callbacks.items():
            now = after.callbacks[id]
            if callback.state in ENDS and callback.reason != "portal_refused" and now.state != callback.state:
                raise Broken("backwards", f"{id} ended as {callback.state} and is {now.state}")

    def check_unchanged(self, before: Snapshot) -> None:
        """Check that nothing has changed since a moment; raises ``Broken``."""
        after = look(self.observer)
        for id, old in before.callbacks.items():
            if (old.state, old.reason) != (after.callbacks[id].state, after.callbacks[id].reason):
                raise Broken("believed", f"{id} went from {old.state} to {after.callbacks[id].state}")
        for place, attempt in before.attempts.items():
            if after.attempts[place] != attempt:
                raise Broken("believed", f"{place} went from {attempt.outcome} to {after.attempts[place].outcome}")

    # In the end

    def check_end(self) -> None:
        """Check that every callback has reached an end or a person, and that what is said of calls is true."""
        seen = self.check()
        stuck = [f"{row.id} ({row.state}, {row.reason})" for row in seen.callbacks.values() if not is_at_rest(row)]
        if stuck:
            raise Broken("never_ends", f"neither an end nor a person for {', '.join(stuck)}")
        for callback in seen.callbacks.values():
            self._check_said(seen, callback)
        for place, attempt in seen.attempts.items():
            self._check_true(seen, place, attempt)

    def _check_said(self, seen: Snapshot, callback: Row[Any]) -> None:
        """The end of a callback is that of its last attempt."""
        attempts = seen.attempts_of(callback.id)
        reason = callback.reason or ""
        if callback.state == "completed" and not reason:
            if not attempts or attempts[-1].outcome != "completed":
                raise Broken("untrue", f"{callback.id} is completed without a call")
        elif (
            callback.state == "missed"
            and reason.startswith("code_")
            and (not attempts or attempts[-1].outcome != "missed")
        ):
            raise Broken("untrue", f"{callback.id} is missed without a call")
        for served in seen.decided(callback.id, ["already_served"]):
            self._check_served(seen, callback, served.inputs)

    def _check_served(self, seen: Snapshot, callback: Row[Any], by: dict[str, str]) -> None:
        """Another call has reached the customer."""
        rows = [row for row in self.phones.history if row["CALL_ID"] == by.get("call")]
        talked = any(
            row.get("CALL_FAILED_CODE") == "200"
            and str(row["PHONE_NUMBER"]).strip("+") == callback.to_number.strip("+")
            for row in rows
        )
        others = [row.state for row in seen.callbacks.values() if str(row.id) == by.get("callback")]
        if not talked and others != ["completed"]:
            raise Broken("untrue", f"{callback.id} is withdrawn for {by}")

    def _check_true(self, seen: Snapshot, place: Place, attempt: Row[Any]) -> None:
        """What is known of an attempt is what has happened at the portal."""
        arrival = self.find(place)
        call = arrival.call if arrival else None
        if attempt.to_number in self.ambiguous:
            return
        if attempt.outcome in NEVER_EXECUTED and call is not None:
            raise Broken("untrue", f"{place} is {attempt.outcome}, but {call.call_id} rang")
        if attempt.call_id is not None and (call is None or call.call_id != attempt.call_id):
            raise Broken("untrue", f"{place} took {attempt.call_id} for its own")
        closed = seen.decided(place.callback_id, ["closed_unseen"])
        if attempt.outcome in ("completed", "missed") and not closed:
            ended = call.failed_code if call is not None else None
            expected = "200" if attempt.outcome == "completed" else attempt.failed_code
            if ended != expected:
                raise Broken("untrue", f"{place} is {attempt.outcome} with {expected}, the call ended with {ended}")

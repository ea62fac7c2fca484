"""Telephony whose calls go on, and tell of themselves, only when a schedule says so."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from flask import g, has_request_context

from tests.fake_bitrix24 import FakeCall, FakeUser
from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.telephony import Telephony

TALK_SECONDS = 3000
WORDS = {"486": "Busy", "603-S": "Cancelled", "603": "Decline", "404": "Invalid number", "304": "Missed call"}
PORTAL_ZONE = timezone(timedelta(hours=3))
Fields = dict[str, object]


@dataclass
class Word:
    """One event of a call on its way."""

    event: str
    data: Fields

    @property
    def call_id(self) -> str:
        """The call that it speaks of."""
        return str(self.data["CALL_ID"])


@dataclass
class Row:
    """A row of the history that the portal does not show yet."""

    call: FakeCall
    fields: Fields


class Phones(Telephony):
    """Events wait in ``words``, rows in ``rows``, until a step takes them; no phone stops ringing by itself."""

    def __init__(self, clock: Clock, rang: Callable[[Any], None]) -> None:
        super().__init__(clock, self._keep, lambda _call_id, _number: {})
        self._rang = rang
        self.words: list[Word] = []
        self.rows: list[Row] = []
        self._row_ids = 0

    def _keep(self, event: str, data: Fields) -> None:
        call = self.find(str(data["CALL_ID"])) if event == "ONVOXIMPLANTCALLEND" else None
        if call is not None:
            data = data | {"CALL_START_DATE": _moment(call).isoformat(timespec="seconds")}
        self.words.append(Word(event, data))

    def tick(self) -> None:
        """The portal's own clockwork is too real for a schedule; see ``ring_out``."""

    def ring_out(self) -> None:
        """Let phones that rang too long stop ringing."""
        super().tick()

    def dial(self, line: str, number: str, text: str, voice: str, asked_by: FakeUser) -> FakeCall:
        """Ring, and let the request that is being answered know its call."""
        call = super().dial(line, number, text, voice, asked_by)
        if has_request_context() and "arrival" in g:
            g.arrival.call = call
            self._rang(g.arrival)
        return call

    def end(self, call: FakeCall, code: str, reason: str) -> None:
        """The call is over; its row is kept back."""
        before = len(self.history)
        super().end(call, code, reason)
        if len(self.history) > before:
            self._row_ids += 1
            self.rows.append(Row(call, self.history.pop() | {"ID": str(self._row_ids)}))

    def show(self, row: Row, how: str) -> None:
        """The row appears in the history, in one of the ways rows are written."""
        self.rows.remove(row)
        began = _moment(row.call)
        dates: dict[str, object] = {
            "zone": began.astimezone(timezone(timedelta(hours=-8))).isoformat(timespec="seconds"),
            "no_offset": began.astimezone(PORTAL_ZONE).replace(tzinfo=None).isoformat(timespec="seconds"),
            "no_date": "",
        }
        fields = row.fields | {"CALL_START_DATE": dates.get(how, began.isoformat(timespec="seconds"))}
        if how == "beside_garbage":
            garbage: Fields = {"ID": fields["ID"], "CALL_ID": None, "CALL_TYPE": "4", "PHONE_NUMBER": ["?"]}
            self.history.append({**garbage, "CALL_DURATION": "x" * 300})
            fields |= {"PHONE_NUMBER": str(fields["PHONE_NUMBER"]).removeprefix("+")}
        self.history += [fields] * (2 if how == "twice" else 1)

    def show_foreign(self, data: Fields) -> None:
        """A row of somebody else's call."""
        self._row_ids += 1
        self.history.append({"ID": str(self._row_ids), **data})

    def fill(self, rows: int, number: str) -> None:
        """Rows of other people's callbacks."""
        for _ in range(rows):
            self._row_ids += 1
            call_id = f"call.{self._row_ids}"
            fields: Fields = {"ID": str(self._row_ids), "CALL_ID": call_id, "CALL_TYPE": "4", "PHONE_NUMBER": number}
            self.history.append(fields | {"PORTAL_NUMBER": "sip7", "CALL_FAILED_CODE": "200"})


def _moment(call: FakeCall) -> datetime:
    return datetime.fromtimestamp(call.began_at, UTC)


@dataclass
class Story:
    """What people do with one call, one thing after the other."""

    call: FakeCall
    left: list[str]
    phones: Phones
    wait: Callable[[float], None]

    @property
    def is_over(self) -> bool:
        """Nothing more will be done by people."""
        return not self.left or self.call.state == "ended"

    def go_on(self) -> None:
        """Do the next thing."""
        if self.is_over:
            return
        what = self.left.pop(0)
        if what == "talk":
            self.wait(TALK_SECONDS)
        elif what.startswith("end:"):
            code = what.removeprefix("end:")
            self.phones.end(self.call, code, WORDS.get(code, "Failed"))
        else:
            getattr(self.call, what)()


def some(rng: random.Random, words: list[Word]) -> list[tuple[Word, int]]:
    """A random part of what waits, in a random order, each with how often it comes: never, once or twice."""
    chosen = [word for word in words if rng.random() < 0.7]
    rng.shuffle(chosen)
    return [(word, rng.choices([0, 1, 2], [2, 7, 2])[0]) for word in chosen]

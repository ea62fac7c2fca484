"""Telephony of a portal: lines, voices, and callbacks that ring on phones which tests and people answer.

docs: api-reference/telephony/voximplant/voximplant-callback-start.md and .../events
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.people import FakeUser

MANAGER_RINGS_SECONDS = 30
CUSTOMER_RINGS_SECONDS = 40
CALLBACK_TYPE = 4
State = Literal["ringing_manager", "speaking", "ringing_customer", "talking", "ended"]
# From the samples of voximplant.tts.voices.get.
VOICES = {
    "usenglishfemale": "American English (Female) (Default)",
    "usenglishmale": "American English (Male)",
    "ukenglishfemale": "English (Female) (Amazon)",
    "ukenglishmale": "English (Male) (Amazon)",
    "degermanfemale": "German (Female)",
    "degermanmale": "German (Male)",
    "frfrenchfemale": "French (Female)",
    "rurussianfemale": "Russian (Female)",
    "rurussianmale": "Russian (Male)",
}


@dataclass
class FakeLine:
    """A line; ``rest`` ones belong to another telephony application."""

    name: str
    type: Literal["rented", "sip", "cloud", "rest"] = "cloud"


@dataclass
class FakeCall:
    """One callback under way; its methods are what people do with the phones."""

    call_id: str
    line: str
    number: str
    text: str
    voice: str
    asked_by: FakeUser
    began_at: float
    phones: "Telephony" = field(repr=False)
    state: State = "ringing_manager"
    since: float = 0.0
    answered_by: FakeUser | None = None
    talk_began_at: float = 0.0
    failed_code: str = ""

    def manager_answers(self, user: FakeUser | None = None) -> None:
        """Somebody of the line picks up and hears the text; then the customer is rung."""
        self.phones.manager_answered(self, user)

    def manager_refuses(self) -> None:
        """Nobody of the line wants the call."""
        self.phones.end(self, "304", "Missed call")

    def customer_answers(self) -> None:
        """The customer picks up; the two are joined."""
        self.phones.customer_answered(self)

    def customer_refuses(self) -> None:
        """The customer declines."""
        self.phones.end(self, "603", "Decline")

    def hang_up(self) -> None:
        """The conversation is over."""
        self.phones.end(self, "200", "Success call")


class Telephony:
    """All calls of a portal. ``announce`` queues an event, ``write_call`` writes a finished call into the CRM."""

    def __init__(
        self,
        clock: Clock,
        announce: Callable[[str, dict[str, object]], None],
        write_call: Callable[[str, str], dict[str, str]],
    ) -> None:
        self.calls: list[FakeCall] = []
        self.dials: list[dict[str, str]] = []
        self.history: list[dict[str, object]] = []
        self._clock = clock
        self._announce = announce
        self._write_call = write_call
        self._lock = threading.RLock()

    def dial(self, line: str, number: str, text: str, voice: str, asked_by: FakeUser) -> FakeCall:
        """Start a callback: the line's phones ring."""
        with self._lock:
            now = self._clock.now()
            call_id = f"callback.{secrets.token_hex(16)}.{int(now)}"
            call = FakeCall(call_id, line, number, text, voice, asked_by, now, self, since=now)
            self.calls.append(call)
            # Last: a test that waits for the dial takes its call at once.
            self.dials.append({"line": line, "number": number, "text": text, "voice": voice})
            self._announce(
                "ONVOXIMPLANTCALLINIT",
                {
                    "CALL_ID": call_id,
                    "CALL_TYPE": CALLBACK_TYPE,
                    "ACCOUNT_SEARCH_ID": line,
                    "PHONE_NUMBER": number,
                    "CALLER_ID": line,
                },
            )
            return call

    def manager_answered(self, call: FakeCall, user: FakeUser | None) -> None:
        """The first leg is up."""
        with self._lock:
            self._expect(call, "ringing_manager")
            call.answered_by = user or call.asked_by
            call.state, call.since = "ringing_customer", self._clock.now()
            self._announce("ONVOXIMPLANTCALLSTART", {"CALL_ID": call.call_id, "USER_ID": call.answered_by.id})

    def customer_answered(self, call: FakeCall) -> None:
        """Both legs are up."""
        with self._lock:
            self._expect(call, "ringing_customer")
            call.state = "talking"
            call.since = call.talk_began_at = self._clock.now()

    def end(self, call: FakeCall, code: str, reason: str) -> None:
        """The call is over: only now it stands in the history."""
        with self._lock:
            if call.state == "ended":
                return
            duration = round(self._clock.now() - call.talk_began_at) if call.state == "talking" else 0
            call.state, call.failed_code = "ended", code
            cost = f"{duration * 0.0004:.4f}"
            # When it was registered; the duration is told apart, and 0 for what only rang.
            began = datetime.fromtimestamp(call.began_at, UTC).isoformat(timespec="seconds")
            common: dict[str, object] = {
                "CALL_ID": call.call_id,
                "CALL_TYPE": str(CALLBACK_TYPE),
                "PHONE_NUMBER": call.number,
                "PORTAL_NUMBER": call.line,
                "PORTAL_USER_ID": str(call.answered_by.id if call.answered_by else call.asked_by.id),
                "CALL_DURATION": str(duration),
                "CALL_START_DATE": began,
                "COST": cost,
                "COST_CURRENCY": "EUR",
                "CALL_FAILED_CODE": code,
                "CALL_FAILED_REASON": reason,
                "CRM_ACTIVITY_ID": str(7000 + len(self.history)),
                **self._write_call(call.call_id, call.number),
            }
            recording = {"CALL_RECORD_URL": None, "RECORD_FILE_ID": None, "RECORD_DURATION": None}
            self.history.append({"ID": str(len(self.history) + 1), **common, "REDIAL_ATTEMPT": None, **recording})
            self._announce("ONVOXIMPLANTCALLEND", common)

    def record(self, call_id: str, url: str | None, file_id: int | None = None) -> None:
        """The portal has fetched the recording of a call that is over: only now its row names it."""
        with self._lock:
            for row in self.history:
                if row["CALL_ID"] == call_id:
                    row["CALL_RECORD_URL"], row["RECORD_FILE_ID"] = url, file_id

    def tick(self) -> None:
        """Let phones that rang too long stop ringing."""
        with self._lock:
            now = self._clock.now()
            for call in self.calls:
                if call.state == "ringing_manager" and now - call.since > MANAGER_RINGS_SECONDS:
                    self.end(call, "304", "Missed call")
                elif call.state == "ringing_customer" and now - call.since > CUSTOMER_RINGS_SECONDS:
                    self.end(call, "480", "Temporarily unavailable")

    def find(self, call_id: str) -> FakeCall:
        """The call with this id; raises ``KeyError``."""
        for call in self.calls:
            if call.call_id == call_id:
                return call
        raise KeyError(call_id)

    @staticmethod
    def _expect(call: FakeCall, state: State) -> None:
        if call.state != state:
            raise ValueError(f"the call is {call.state}, not {state}")

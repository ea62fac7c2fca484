"""The story of a callback: attempts and decisions as one, the oldest first, a cause before its effect."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from flask import Flask
from markupsafe import Markup

from bx24app.messages.timeline import StoryTeller
from bx24app.models import Attempt, Callback, Outcome, Source, State
from bx24app.services.callbacks.detail.timeline import MOST_SHOWN, timeline_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NOW = datetime(2026, 11, 27, 13, 58, 1, tzinfo=UTC)
NAMES = {7: "Max Weber", 8: "Anna <b>Lang</b>"}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def callback(**fields: object) -> Callback:
    values = {"portal_id": 1, "state": State.QUEUED, "line_id": "reg1", "line_name": "Sales line", "source": "website"}
    values |= {
        "to_number": "+4930901820",
        "customer_name": "Jean",
        "created_at": NOW,
        "due_at": NOW,
        "scheduled_at": None,
    }
    return Callback(**(values | {"requested_by": None, "form_id": 3, "attempts": [], "decisions": [], **fields}))


def dialled(one: Callback, at: float) -> Attempt:
    attempt = one.fence(after(at), after(at + 80), "", None)
    one.decide("fenced", after(at), attempt=attempt.number, line="reg1")
    return attempt


def rings(one: Callback, at: float) -> Attempt:
    attempt = dialled(one, at)
    one.start(attempt, f"callback.{attempt.number}", after(at + 1))
    one.decide("dialled_started", after(at + 1), attempt=attempt.number, call_id=attempt.call_id)
    return attempt


def missed(one: Callback, attempt: Attempt, at: float) -> None:
    """As the history tells it: what follows is recorded before the report itself."""
    attempt.end(Outcome.MISSED, after(at), "304", "Missed call")
    one.postpone(after(at), after(at + 600), after(at + 4200), "retry_code_304")
    one.decide("repeats", after(at), code="304", left=2, due_at=after(at + 600).isoformat())
    one.decide("event_applied", after(at), event="HISTORY", attempt=attempt.number)


def nobody_answered() -> Callback:
    one = callback()
    missed(one, rings(one, 1), 36)
    return one


def answered_then() -> Callback:
    one = nobody_answered()
    one.queue(after(636))
    attempt = rings(one, 636.2)
    one.answer(attempt, 8, after(637.4))
    one.decide("event_applied", after(637.4), event="ONVOXIMPLANTCALLSTART", attempt=2)
    attempt.duration_seconds, attempt.cost, attempt.cost_currency = 192, Decimal("0.0096"), "EUR"
    attempt.end(Outcome.COMPLETED, after(900), None, None)
    one.complete(after(900))
    one.decide("event_applied", after(900), event="HISTORY", attempt=2)
    return one


def moved_by_colleague() -> Callback:
    one = callback(source="staff", requested_by=7, form_id=None, due_at=after(60), state=State.SCHEDULED)
    one.take_over(8, after(5))
    one.reschedule(after(5), after(3600), after(7200))
    one.decide("rescheduled", after(5.01), user=8, scheduled_at=after(3600).isoformat())
    one.cancel(after(6))
    one.decide("cancelled", after(6), user=8)
    return one


def asks_a_person() -> Callback:
    one = callback(source="api", customer_name=None)
    attempt = dialled(one, 0.1)
    one.mark_unknown(attempt, after(0.2), "dial_timeout")
    one.decide("dialled_unknown", after(0.2), attempt=1, reason="timeout")
    one.ask_person(after(900))
    one.decide("deadline_asks", after(900), history="read", policy="ask")
    one.decide("resolved", after(950), user=7, outcome="dial_again")
    one.dial_again(after(950), after(1000))
    rings(one, 950.3)
    # Only now the history tells of the first call.
    attempt.end(Outcome.MISSED, after(953), "486", "Busy here")
    one.decide("event_applied", after(953), event="HISTORY", attempt=1)
    return one


def waits_for_hours() -> Callback:
    one = callback()
    one.postpone(NOW, after(54000), after(60000), "outside_hours")
    one.decide("outside_hours", NOW, zone="Europe/Berlin", opens_at=after(54000).isoformat())
    one.cancel(after(60), "already_served")
    one.decide("already_served", after(60), call="callback.9")
    return one


def called_again() -> Callback:
    one = callback(source="staff", requested_by=7, form_id=None)
    one.decide("retried", NOW, user=7, retry_of="0")
    attempt = dialled(one, 0)
    one.refuse(attempt, after(1), "portal_refused", "<b>Nothing</b> that we know")
    one.decide("dialled_refused", after(1), attempt=1, reason="portal_refused", words="<b>Nothing</b> that we know")
    return one


def never_told() -> Callback:
    one = callback()
    attempt = rings(one, 1)
    attempt.give_up(after(90000))
    one.miss(after(90000), "end_not_seen")
    one.decide("closed_unseen", after(90000), attempt=1, state="started")
    return one


FIRST = [
    "0 Jean Call requested, as soon as possible",
    "1 The app Asked Bitrix24 to call",
    "2 Bitrix24 “Sales line” rings",
]
MISSED = [
    "36 Bitrix24 Nobody answered.",
    "36 The app Calls again at {636}, because the form allows 2 more attempts",
]
STORIES: dict[Callable[[], Callback], list[str]] = {
    nobody_answered: [*FIRST, *MISSED],
    answered_then: [
        *FIRST,
        *MISSED,
        "636 The app Asked Bitrix24 to call",
        "637 Bitrix24 “Sales line” rings",
        "637 Anna <b>Lang</b> Picked up",
        "900 Bitrix24 Talked 3 min 12 s",
    ],
    moved_by_colleague: [
        "0 Max Weber Call requested",
        "5 Anna <b>Lang</b> Moved to {3600}",
        "5 Anna <b>Lang</b> Taken over from Max Weber, because whoever asks last makes the call under their own access",
        "6 Anna <b>Lang</b> Cancelled",
    ],
    asks_a_person: [
        "0 The website Call requested, as soon as possible",
        "0 The app Asked Bitrix24 to call",
        "0 The app The outcome is unknown; the app will not repeat it. Bitrix24 did not reply in time. A phone may have"
        " rung. Ask your colleagues or look into the call history before you call again.",
        "900 The app A person has to say what happened; the number is free again, because Bitrix24 did not"
        " report in time",
        "950 Max Weber Decided: call again",
        "950 The app Asked Bitrix24 to call",
        "951 Bitrix24 “Sales line” rings",
        "953 1: Bitrix24 The number was busy.",
    ],
    waits_for_hours: [
        "0 Jean Call requested, as soon as possible",
        "0 The app Not called; waits for {54000}, because it is outside working hours",
        "60 The app Not called, because another call reached the customer",
    ],
    called_again: [
        "0 Max Weber Called again, after an earlier callback",
        "0 The app Asked Bitrix24 to call",
        "1 Bitrix24 refused the call. No phone should have rung. Bitrix24 says: “<b>Nothing</b> that we know”",
    ],
    never_told: [*FIRST, "90000 The app Closed, because Bitrix24 never said how the call ended"],
}


def lines_of(one: Callback) -> list[str]:
    def name_of(user_id: str | int | None) -> str:
        return NAMES[int(user_id or 0)]

    def written(at: datetime) -> Markup:
        return Markup("{%d}") % (at - NOW).total_seconds()

    teller, lines = StoryTeller(one, name_of, written), []
    for chapter in timeline_of(one).chapters:
        for moment in chapter.moments:
            words = teller.words(moment)
            because = f", because {words.because.unescape()}" if words.because else ""
            attempt = moment.attempt
            earlier = f"{attempt.number}: " if attempt and attempt is not chapter.attempt else ""
            seconds = int((moment.at - NOW).total_seconds())
            lines.append(f"{seconds} {earlier}{words.actor} {words.what.unescape()}{because}".replace("  ", " "))
    return lines


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_is_told_in_order_and_each_thing_once(app: Flask, story: Callable[[], Callback]) -> None:
    with app.test_request_context():
        assert lines_of(story()) == STORIES[story]


def test_what_others_wrote_is_text(app: Flask) -> None:
    with app.test_request_context():
        one = called_again()
        teller = StoryTeller(one, lambda _: "<i>x</i>", lambda at: Markup(f"<time>{at}</time>"))
        told = "".join(teller.words(moment).what for moment in timeline_of(one).moments)
    assert re.findall(r"<\w+>", told) == []
    assert "&lt;b&gt;Nothing" in told


def test_a_long_story_is_shown_from_its_later_part(app: Flask) -> None:
    one = callback()
    for seconds in range(MOST_SHOWN + 40):
        one.decide("waits", after(seconds), reason="bitrix24_busy")
    told = timeline_of(one)
    assert (len(told.moments), told.left_out) == (MOST_SHOWN, 41)
    assert told.moments[-1].at == after(MOST_SHOWN + 39)


def test_every_source_and_rule_has_words(app: Flask) -> None:
    with app.test_request_context():
        for source in Source:
            one = callback(source=source, customer_name="")
            assert lines_of(one)[0].strip("0 ")

"""The tail reader: what the call history tells of open callbacks, whatever a portal lists."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import Mock, patch

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Attempt, Portal, ReceivedEvent, State, utcnow
from bx24app.services.dialling import call_events, call_history, nameless_attempts, reconcile
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.support.actors import Actor
from tests.support.waiting import NUMBER, accept, change_portal, follow_calls, pass_time, rules, seen, work

START, STATISTICS = "voximplant.callback.start", "voximplant.statistic.get"


@pytest.fixture(autouse=True)
def silent(manager: Actor, portal: FakePortal) -> None:
    """No event comes: the history is all there is."""
    portal.events.pause()


def read(app: Flask) -> int:
    with app.app_context():
        return call_history.read_next_history()


def portal_of(app: Flask) -> Portal:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal)).one()


def stored(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return session.scalars(select(func.count()).where(ReceivedEvent.event == "HISTORY")).one()


def a_row(portal: FakePortal, **fields: Any) -> None:
    """A row that the portal lists, of a call of nobody unless said otherwise."""
    number = len(portal.telephony.history) + 1
    row: dict[str, Any] = {
        "ID": str(number),
        "CALL_ID": f"call.{number}",
        "CALL_TYPE": "4",
        "PORTAL_NUMBER": "reg150907",
        "PHONE_NUMBER": NUMBER,
        "CALL_DURATION": "5",
        "CALL_START_DATE": datetime.now(UTC).isoformat(),
        "COST": "0.1",
        "COST_CURRENCY": "EUR",
        "CALL_FAILED_CODE": "200",
        "CALL_FAILED_REASON": "Success call",
        "REDIAL_ATTEMPT": None,
    }
    portal.telephony.history.append(row | fields)


def test_nothing_is_asked_while_nothing_is_open(app: Flask, portal: FakePortal) -> None:
    accept(app, due_at=utcnow() + timedelta(hours=1))
    assert read(app) == 0
    assert portal.requests_for(STATISTICS) == []


@pytest.mark.parametrize(("code", "state"), [("200", State.COMPLETED), ("304", State.MISSED)])
def test_an_end_without_events_is_read_from_it(app: Flask, portal: FakePortal, code: str, state: State) -> None:
    id = accept(app)
    work(app)
    portal.telephony.calls[0].manager_answers()
    portal.telephony.calls[0].customer_answers()
    portal.telephony.end(portal.telephony.calls[0], code, "said")
    assert read(app) == 1
    callback = seen(app, id)
    assert callback.state == state
    [attempt] = callback.attempts
    assert (attempt.outcome, attempt.answered_by) == (state, portal.administrator.id)
    assert rules(app, id)[-1] == "event_applied"
    assert read(app) == 0


def test_it_is_read_every_half_minute_while_something_is_open(app: Flask, portal: FakePortal) -> None:
    accept(app)
    work(app)
    for _ in range(3):
        read(app)
    assert len(portal.requests_for(STATISTICS)) == 1
    pass_time(app, timedelta(seconds=31))
    read(app)
    assert len(portal.requests_for(STATISTICS)) == 2


class TestLostDial:
    """The dial's answer was lost: the history says whether there was a call."""

    @pytest.fixture
    def lost(self, app: Flask, portal: FakePortal) -> Any:
        portal.faults.add("drop_after", START)
        id = accept(app)
        work(app)
        assert seen(app, id).state == State.UNKNOWN
        return id

    @pytest.mark.parametrize("number", ["+4930901820", "4930901820", "+49 (30) 90-18-20"])
    def test_line_and_digits_after_the_fence_settle_it(
        self, app: Flask, portal: FakePortal, lost: Any, number: str
    ) -> None:
        portal.telephony.calls[0].number = number
        portal.telephony.calls[0].hang_up()
        assert read(app) == 1
        assert seen(app, lost).state == State.COMPLETED
        assert seen(app, lost).attempts[0].call_id == portal.telephony.calls[0].call_id

    def test_a_row_of_another_zone_is_the_same_moment(self, app: Flask, portal: FakePortal, lost: Any) -> None:
        a_row(portal, CALL_START_DATE=datetime.now(timezone(timedelta(hours=10))).isoformat())
        read(app)
        assert seen(app, lost).state == State.COMPLETED

    @pytest.mark.parametrize(
        "other",
        [
            {"PHONE_NUMBER": "+4930901821"},
            {"PORTAL_NUMBER": "sip7"},
            {"CALL_TYPE": "1"},
            {"CALL_START_DATE": (datetime.now(UTC) - timedelta(hours=1)).isoformat()},
            {"CALL_START_DATE": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
            {"CALL_START_DATE": "2026-11-24 12:00:00"},
            {"CALL_START_DATE": "yesterday"},
        ],
    )
    def test_what_is_not_surely_this_call_settles_nothing(
        self, app: Flask, portal: FakePortal, lost: Any, other: dict[str, str]
    ) -> None:
        a_row(portal, **other)
        read(app)
        assert seen(app, lost).state == State.UNKNOWN

    def test_two_calls_that_fit_are_left_to_a_person(self, app: Flask, portal: FakePortal, lost: Any) -> None:
        a_row(portal)
        a_row(portal, CALL_FAILED_CODE="304")
        read(app)
        callback = seen(app, lost)
        assert callback.state == State.UNKNOWN
        assert callback.asks_since is not None
        assert callback.holds_number
        assert rules(app, lost)[-1] == "ambiguous"
        pass_time(app, timedelta(seconds=31))
        read(app)
        assert rules(app, lost).count("ambiguous") == 1

    def test_what_fits_nothing_is_looked_at_again_when_there_is_something_new(
        self, app: Flask, portal: FakePortal, lost: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A portal's server may keep hundreds of attempts unknown, at which one thread would look each second."""
        looked = Mock(side_effect=nameless_attempts.report_that_fits)
        monkeypatch.setattr(reconcile, "report_that_fits", looked)
        a_row(portal)
        a_row(portal, CALL_FAILED_CODE="304")
        read(app)
        with app.app_context():
            for _ in range(3):
                reconcile.reconcile_pending()
        assert looked.call_count == 1
        a_row(portal, CALL_FAILED_CODE="486")
        pass_time(app, timedelta(seconds=31))
        monkeypatch.setattr(nameless_attempts, "LOOKED_AT_AGAIN_SECONDS", 0.0)
        read(app)
        assert looked.call_count == 2
        with app.app_context():
            reconcile.reconcile_pending()
        assert looked.call_count == 3

    def test_the_call_of_another_attempt_whose_answer_comes_meanwhile_is_not_this_ones(
        self, app: Flask, portal: FakePortal, manager: Actor, lost: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PostgreSQL shows each statement what was committed by then."""
        asked = portal.faults.add("hang_after", START, seconds=10)
        manager.asks("POST", f"/callbacks/{lost}/resolve", {"outcome": "dial_again"})
        dialling = threading.Thread(target=work, args=[app])
        dialling.start()
        assert asked.executed.wait(10)
        portal.telephony.calls[1].hang_up()
        candidates = nameless_attempts._candidates

        def answered_after(session: Session, attempt: Attempt) -> Sequence[ReceivedEvent]:
            found = candidates(session, attempt)
            asked.released.set()
            dialling.join(10)
            return found

        def look(attempt_id: int, newest: int) -> int | None:
            fitting.append(nameless_attempts.report_that_fits(attempt_id, newest))
            return fitting[-1]

        fitting: list[int | None] = []
        monkeypatch.setattr(nameless_attempts, "_candidates", answered_after)
        monkeypatch.setattr(reconcile, "report_that_fits", look)
        pass_time(app, timedelta(seconds=31))
        read(app)
        assert fitting == [None]
        assert [attempt.call_id for attempt in seen(app, lost).attempts] == [None, portal.telephony.calls[1].call_id]

    def test_a_few_attempts_of_a_portal_are_looked_at_at_once(self, app: Flask) -> None:
        """One has thousands to which no call fits, and each costs the worker some milliseconds."""
        found = [(1, attempt, 7) for attempt in range(100, 300)] + [(2, 900, 8), (3, 50, 9)]
        with app.app_context():
            chosen = nameless_attempts.worth_a_look(found)  # type: ignore[arg-type]
            assert chosen == [(50, 9), *((attempt, 7) for attempt in range(100, 110)), (900, 8)]

    def test_of_many_calls_that_nobody_here_began_a_person_chooses(
        self, app: Flask, portal: FakePortal, lost: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else each attempt of a number is compared with each of thousands of rows that a portal's server makes up."""
        monkeypatch.setattr(nameless_attempts, "MOST_ROWS_OF_NUMBER", 3)
        for _ in range(3):
            a_row(portal, CALL_START_DATE="2020-01-01T00:00:00Z")
        a_row(portal)
        read(app)
        callback = seen(app, lost)
        assert callback.state == State.UNKNOWN
        assert callback.asks_since is not None
        assert rules(app, lost)[-1] == "ambiguous"

    def test_rows_from_before_the_fence_are_known_by_their_order(self, app: Flask, portal: FakePortal) -> None:
        """Also without a time that can be compared."""
        first = accept(app)
        work(app)
        portal.telephony.calls[0].hang_up()
        read(app)
        assert seen(app, first).state == State.COMPLETED
        portal.faults.add("drop_before", START)
        second = accept(app)
        work(app)
        row = portal.telephony.history[0]
        row["CALL_ID"], row["CALL_START_DATE"] = "call.native", "24.11.2026 12:00"
        pass_time(app, timedelta(seconds=31))
        read(app)
        assert seen(app, second).state == State.UNKNOWN
        a_row(portal, CALL_START_DATE="24.11.2026 12:01")
        pass_time(app, timedelta(seconds=31))
        read(app)
        assert seen(app, second).state == State.COMPLETED

    def test_a_second_dial_is_not_taken_for_the_lost_one(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        portal.faults.add("drop_before", START)
        id = accept(app)
        work(app)
        manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})
        held = portal.faults.add("hang_after", START, seconds=0.5)
        portal.events.resume()
        work(app)
        assert held.received.is_set()
        portal.events.wait_until_idle()
        callback = seen(app, id)
        assert [a.outcome for a in callback.attempts] == ["unknown", "started"]
        portal.telephony.calls[0].hang_up()
        follow_calls(app, portal)
        assert seen(app, id).state == State.COMPLETED


class TestListings:
    """Whatever a portal lists: bounded, once, and never a crash."""

    @pytest.fixture(autouse=True)
    def opened(self, app: Flask, portal: FakePortal) -> Any:
        id = accept(app)
        work(app)
        return id

    def test_rows_come_page_by_page_and_each_once(self, app: Flask, portal: FakePortal) -> None:
        read(app)
        for _ in range(180):
            a_row(portal, PHONE_NUMBER="+4930901899")
        pass_time(app, timedelta(seconds=31))
        assert read(app) == 180
        assert stored(app) == 180
        assert portal_of(app).history_cursor == 180
        pass_time(app, timedelta(seconds=31))
        assert read(app) == 0

    def test_the_first_reading_begins_with_the_newest(self, app: Flask, portal: FakePortal) -> None:
        for _ in range(500):
            a_row(portal, PHONE_NUMBER="+4930901899")
        assert read(app) == 50
        assert portal_of(app).history_cursor == 500

    def test_a_row_that_becomes_visible_late_is_not_missed(self, app: Flask, opened: Any, portal: FakePortal) -> None:
        read(app)
        for _ in range(5):
            a_row(portal, PHONE_NUMBER="+4930901899")
        portal.telephony.calls[0].hang_up()
        late = portal.telephony.history.pop()
        late["ID"] = "3"
        del portal.telephony.history[2]
        pass_time(app, timedelta(seconds=31))
        read(app)
        portal.telephony.history.insert(2, late)
        pass_time(app, timedelta(seconds=31))
        assert read(app) == 1
        assert seen(app, opened).state == State.COMPLETED

    @pytest.mark.parametrize(
        "strange",
        [
            {"ID": "x"},
            {"ID": "-1"},
            {"ID": str(10**30)},
            {"ID": None},
            {"CALL_ID": ""},
            {"CALL_ID": "c" * 300},
            {"CALL_DURATION": "-5"},
            {"COST": "lots"},
            {"CALL_FAILED_CODE": "c" * 40},
            {"PHONE_NUMBER": ["+49"]},
            {"CALL_TYPE": "four"},
        ],
    )
    def test_a_strange_row_is_left_out_and_the_others_count(
        self, app: Flask, opened: Any, portal: FakePortal, strange: dict[str, Any]
    ) -> None:
        portal.telephony.calls[0].hang_up()
        portal.telephony.history.insert(0, portal.telephony.history[0] | {"CALL_ID": "call.x"} | strange)
        portal.telephony.history[1]["ID"] = "2"
        read(app)
        assert seen(app, opened).state == State.COMPLETED

    @pytest.mark.parametrize("kind", ["html_502", "drop_after", "truncated_json", "empty"])
    def test_one_that_cannot_be_read_is_tried_again_later(
        self, app: Flask, opened: Any, portal: FakePortal, kind: str
    ) -> None:
        portal.faults.add(kind, STATISTICS)
        portal.telephony.calls[0].hang_up()
        assert read(app) == 0
        assert portal_of(app).history_problem is not None
        pass_time(app, timedelta(minutes=3))
        assert read(app) == 1
        assert portal_of(app).history_problem is None

    def test_without_the_right_it_is_said_so(self, app: Flask, portal: FakePortal) -> None:
        portal.administrator.rights.discard(SEE_STATISTICS)
        read(app)
        assert portal_of(app).history_problem == "bitrix24_access_denied"


def test_a_line_that_redials_is_noticed_and_administrators_are_warned(
    app: Flask, administrator: Actor, portal: FakePortal
) -> None:
    accept(app)
    work(app)
    a_row(portal, PHONE_NUMBER="+4930901899", REDIAL_ATTEMPT="1", CALL_FAILED_CODE="304")
    read(app)
    assert [line_id for line_id, line in portal_of(app).lines.items() if line.redials_seen_at] == ["reg150907"]
    assert "redial missed callbacks by themselves" not in administrator.opens().text
    change_portal(app, retries=1)
    assert "redial missed callbacks by themselves: Sales line" in administrator.opens().text


def test_of_one_call_one_row_waits_to_be_applied(app: Flask, portal: FakePortal) -> None:
    """A portal may list the same call again and again, and each row would lock the same callback."""
    id = accept(app)
    work(app)
    call = portal.telephony.calls[0].call_id
    for number in range(60):
        a_row(portal, CALL_ID=call if number % 2 else "call.x", COST=str(number))
    with patch.object(reconcile, "reconcile_pending"):
        read(app)
        assert stored(app) == 2
        for _ in range(4):
            a_row(portal, CALL_ID=call, COST="99")
        pass_time(app, timedelta(seconds=31))
        read(app)
    assert stored(app) == 2
    with app.app_context():
        reconcile.reconcile_pending()
    callback = seen(app, id)
    assert (callback.state, callback.attempts[0].cost) == (State.COMPLETED, Decimal(99))


def test_of_one_call_so_much_is_kept(app: Flask, portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A portal may list it anew with each reading, and all that was applied stays as long as the callback."""
    monkeypatch.setattr(call_history, "MAX_REPORTS_OF_CALL", 3)
    accept(app)
    accept(app, to_number="+4930901829")
    work(app)
    call = portal.telephony.calls[0].call_id
    for number in range(6):
        a_row(portal, CALL_ID=call, COST=str(number))
        pass_time(app, timedelta(seconds=31))
        read(app)
    assert stored(app) == 3


def test_nobody_reads_a_history_while_what_it_told_is_being_applied(
    app: Flask, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each thread of the job would come to the same portal, and wait for its rows."""
    accept(app)
    work(app)
    read_by_others: list[object] = []
    monkeypatch.setattr(reconcile, "reconcile_pending", lambda _: read_by_others.append(call_history._lease_portal()))
    read(app)
    assert read_by_others == [None]
    monkeypatch.undo()
    assert portal_of(app).history_due_at is not None


def test_a_run_applies_so_many_reports(app: Flask, portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "APPLIED_AT_ONCE", 2)
    ids = [accept(app, to_number=f"+493090182{number}") for number in range(3)]
    work(app)
    for call in portal.telephony.calls:
        call.hang_up()
    read(app)
    assert sorted(seen(app, id).state for id in ids) == [State.COMPLETED, State.COMPLETED, State.STARTED]
    with app.app_context():
        assert reconcile.reconcile_pending() == 1


def test_a_history_makes_no_lines_without_end(
    app: Flask, administrator: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bx24app.models.portals.portal.MAX_KEPT_LINES", 8)
    accept(app)
    work(app)
    for number in range(20):
        a_row(portal, PORTAL_NUMBER=f"reg{number}", REDIAL_ATTEMPT="1", CALL_FAILED_CODE="304")
    read(app)
    assert len(portal_of(app).lines) == 8
    a_row(portal, REDIAL_ATTEMPT="1", CALL_FAILED_CODE="304")
    pass_time(app, timedelta(seconds=31))
    read(app)
    assert portal_of(app).redials("reg150907")


def test_a_flood_of_strangers_is_bounded(app: Flask, portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_events, "MAX_UNMATCHED", 40)
    accept(app)
    work(app)
    read(app)
    for _ in range(120):
        a_row(portal, PHONE_NUMBER="+4930901899")
    pass_time(app, timedelta(seconds=31))
    read(app)
    with app.app_context():
        assert call_events.purge_unmatched() == 80
    assert stored(app) == 40

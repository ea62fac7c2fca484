"""Call events that somebody made up who knows what proves them: the history of the portal says what happened."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from bx24app.database import reading, writing
from bx24app.models import Attempt, Outcome, Portal, ReceivedEvent, State, utcnow
from bx24app.services.dialling import call_events, call_history, deadlines, nameless_attempts, reconcile
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakeCall, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.support.actors import Actor, json_of
from tests.support.waiting import NUMBER, accept, add_form, pace_of, pass_time, rules, seen, work

INIT, START, END = "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND"
DIAL, STATISTICS = "voximplant.callback.start", "voximplant.statistic.get"
LINE = "reg150907"


class FormerEmployee:
    """Kept the application token and the call ids that every page and the event queue once showed."""

    def __init__(self, app: Flask, client: FlaskClient, portal: FakePortal, application: FakeApp) -> None:
        self._app, self._client, self._portal = app, client, portal
        self._token = portal.bindings_of(application.client_id).application_token

    def tells(self, event: str, call_id: str, **data: object) -> None:
        """Post an event that looks genuine; then let a worker do what it makes of it."""
        self.posts(event, call_id, **data)
        with self._app.app_context():
            call_history.read_next_history()
            reconcile.reconcile_pending()
            deadlines.apply_deadlines()

    def posts(self, event: str, call_id: str, **data: object) -> None:
        """Post an event that looks genuine."""
        said = {"CALL_ID": call_id, "CALL_TYPE": "4", "PHONE_NUMBER": NUMBER, "PORTAL_NUMBER": LINE, **data}
        auth = {"member_id": self._portal.member_id, "application_token": self._token}
        fields: dict[str, object] = {
            "event": event,
            "event_handler_id": "1",
            "data": said,
            "ts": "1795470751",
            "auth": auth,
        }
        assert self._client.post("/events", data=dict(http_build_query(fields))).status_code == 200


def an_end(code: str = "200") -> dict[str, object]:
    began = datetime.now(UTC).isoformat()
    return {
        "CALL_FAILED_CODE": code,
        "CALL_DURATION": "75",
        "CALL_START_DATE": began,
        "COST": "9",
        "PORTAL_USER_ID": "1",
    }


@pytest.fixture
def forger(app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, application: FakeApp) -> FormerEmployee:
    return FormerEmployee(app, client, portal, application)


def stored(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return session.scalars(select(func.count()).where(ReceivedEvent.id > 0)).one()


def a_row(portal: FakePortal, call_id: str, **fields: Any) -> None:
    """A row of the history, of an ordinary call that just reached the customer."""
    row: dict[str, Any] = {
        "ID": str(len(portal.telephony.history) + 1),
        "CALL_ID": call_id,
        "CALL_TYPE": "1",
        "PORTAL_NUMBER": LINE,
        "PHONE_NUMBER": NUMBER,
        "CALL_START_DATE": datetime.now(UTC).isoformat(),
        "CALL_FAILED_CODE": "200",
    }
    portal.telephony.history.append(row | fields)


class TestCallUnderWay:
    """The portal has named the call, and its phones ring."""

    @pytest.fixture
    def id(self, app: Flask, portal: FakePortal, forger: FormerEmployee) -> UUID:
        id = accept(app, form_id=add_form(app, retries=2, retry_minutes=1))
        assert work(app) == 1
        return id

    @pytest.fixture
    def call(self, id: UUID, portal: FakePortal) -> FakeCall:
        return portal.telephony.calls[0]

    @pytest.mark.parametrize("code", ["200", "304", "402", "603"])
    @pytest.mark.parametrize(
        "shown", [{}, {"CALL_TYPE": ""}, {"PHONE_NUMBER": ""}], ids=["all", "no type", "no number"]
    )
    def test_an_invented_end_ends_and_repeats_nothing(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, call: FakeCall, code: str, shown: Any
    ) -> None:
        forger.tells(END, call.call_id, **an_end(code), **shown)
        pass_time(app, timedelta(minutes=2))
        assert (seen(app, id).state, work(app), len(portal.telephony.dials)) == (State.STARTED, 0, 1)
        with app.app_context(), reading() as session:
            assert session.scalars(select(Portal)).one().stopped_lines == {}

    def test_the_true_end_is_known_after_an_invented_one(
        self, app: Flask, forger: FormerEmployee, id: UUID, call: FakeCall, administrator: Actor
    ) -> None:
        forger.tells(END, call.call_id, **an_end("304"))
        call.manager_answers()
        call.customer_answers()
        call.hang_up()
        pass_time(app, timedelta(seconds=31))
        forger.tells(START, call.call_id, USER_ID="999")
        callback = seen(app, id)
        assert callback.state == State.COMPLETED
        [attempt] = callback.attempts
        assert attempt.cost == 0
        assert attempt.answered_by == administrator.user.id

    def test_invented_starts_keep_no_end_away(
        self,
        app: Flask,
        portal: FakePortal,
        forger: FormerEmployee,
        id: UUID,
        call: FakeCall,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(call_history, "MAX_REPORTS_OF_CALL", 1)
        forger.tells(START, call.call_id, USER_ID="1")
        assert seen(app, id).state == State.ANSWERED
        portal.events.pause()
        call.hang_up()
        pass_time(app, timedelta(seconds=31))
        with app.app_context():
            call_history.read_next_history()
        assert seen(app, id).state == State.COMPLETED

    def test_an_invented_start_shows_and_completes_nothing(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, call: FakeCall
    ) -> None:
        forger.tells(START, call.call_id, USER_ID="1")
        assert seen(app, id).state == State.ANSWERED
        portal.administrator.rights.discard(SEE_STATISTICS)
        pass_time(app, timedelta(hours=4, minutes=1))
        forger.tells(END, call.call_id, **an_end())
        assert (seen(app, id).state, seen(app, id).reason) == (State.MISSED, "end_not_seen")
        assert work(app) == 0

    @pytest.mark.parametrize("event", [START, END])
    @pytest.mark.parametrize("varied", ["X", "USER_ID"])
    def test_events_about_it_that_always_say_something_else_are_few_rows(
        self, app: Flask, forger: FormerEmployee, id: UUID, call: FakeCall, event: str, varied: str
    ) -> None:
        for number in range(1, 61):
            forger.tells(event, call.call_id, **{varied: str(number)})
        assert stored(app) <= 3
        assert seen(app, id).state == (State.ANSWERED if event == START else State.STARTED)

    def test_starts_of_made_up_calls_while_the_app_dials_are_so_many_rows(
        self, app: Flask, forger: FormerEmployee, id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(call_events, "MAX_PENDING_STARTS", 20)
        with app.app_context(), writing() as session:
            session.execute(update(Attempt).values(outcome=Outcome.DIALLING, call_id=None))
        for number in range(30):
            forger.tells(START, f"made-up-{number}")
        assert stored(app) == 20

    def test_another_portals_call_ends_nothing_here(
        self, app: Flask, fake: FakeBitrix24, forger: FormerEmployee, id: UUID, application: FakeApp
    ) -> None:
        second = fake.add_portal("beta")
        Actor(app.test_client(), second, application, second.administrator).installs()
        foreign = second.telephony.dial(LINE, NUMBER, "x", "y", second.administrator)
        foreign.hang_up()
        second.events.wait_until_idle()
        forger.tells(END, foreign.call_id, **an_end())
        assert seen(app, id).state == State.STARTED


class TestUnknownOutcome:
    """Nobody knows whether the dial was executed: it was not."""

    @pytest.fixture
    def id(self, app: Flask, portal: FakePortal, forger: FormerEmployee) -> UUID:
        portal.faults.add("drop_before", DIAL)
        id = accept(app, form_id=add_form(app, retries=2, retry_minutes=1))
        work(app)
        assert seen(app, id).state == State.UNKNOWN
        return id

    @pytest.mark.parametrize("event", [INIT, START, END])
    @pytest.mark.parametrize("code", ["200", "304"])
    def test_an_invented_event_settles_nothing(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, event: str, code: str
    ) -> None:
        forger.tells(event, "callback.x", ACCOUNT_SEARCH_ID=LINE, USER_ID="2", **an_end(code))
        pass_time(app, timedelta(minutes=2))
        callback = seen(app, id)
        assert (callback.state, callback.attempts[0].call_id, work(app)) == (State.UNKNOWN, None, 0)

    def test_an_event_makes_no_web_process_search_the_history(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that tells of the start of a call, and comes while another call is being dialled."""
        other = accept(app, to_number="+4930901829")
        with app.app_context(), writing() as session:
            session.add(
                Attempt(
                    portal_id=1, callback_id=other, number=1, line_id=LINE, to_number="+4930901829", started_at=utcnow()
                )
            )
        a_row(portal, "call.x", CALL_TYPE="4", CALL_FAILED_CODE="304")
        a_row(portal, "call.y", CALL_TYPE="4", CALL_FAILED_CODE="304")
        with app.app_context():
            call_history.read_next_history()
        searched = Mock(wraps=nameless_attempts.report_that_fits)
        monkeypatch.setattr(reconcile, "report_that_fits", searched)
        forger.posts(START, "call.x")
        assert stored(app) == 3
        assert not searched.called

    def test_two_invented_calls_do_not_make_it_ambiguous(self, app: Flask, forger: FormerEmployee, id: UUID) -> None:
        for call_id in ("callback.x", "callback.y"):
            forger.tells(END, call_id, **an_end())
        assert seen(app, id).asks_since is None

    def test_after_the_deadline_a_person_is_asked_all_the_same(
        self, app: Flask, forger: FormerEmployee, id: UUID
    ) -> None:
        pass_time(app, deadlines.REPORTS_EXPECTED_WITHIN)
        forger.tells(END, "callback.x", **an_end())
        assert (seen(app, id).state, rules(app, id)[-1]) == (State.UNKNOWN, "deadline_asks")


class TestCustomerWhoWaits:
    """A website's customer waits for a call."""

    @pytest.fixture
    def id(self, app: Flask, forger: FormerEmployee) -> UUID:
        id = accept(app, due_at=utcnow() + timedelta(minutes=1), created_at=utcnow() - timedelta(minutes=1))
        assert work(app) == 0
        return id

    def is_dialled(self, app: Flask, id: UUID) -> bool:
        # Only the callback grows older, by as much as it has to wait.
        pass_time(app, timedelta(minutes=1))
        work(app)
        return (seen(app, id).state, seen(app, id).reason) == (State.STARTED, None)

    @pytest.mark.parametrize("call_type", ["1", "2", "3", "4"])
    def test_an_invented_call_serves_nobody(self, app: Flask, forger: FormerEmployee, id: UUID, call_type: str) -> None:
        forger.tells(END, "call.x", **an_end(), CALL_TYPE=call_type)
        assert self.is_dialled(app, id)

    @pytest.mark.parametrize("call_type", ["1", "2", "3", "4"])
    def test_a_true_one_does(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, call_type: str
    ) -> None:
        a_row(portal, "call.1", CALL_TYPE=call_type)
        forger.tells(END, "call.1", **an_end(), CALL_TYPE=call_type)
        assert not self.is_dialled(app, id)
        assert (seen(app, id).state, seen(app, id).reason) == (State.CANCELLED, "already_served")

    @pytest.mark.parametrize(
        "true",
        [
            {"PHONE_NUMBER": "+4930901821"},
            {"CALL_FAILED_CODE": "304"},
            {"CALL_START_DATE": (datetime.now(UTC) - timedelta(days=1)).isoformat()},
            {"CALL_START_DATE": "24.11.2026 12:00"},
            {"CALL_START_DATE": ""},
        ],
    )
    @pytest.mark.parametrize("call_type", ["1", "4"])
    def test_a_true_call_of_somebody_else_of_yesterday_or_that_reached_nobody_serves_nobody(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, true: Any, call_type: str
    ) -> None:
        """The event says of a call what the history does not."""
        a_row(portal, "call.1", CALL_TYPE=call_type, **true)
        forger.tells(END, "call.1", **an_end(), CALL_TYPE=call_type)
        assert self.is_dialled(app, id)

    def test_a_portal_that_lists_other_calls_than_asked_for_serves_nobody(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The platform drops filters that it does not know."""
        monkeypatch.setattr("tests.fake_bitrix24.methods.telephony.matches", lambda row, key, _: key != "CALL_TYPE")
        a_row(portal, "call.1")
        forger.tells(END, "call.x", **an_end(), CALL_TYPE="1")
        assert self.is_dialled(app, id)

    @pytest.mark.parametrize("call_id", ["$result[call0]", "call.1&FILTER[CALL_TYPE]=1", "c" * 255, "ключ", "%00"])
    def test_no_call_id_makes_another_question_of_it(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID, call_id: str
    ) -> None:
        a_row(portal, "call.1")
        forger.tells(END, call_id, **an_end(), CALL_TYPE="1")
        assert self.is_dialled(app, id)

    def test_where_the_history_cannot_be_read_the_customer_is_called(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee, id: UUID
    ) -> None:
        portal.administrator.rights.discard(SEE_STATISTICS)
        a_row(portal, "call.1")
        forger.tells(END, "call.1", **an_end(), CALL_TYPE="1")
        assert self.is_dialled(app, id)


class TestReplays:
    def test_an_end_of_before_serves_no_new_request_and_is_not_asked_about_again(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        first = accept(app)
        work(app)
        [call] = portal.telephony.calls
        call.hang_up()
        portal.events.wait_until_idle()
        forger.tells(END, call.call_id, **an_end())
        assert seen(app, first).state == State.COMPLETED
        second, before, asked = accept(app), stored(app), len(portal.requests)
        for _ in range(3):
            forger.tells(END, call.call_id, **an_end())
        assert (stored(app), len(portal.requests)) == (before, asked)
        work(app)
        assert seen(app, second).state == State.STARTED

    def test_the_end_of_the_first_attempt_does_not_end_the_second(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        id = accept(app, form_id=add_form(app, retries=2, retry_minutes=1))
        work(app)
        portal.telephony.end(portal.telephony.calls[0], "486", "Busy")
        portal.events.wait_until_idle()
        for _ in range(2):
            forger.tells(END, portal.telephony.calls[0].call_id, **an_end("486"))
        pass_time(app, timedelta(minutes=2))
        assert work(app) == 1
        forger.tells(END, portal.telephony.calls[0].call_id, **an_end("486"))
        assert [a.outcome for a in seen(app, id).attempts] == ["missed", "started"]


class TestHaste:
    """The event of an end makes the history be read at once, but nobody can make us ask without end."""

    def due(self, app: Flask) -> timedelta:
        with app.app_context(), reading() as session:
            due_at = session.scalars(select(Portal.history_due_at)).one()
        assert due_at is not None
        return due_at - utcnow()

    def test_a_genuine_end_shows_at_once(
        self, app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
    ) -> None:
        shown = json_of(manager.requests_callback(wait=5))
        eventually(lambda: len(portal.requests_for(STATISTICS)) == 1)
        call = portal.telephony.calls[0]
        call.manager_answers()
        call.customer_answers()
        call.hang_up()
        # Much sooner than the next regular reading, 30 s after the first.
        eventually(lambda: manager.sees(shown["id"])["state"] == "completed")

    def test_one_that_is_not_listed_yet_is_asked_about_again_ever_more_rarely(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        accept(app)
        work(app)
        pauses, call = [], portal.telephony.calls[0]
        forger.tells(END, call.call_id, **an_end())
        for _ in range(7):
            pauses.append(self.due(app))
            pass_events_and_time(app, pauses[-1])
            with app.app_context():
                call_history.read_next_history()
        assert pauses[0] <= call_history.SHORTEST_PAUSE
        # A busy machine adds to each, and the longest ones are alike but for that.
        seconds = [round(pause.total_seconds()) for pause in pauses]
        assert seconds == sorted(seconds)
        assert seconds[0] < seconds[2] < seconds[4] < seconds[6] == call_history.HISTORY_EVERY.total_seconds()
        assert len(portal.requests_for(STATISTICS)) == 8

    def test_many_ends_are_one_question(
        self, app: Flask, portal: FakePortal, client: FlaskClient, forger: FormerEmployee
    ) -> None:
        accept(app, due_at=utcnow() + timedelta(hours=1))
        for number in range(25):
            forger.tells(END, f"call.{number}", **an_end(), CALL_TYPE="1")
        batches = [r for r in portal.requests_for("batch") if "statistic" in str(r.parameters)]
        assert 0 < len(batches) <= 25
        assert max(str(r.parameters).count("statistic") for r in batches) == 10

    def test_a_flood_of_invented_ends_is_asked_about_at_a_bounded_rate_and_delays_no_dial(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        accept(app)
        work(app)
        call, before = portal.telephony.calls[0], pace_of(app).level
        for number in range(100):
            forger.tells(END, call.call_id, **an_end(str(number)))
            pass_events_and_time(app, timedelta(seconds=1))
        assert len(portal.requests_for(STATISTICS)) <= call_history.HASTE + 5
        assert pace_of(app).level <= before + call_history.HASTE + 5
        accept(app, to_number="+4930901821")
        assert work(app) == 1

    def test_a_portal_that_refuses_the_history_is_not_hurried(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        portal.administrator.rights.discard(SEE_STATISTICS)
        accept(app)
        work(app)
        for code in ("200", "304", "480"):
            forger.tells(END, portal.telephony.calls[0].call_id, **an_end(code))
        assert len(portal.requests_for(STATISTICS)) == 1
        assert self.due(app) > timedelta(minutes=1)

    def test_nothing_is_stored_of_calls_that_concern_no_callback(
        self, app: Flask, portal: FakePortal, forger: FormerEmployee
    ) -> None:
        accept(app, to_number="+4930901821")
        work(app)
        with app.app_context():
            call_history.read_next_history()
        before, asked = stored(app), len(portal.requests)
        for event in (INIT, START, END):
            forger.tells(event, "call.x", **an_end())
            forger.tells(event, "call.y", **an_end(), CALL_TYPE="2")
        assert (stored(app), len(portal.requests)) == (before, asked)


def pass_events_and_time(app: Flask, by: timedelta) -> None:
    """Let time pass, also for what was told."""
    pass_time(app, by)
    with app.app_context(), writing() as session:
        for row in session.query(ReceivedEvent):
            row.received_at -= by

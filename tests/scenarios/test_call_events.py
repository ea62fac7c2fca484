"""Telephony events: they show that somebody picked up, and make the app ask how a call has ended."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from sqlalchemy.event import listen, remove

from bx24app.database import db, reading, writing
from bx24app.models import Attempt, Callback, ReceivedEvent, utcnow
from bx24app.services.dialling import call_events, call_history, dial, queue
from bx24app.services.dialling.call_report import ReportKind
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, change_portal, follow_calls

INIT, START, END = "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND"


def started(manager: Actor) -> dict[str, Any]:
    shown = json_of(manager.requests_callback(wait=5))
    assert shown["state"] == "started"
    return shown


def stored(app: Flask) -> int:
    with app.app_context(), reading() as session:
        # The worker's reader of the history may have been faster with what it stores.
        return session.scalars(select(func.count()).where(ReceivedEvent.event != ReportKind.HISTORY)).one()


def fields(portal: FakePortal, application: FakeApp, event: str, data: dict[str, Any], **auth: str) -> dict[str, str]:
    """An event as the queue would post it, with changes."""
    token = portal.bindings_of(application.client_id).application_token
    whole: dict[str, Any] = {
        "event": event,
        "event_handler_id": "1",
        "data": data,
        "ts": "1795470751",
        "auth": {"member_id": portal.member_id, "application_token": token, **auth},
    }
    return dict(http_build_query(whole))


def test_events_follow_a_call_to_its_end(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    id = started(manager)["id"]
    call = portal.telephony.calls[0]
    call.manager_answers()
    eventually(lambda: manager.sees(id)["state"] == "answered")
    call.customer_answers()
    portal.cloud.clock.advance(75)
    call.hang_up()
    eventually(lambda: manager.sees(id)["state"] == "completed")
    [attempt] = manager.sees(id)["attempts"]
    assert attempt["duration_seconds"] == 75
    assert (attempt["cost"], attempt["cost_currency"]) == (0.03, "EUR")
    assert {delivery.status for delivery in portal.events.deliveries} == {200}


@pytest.mark.parametrize(
    ("end", "reason"), [("manager_refuses", "code_304"), ("customer_refuses", "code_603"), ("nobody", "code_304")]
)
def test_a_call_that_joins_nobody_is_missed(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually, end: str, reason: str
) -> None:
    id = started(manager)["id"]
    call = portal.telephony.calls[0]
    if end == "customer_refuses":
        call.manager_answers()
    if end == "nobody":
        portal.cloud.clock.advance(31)
    else:
        getattr(call, end)()
    eventually(lambda: manager.sees(id)["state"] == "missed")
    assert manager.sees(id)["reason"] == reason


def test_doubled_events_are_applied_once(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.events.duplicate = True
    id = started(manager)["id"]
    portal.telephony.calls[0].manager_answers()
    # Where the history tells of the end first, a start says nothing new.
    eventually(lambda: manager.sees(id)["state"] == "answered")
    portal.telephony.calls[0].customer_answers()
    portal.telephony.calls[0].hang_up()
    portal.events.wait_until_idle()
    eventually(lambda: manager.sees(id)["state"] == "completed")
    assert len(portal.events.deliveries) == 1 + 3 * 2  # The installation, and three events twice.
    with app.app_context(), reading() as session:
        kept = Counter(session.scalars(select(ReceivedEvent.event)))
    # Where the history has told of the end before its event came, that event is not kept at all.
    assert kept[ReportKind.START] == kept[ReportKind.HISTORY] == 1
    assert kept[ReportKind.END] <= 1
    rules = [decision["rule"] for decision in manager.sees(id)["decisions"]]
    assert rules.count("event_applied") == 2


def test_a_late_start_moves_nothing_back(
    manager: Actor,
    portal: FakePortal,
    application: FakeApp,
    client: FlaskClient,
    worker: Worker,
    eventually: Eventually,
) -> None:
    id = started(manager)["id"]
    call_id = portal.telephony.calls[0].call_id
    portal.telephony.calls[0].hang_up()
    eventually(lambda: manager.sees(id)["state"] == "completed")
    late = {"CALL_ID": call_id, "USER_ID": "2"}
    assert client.post("/events", data=fields(portal, application, START, late)).status_code == 200
    assert manager.sees(id)["state"] == "completed"


def test_events_that_come_before_the_dials_answer_are_applied_with_it(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    asked = portal.faults.add("hang_after", "voximplant.callback.start", seconds=10)
    created = json_of(manager.requests_callback())
    eventually(lambda: bool(portal.telephony.calls))
    portal.telephony.calls[0].manager_answers()
    portal.events.wait_until_idle()
    assert manager.sees(created["id"])["state"] == "dialling"
    asked.released.set()
    eventually(lambda: manager.sees(created["id"])["state"] == "answered")


def test_a_start_that_comes_while_the_dials_answer_is_recorded_is_applied(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, client: FlaskClient
) -> None:
    """PostgreSQL shows each statement what was committed by then: the answer is, after the first that asks."""
    asked = portal.faults.add("hang_after", "voximplant.callback.start", seconds=10)
    created = json_of(manager.requests_callback())
    with app.app_context():
        dialled = threading.Thread(target=_dials, args=[app])
        dialled.start()
        assert asked.executed.wait(10)

        def record(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
            if threading.current_thread() != dialled and "attempt.call_id" in statement and not asked.released.is_set():
                asked.released.set()
                dialled.join(10)

        listen(db.engine, "after_cursor_execute", record)
        try:
            told = {"CALL_ID": portal.telephony.calls[0].call_id, "USER_ID": "2"}
            assert client.post("/events", data=fields(portal, application, START, told)).status_code == 200
        finally:
            remove(db.engine, "after_cursor_execute", record)
    assert asked.released.is_set()
    assert manager.sees(created["id"])["state"] == "answered"


def _dials(app: Flask) -> None:
    with app.app_context():
        [lease] = queue.lease_due()
        dial.dial(lease)


def test_the_event_of_its_end_settles_an_unknown_outcome_soon(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.faults.add("drop_after", "voximplant.callback.start")
    created = json_of(manager.requests_callback())
    eventually(lambda: manager.sees(created["id"])["state"] == "unknown")
    eventually(lambda: bool(portal.requests_for("voximplant.statistic.get")))
    portal.telephony.calls[0].hang_up()
    eventually(lambda: manager.sees(created["id"])["state"] == "completed")
    assert manager.sees(created["id"])["attempts"][0]["call_id"] == portal.telephony.calls[0].call_id


def test_an_event_of_another_call_settles_nothing(
    manager: Actor,
    worker: Worker,
    portal: FakePortal,
    application: FakeApp,
    client: FlaskClient,
    eventually: Eventually,
) -> None:
    portal.faults.add("drop_before", "voximplant.callback.start")
    created = json_of(manager.requests_callback())
    eventually(lambda: manager.sees(created["id"])["state"] == "unknown")
    for change in (
        {"PHONE_NUMBER": "+4930901821"},
        {"ACCOUNT_SEARCH_ID": "sip7"},
        {"CALL_TYPE": "1"},
    ):
        data = {"CALL_ID": "x", "CALL_TYPE": "4", "PHONE_NUMBER": "+4930901820", "ACCOUNT_SEARCH_ID": "reg150907"}
        for event in (INIT, END):
            assert client.post("/events", data=fields(portal, application, event, data | change)).status_code == 200
    assert manager.sees(created["id"])["state"] == "unknown"


def test_a_persons_word_about_an_unknown_outcome_stands(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.events.pause()
    portal.faults.add("drop_after", "voximplant.callback.start")
    created = json_of(manager.requests_callback())
    eventually(lambda: manager.sees(created["id"])["state"] == "unknown")
    manager.asks("POST", f"/callbacks/{created['id']}/resolve", {"outcome": "not_reached"})
    portal.events.resume()
    portal.telephony.calls[0].hang_up()
    eventually(lambda: manager.sees(created["id"])["attempts"][0]["outcome"] == "completed")
    assert manager.sees(created["id"])["reason"] == "resolved_not_reached"


def test_late_evidence_stops_a_second_dial(
    app: Flask, manager: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    """A person asked to dial again, but then the first call turns out to have reached the customer."""
    portal.events.pause()
    portal.faults.add("drop_after", "voximplant.callback.start")
    created = json_of(manager.requests_callback())
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dial.dial(claim)
    portal.telephony.calls[0].hang_up()
    manager.asks("POST", f"/callbacks/{created['id']}/resolve", {"outcome": "dial_again"})
    portal.events.resume()
    follow_calls(app, portal)
    assert manager.sees(created["id"])["state"] == "completed"
    with app.app_context():
        assert next(iter(queue.lease_due()), None) is None
    assert len(portal.telephony.dials) == 1


def test_a_call_that_may_concern_a_callback_leaves_a_digest_for_a_day_only(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, client: FlaskClient
) -> None:
    manager.requests_callback("+4930999999")
    outgoing = {"CALL_ID": "out", "CALL_TYPE": "1", "PHONE_NUMBER": "+4930999999", "ACCOUNT_SEARCH_ID": "reg1"}
    native = {"CALL_ID": "native", "CALL_TYPE": "4", "PHONE_NUMBER": "+4930999999", "ACCOUNT_SEARCH_ID": "reg1"}
    for data in (outgoing, native, native | {"CALL_ID": "other", "PHONE_NUMBER": "+4930999998"}):
        assert client.post("/events", data=fields(portal, application, END, data)).status_code == 200
    with app.app_context():
        with reading() as session:
            [row] = session.scalars(select(ReceivedEvent))
            assert row.call_id == "native"
            assert "999999" not in str(row.fields) + str(row.number_digest)
        assert call_events.purge_unmatched() == 0
        with writing() as session:
            session.execute(update(ReceivedEvent).values(received_at=utcnow() - call_events.UNMATCHED_KEPT * 1.1))
        assert call_events.purge_unmatched() == 1
    assert stored(app) == 0


@pytest.mark.parametrize("token", ["", "x", "0" * 32])
def test_a_wrong_application_token_is_refused(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, client: FlaskClient, token: str
) -> None:
    data = {"CALL_ID": "x", "CALL_TYPE": "4"}
    posted = fields(portal, application, INIT, data, application_token=token)
    response = client.post("/events", data=posted)
    assert (response.status_code, response.content_type) == (403, "application/problem+json")
    unknown = fields(portal, application, INIT, data, member_id="0" * 32)
    assert client.post("/events", data=unknown).status_code == 403
    uninstall = fields(portal, application, "ONAPPUNINSTALL", {"CLEAN": "1"}, application_token=token)
    assert client.post("/events", data=uninstall).status_code == 403
    assert stored(app) == 0
    assert manager.opens().status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"event",
        b"event=ONX",
        b"event=ONX&auth[member_id]=1",
        b"\xff\xfe=\x00",
        b"[]=1&[a]=2",
        b"data[a][b][c][d]=1",
    ],
)
def test_malformed_events_are_refused(app: Flask, client: FlaskClient, body: bytes) -> None:
    response = client.post("/events", data=body, content_type="application/x-www-form-urlencoded")
    assert (response.status_code, response.json["code"]) == (400, "invalid_request")  # type: ignore[index]


def test_an_unused_event_is_taken_and_forgotten(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, client: FlaskClient
) -> None:
    assert client.post("/events", data=fields(portal, application, "ONCRMLEADADD", {"ID": "1"})).status_code == 200
    assert stored(app) == 0


def test_what_was_stored_but_not_applied_is_applied_by_a_worker(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    """As after a crash between storing and applying."""
    id = started(manager)["id"]
    with app.app_context(), writing() as session:
        attempt = session.scalars(select(Attempt)).one()
        row = ReceivedEvent(
            portal_id=attempt.portal_id,
            digest="d",
            event=START,
            call_id=attempt.call_id,
            fields={"user_id": 2},
        )
        session.add(row)
    eventually(lambda: manager.sees(id)["state"] == "answered")
    with app.app_context(), reading() as session:
        assert session.scalars(select(Callback.state)).one() == "answered"


def test_two_calls_that_end_at_the_same_moment_are_both_stored(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal's queue is served by several processes: neither transaction waits for what the other one holds."""
    ids = [accept(app, to_number=f"+493090182{number}") for number in range(2)]
    with app.app_context():
        for lease in queue.lease_due(2):
            dial.dial(lease)
    change_portal(app, history_due_at=utcnow() + timedelta(seconds=20))
    both, hurry = threading.Barrier(2), call_history.hurry

    def meet(*given: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        hurry(*given)

    monkeypatch.setattr(call_history, "hurry", meet)
    ended = [{"CALL_ID": call.call_id, "CALL_TYPE": "4"} for call in portal.telephony.calls]
    assert len(ended) == len(ids)

    def tell(data: dict[str, Any]) -> int:
        return app.test_client().post("/events", data=fields(portal, application, END, data)).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(tell, ended)) == [200, 200]
    assert stored(app) == len(ended)

"""Dialling: exactly one request per attempt, and the answer sorted into its four outcomes."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from bx24app.bitrix24.client import PortalClients
from bx24app.database import reading, writing
from bx24app.models import Attempt, Callback, Credential, Portal, PortalState, utcnow
from bx24app.services.dialling import abandoned, queue
from bx24app.services.dialling import dial as dialling
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import tokens
from bx24app.worker.worker import Worker
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeLine, FakePortal
from tests.fake_bitrix24.people import CALL_ANY
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.waiting import remove_portal

START = "voximplant.callback.start"


@pytest.fixture(autouse=True)
def hurried(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for moments, and take silence for silence sooner."""
    monkeypatch.setattr(dialling, "DIAL_BACKOFF_SECONDS", (0.05, 0.1))
    app.extensions["bx24app.portals"] = PortalClients(app.extensions["bx24app.portals"].policy, (1.0, 2.0))


def asks(manager: Actor, **body: Any) -> str:
    response = manager.requests_callback(**body)
    assert response.status_code == 201, response.text
    id: str = response.json["id"]  # type: ignore[index]
    return id


def test_the_portal_is_asked_once_with_what_was_chosen(manager: Actor, worker: Worker, portal: FakePortal) -> None:
    shown = json_of(manager.requests_callback(wait=5, voice_id="ukenglishmale", text="Callback for Anna."))
    assert shown["state"] == "started"
    [call] = portal.telephony.calls
    assert (call.line, call.number, call.text) == ("reg150907", CUSTOMER, "Callback for Anna.")
    assert call.voice == "ukenglishmale"
    assert call.asked_by is portal.manager
    [attempt] = shown["attempts"]
    assert (attempt["number"], attempt["call_id"]) == (1, call.call_id)


def test_every_dial_has_a_connection_of_its_own(manager: Actor, worker: Worker, portal: FakePortal) -> None:
    for number in ("+4930901821", "+4930901822", "+4930901823"):
        manager.requests_callback(number, wait=5)
    connections = [recorded.connection for recorded in portal.requests]
    dials = [recorded.connection for recorded in portal.requests_for(START)]
    assert len(dials) == 3
    assert all(connections.count(connection) == 1 for connection in dials)


@pytest.mark.parametrize(
    ("kind", "executed", "reason"),
    [
        ("hang_before", 0, "dial_timeout"),
        ("hang_after", 1, "dial_timeout"),
        ("drop_before", 0, "dial_reset"),
        ("drop_after", 1, "dial_reset"),
        ("html_502", 0, "dial_unreadable"),
        ("html_502_after", 1, "dial_unreadable"),
        ("empty", 1, "dial_unreadable"),
        ("truncated_json", 1, "dial_unreadable"),
        ("malformed_result", 1, "dial_unreadable"),
    ],
)
def test_no_usable_answer_means_unknown_and_nothing_is_dialled_again(
    manager: Actor,
    worker: Worker,
    portal: FakePortal,
    eventually: Eventually,
    kind: str,
    executed: int,
    reason: str,
) -> None:
    portal.events.pause()
    portal.faults.add(kind, START, seconds=3)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "unknown")
    shown = manager.sees(id)
    assert shown["reason"] == reason
    assert "may have rung" in shown["detail"]
    worker.stop()
    assert len(portal.telephony.dials) == executed
    assert len(portal.requests_for(START)) == 1
    assert manager.requests_callback().status_code == 409


@pytest.mark.parametrize("code", ["INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER", "SOMETHING_NEW"])
def test_a_server_error_proves_nothing(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually, code: str
) -> None:
    portal.faults.add("error", START, code=code, status=500)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "unknown")
    assert len(portal.requests_for(START)) == 1


@pytest.mark.parametrize(
    ("code", "words", "status", "reason"),
    [
        ("ERROR_CORE", "Could not find config for number 7", 400, "portal_refused"),
        ("ERROR_CORE", "Leeres Konto", 200, "portal_refused"),
        ("ACCESS_DENIED", "Access denied!", 403, "bitrix24_access_denied"),
        ("insufficient_scope", "needs call", 401, "bitrix24_insufficient_scope"),
        ("METHOD_CONFIRM_DENIED", "", 403, "bitrix24_confirmation_needed"),
        ("", "Not found", 404, "portal_refused"),
    ],
)
def test_a_refusal_for_good_fails_with_the_portals_words(
    manager: Actor,
    worker: Worker,
    portal: FakePortal,
    eventually: Eventually,
    code: str,
    words: str,
    status: int,
    reason: str,
) -> None:
    portal.faults.add("error", START, code=code, words=words, status=status)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "failed")
    shown = manager.sees(id)
    assert shown["reason"] == reason
    assert words in shown["detail"]
    assert portal.telephony.dials == []


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("error", {"code": "QUERY_LIMIT_EXCEEDED", "status": 503}),
        ("error", {"code": "CONNECTION_ERROR", "status": 500}),
        ("error", {"code": "expired_token", "status": 401}),
    ],
)
def test_what_was_proven_not_executed_is_tried_again_by_itself(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually, kind: str, fault: dict[str, Any]
) -> None:
    portal.faults.add(kind, START, **fault)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "started")
    outcomes = [(a["number"], a["outcome"]) for a in manager.sees(id)["attempts"]]
    assert outcomes == [(1, "not_executed"), (2, "started")]
    assert len(portal.telephony.dials) == 1


def test_a_portal_that_cannot_be_reached_is_tried_again(
    app: Flask, manager: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    id = asks(manager)
    portal.server.stop()
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dialling.dial(claim)
    shown = manager.sees(id)
    assert (shown["state"], shown["reason"]) == ("scheduled", "retry_bitrix24_unreachable")
    assert [a["outcome"] for a in shown["attempts"]] == ["not_executed"]


def test_waiting_for_access_is_noted_once_however_often_it_is_tried(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    id = asks(manager)
    portal.cloud.registry.expire_access(portal.member_id)
    portal.cloud.auth_server.faults.add("html_502", "oauth/token", times=9)
    with app.app_context():
        for _ in range(3):
            with writing() as session:
                past = datetime.now(UTC) - timedelta(seconds=1)
                session.execute(update(Credential).values(expires_at=past, leased_until=None))
                session.execute(update(Callback).values(due_at=past))
            [claim] = queue.lease_due()
            dialling.dial(claim)
    rules = [decision["rule"] for decision in manager.sees(id)["decisions"]]
    assert rules.count("waits") == 1
    assert portal.requests_for(START) == []


def test_a_moved_portal_is_asked_at_its_confirmed_address(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.faults.add("moved", START, host="127.0.0.9:1")
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "started")
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal.client_endpoint)).one() == portal.client_endpoint


def test_a_line_of_another_telephony_app_hands_over_and_is_marked(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.lines = {"rest1": FakeLine("Other PBX", "rest"), **portal.lines}
    manager.asks("GET", "/lines?refresh=1")
    id = asks(manager, line_id="rest1")
    eventually(lambda: manager.sees(id)["state"] == "completed")
    assert manager.sees(id)["reason"] == "handed_over"
    page = manager.opens().text
    assert "Other PBX (another telephony app)" in page
    assert 'value="rest1" selected' not in page


def test_a_manager_without_the_right_is_refused_by_the_portal(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.manager.rights.discard(CALL_ANY)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "failed")
    assert manager.sees(id)["reason"] == "bitrix24_access_denied"


def test_an_expired_token_is_renewed_before_dialling(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.cloud.clock.advance(3601)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "started")
    assert len(manager.sees(id)["attempts"]) == 1


def test_a_dead_credential_of_a_person_fails_their_callback(
    app: Flask, administrator: Actor, manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    administrator.opens()
    portal.manager.dismissed = True
    first = asks(manager)
    eventually(lambda: administrator.sees(first)["state"] == "failed")
    assert administrator.sees(first)["reason"] == "not_permitted"
    # The refusal has voided their ticket too; the portal does not give them another.
    eventually(lambda: manager.requests_callback().status_code == 401)
    assert len(portal.requests_for(START)) == 1


def test_a_dead_service_credential_disconnects_the_portal_and_an_administrator_reconnects_it(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    with app.app_context():
        id = tokens.service_credential_id(1)
    portal.administrator.dismissed = True
    assert manager.asks("GET", "/lines?refresh=1").status_code == 409
    with app.app_context(), reading() as session:
        assert session.get_one(Portal, 1).state == PortalState.DISCONNECTED
    response = manager.requests_callback()
    assert (response.status_code, response.json["code"]) == (409, "portal_disconnected")  # type: ignore[index]
    portal.administrator.dismissed = False
    assert administrator.opens().status_code == 200
    assert manager.requests_callback().status_code == 201
    with app.app_context():
        assert tokens.service_credential_id(1) == id


def test_at_most_two_dials_of_a_portal_are_in_flight(
    manager: Actor, portal: FakePortal, app: Flask, eventually: Eventually
) -> None:
    hanging = [portal.faults.add("hang_after", START, seconds=0.8) for _ in range(3)]
    ids = [asks(manager, number=f"+493090182{n}") for n in range(3)]
    with working(app, dials=8):
        eventually(hanging[1].received.is_set)
        assert sorted(manager.sees(id)["state"] for id in ids) == ["dialling", "dialling", "queued"]
        assert not hanging[2].received.is_set()
        eventually(lambda: all(manager.sees(id)["state"] == "started" for id in ids))


def test_a_resolved_unknown_is_dialled_once_more_on_request(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    portal.faults.add("drop_before", START)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "unknown")
    response = manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})
    assert response.status_code == 200
    eventually(lambda: manager.sees(id)["state"] == "started")
    assert [a["outcome"] for a in manager.sees(id)["attempts"]] == ["unknown", "started"]


def test_events_of_the_second_dial_say_nothing_about_the_first(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually
) -> None:
    """They may come before the portal's answer names their call: same line, same number, but which attempt?"""
    portal.faults.add("drop_before", START)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "unknown")
    portal.faults.add("hang_after", START, seconds=0.6)
    manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})
    eventually(lambda: len(portal.telephony.calls) == 1)
    portal.events.wait_until_idle()
    eventually(lambda: manager.sees(id)["state"] == "started")
    assert [a["outcome"] for a in manager.sees(id)["attempts"]] == ["unknown", "started"]


@pytest.mark.parametrize("keeps_settings", [False, True])
def test_a_portal_that_is_removed_while_it_is_dialled_is_no_failure(
    app: Flask,
    manager: Actor,
    worker: Worker,
    portal: FakePortal,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
    keeps_settings: bool,
) -> None:
    hanging = portal.faults.add("hang_after", START, seconds=30)
    asks(manager)
    assert hanging.executed.wait(10)
    remove_portal(app, keeps_settings=keeps_settings)
    hanging.released.set()
    eventually(lambda: "portal_removed_meanwhile" in caplog.text)
    assert "job_failed" not in caplog.text


@pytest.mark.parametrize(("outcome", "state"), [("reached", "completed"), ("not_reached", "missed")])
def test_a_person_settles_an_unknown_outcome(
    manager: Actor, worker: Worker, portal: FakePortal, eventually: Eventually, outcome: str, state: str
) -> None:
    portal.faults.add("drop_before", START)
    id = asks(manager)
    eventually(lambda: manager.sees(id)["state"] == "unknown")
    assert manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "perhaps"}).status_code == 400
    manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": outcome})
    shown = manager.sees(id)
    assert (shown["state"], shown["reason"]) == (state, f"resolved_{outcome}")
    assert manager.requests_callback().status_code == 201


def test_a_claim_that_nobody_follows_up_is_taken_again(app: Flask, manager: Actor, portal: FakePortal) -> None:
    id = asks(manager)
    with app.app_context():
        lost = next(iter(queue.lease_due()), None)
        assert lost is not None
        assert next(iter(queue.lease_due()), None) is None
        with writing() as session:
            session.execute(update(Callback).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))
        again = next(iter(queue.lease_due()), None)
        assert again is not None
        dialling.dial(again)
        dialling.dial(lost)
    assert manager.sees(id)["state"] == "started"
    assert len(portal.telephony.dials) == 1


def test_a_cancelled_callback_is_not_dialled_by_a_worker_that_had_claimed_it(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    id = asks(manager)
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        assert manager.asks("POST", f"/callbacks/{id}/cancel").status_code == 200
        dialling.dial(claim)
    assert manager.sees(id)["state"] == "cancelled"
    assert portal.requests_for(START) == []


def test_an_acceptance_that_comes_after_the_attempt_was_given_up_is_evidence(
    app: Flask, manager: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    portal.events.pause()
    asked = portal.faults.add("hang_after", START, seconds=0.8)
    id = asks(manager)

    def dial() -> None:
        with app.app_context():
            claim = next(iter(queue.lease_due()), None)
            assert claim is not None
            dialling.dial(claim)

    thread = threading.Thread(target=dial, daemon=True)
    thread.start()
    assert asked.received.wait(5)
    with app.app_context():
        with writing() as session:
            session.execute(update(Callback).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))
        assert abandoned.expire_abandoned() == 1
    assert manager.sees(id)["state"] == "unknown"
    thread.join()
    assert manager.sees(id)["state"] == "started"
    assert manager.sees(id)["attempts"][0]["call_id"] == portal.telephony.calls[0].call_id


def test_an_answer_survives_a_database_that_fails_for_a_moment(
    app: Flask, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asks(manager)
    genuine, failures = dialling._record_once, [OperationalError("", {}, Exception("deadlock"))] * 2

    def failing(dial: dialling.FencedAttempt, outcome: Any) -> None:
        if failures:
            raise failures.pop()
        genuine(dial, outcome)

    monkeypatch.setattr(dialling, "_record_once", failing)
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dialling.dial(claim)
    assert manager.sees(id)["state"] == "started"


def test_a_log_that_cannot_be_written_costs_no_answer(
    app: Flask, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asks(manager)
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None

        def failing(*_: object, counted: bool) -> None:
            raise OperationalError("", {}, Exception("disk full"))

        monkeypatch.setattr(portal_api.LoggedRequests, "write", failing)
        with pytest.raises(OperationalError):
            dialling.dial(claim)
    assert manager.sees(id)["state"] == "started"


def test_a_lease_of_a_clock_that_was_set_back_is_over(app: Flask, manager: Actor, portal: FakePortal) -> None:
    id = asks(manager)
    with app.app_context():
        [lost] = queue.lease_due()
        with writing() as session:
            session.execute(update(Callback).values(leased_until=datetime.now(UTC) + timedelta(hours=2)))
        [again] = queue.lease_due()
        assert again.lease_fence > lost.lease_fence
        with writing() as session:
            gone = {"state": "dialling", "leased_until": datetime.now(UTC) + timedelta(hours=2)}
            session.execute(update(Callback).values(gone))
            callback = session.scalars(select(Callback)).one()
            session.add(
                Attempt(portal_id=1, callback_id=callback.id, number=1, line_id="a", to_number="1", started_at=utcnow())
            )
        assert abandoned.expire_abandoned() == 1
    assert manager.sees(id)["state"] == "unknown"

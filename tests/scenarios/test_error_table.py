"""Every row of the platform's error table, from the wire to the screen: state, words, and what administrators see."""

from typing import NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Portal, PortalState, RestCall, Throttle, utcnow
from bx24app.services.dialling import dial, queue
from bx24app.services.portals import payment, uninstall
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of, post_frame

START = "voximplant.callback.start"
LINES = "voximplant.line.get"


class RowOfTable(NamedTuple):
    """``state`` and ``reason`` after a dial under a person's access; ``words`` belong to the English sentence."""

    status: int
    state: str
    reason: str
    words: str


WAITS = "The app will try again"
DEAD = "Your access to the app on this Bitrix24 is no longer valid"
DENIED = "the right “Outgoing call: perform”"
CLOSED = "The app is not open to you"
CONFIRM = "has to confirm that the app may do this"
GONE = "The app is not connected with this Bitrix24 any more"
UNSURE = "A phone may have rung"
# The errors of docs/bitrix24.md, row by row.
TABLE = {
    "expired_token": RowOfTable(401, "queued", "retry_expired_token", WAITS),
    "NO_AUTH_FOUND": RowOfTable(401, "failed", "not_permitted", DEAD),
    "invalid_token": RowOfTable(401, "failed", "not_permitted", DEAD),
    "authorization_error": RowOfTable(401, "failed", "not_permitted", DEAD),
    "user_access_error": RowOfTable(403, "failed", "bitrix24_closed_to_user", CLOSED),
    "insufficient_scope": RowOfTable(403, "failed", "bitrix24_insufficient_scope", "lacks a permission (scope)"),
    "ACCESS_DENIED": RowOfTable(403, "failed", "bitrix24_access_denied", DENIED),
    "INVALID_CREDENTIALS": RowOfTable(403, "failed", "bitrix24_access_denied", DENIED),
    "APPLICATION_NOT_FOUND": RowOfTable(404, "failed", "portal_disconnected", GONE),
    "ERROR_OAUTH": RowOfTable(401, "failed", "portal_disconnected", GONE),
    "NOT_INSTALLED": RowOfTable(403, "failed", "portal_disconnected", GONE),
    "PAYMENT_REQUIRED": RowOfTable(401, "failed", "payment_required", "The paid period"),
    "ALLOWED_ONLY_INTRANET_USER": RowOfTable(403, "failed", "bitrix24_closed_to_user", CLOSED),
    "ACCESS_ERROR": RowOfTable(403, "failed", "bitrix24_closed_to_user", CLOSED),
    "METHOD_CONFIRM_WAITING": RowOfTable(401, "failed", "bitrix24_confirmation_needed", CONFIRM),
    "METHOD_CONFIRM_DENIED": RowOfTable(403, "failed", "bitrix24_confirmation_needed", CONFIRM),
    "INVALID_REQUEST": RowOfTable(400, "failed", "portal_refused", "Bitrix24 refused the call"),
    "ERROR_CORE": RowOfTable(400, "failed", "portal_refused", "Bitrix24 refused the call"),
    "ERROR_METHOD_NOT_FOUND": RowOfTable(404, "failed", "method_unknown", "does not offer the function"),
    "OPERATION_TIME_LIMIT": RowOfTable(429, "scheduled", "retry_bitrix24_busy", WAITS),
    "QUERY_LIMIT_EXCEEDED": RowOfTable(503, "scheduled", "retry_bitrix24_busy", WAITS),
    "OVERLOAD_LIMIT": RowOfTable(503, "scheduled", "retry_bitrix24_overloaded", WAITS),
    "INTERNAL_SERVER_ERROR": RowOfTable(500, "unknown", "dial_internal_server_error", UNSURE),
    "ERROR_UNEXPECTED_ANSWER": RowOfTable(500, "unknown", "dial_error_unexpected_answer", UNSURE),
    "PORTAL_DELETED": RowOfTable(500, "scheduled", "retry_bitrix24_portal_closed", WAITS),
    "CONNECTION_ERROR": RowOfTable(500, "scheduled", "retry_bitrix24_busy", WAITS),
    "": RowOfTable(404, "failed", "portal_refused", "Bitrix24 refused the call"),
}


def process(app: Flask) -> None:
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dial.dial(claim)


def logged_errors(app: Flask, method: str) -> list[str | None]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(RestCall.error).where(RestCall.method == method)))


def state_of_portal(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.state)).one()


@pytest.mark.parametrize("case", [str.lower, str.upper], ids=["lower", "upper"])
@pytest.mark.parametrize("code", TABLE, ids=lambda code: code or "empty")
def test_a_dial_that_meets_the_row(app: Flask, manager: Actor, portal: FakePortal, code: str, case: object) -> None:
    row = TABLE[code]
    spelt = code.upper() if case is str.upper else code.lower()
    portal.faults.add("error", START, code=spelt, words="The portal's own words", status=row.status)
    id = json_of(manager.requests_callback())["id"]
    process(app)
    manager.renews_ticket()  # A refusal of their tokens has voided the one of before.
    shown = manager.sees(id)
    assert (shown["state"], shown["reason"]) == (row.state, row.reason)
    assert row.words in shown["detail"]
    russian = json_of(manager.asks("GET", f"/callbacks/{id}", Accept_Language="ru"))["detail"]
    assert russian != shown["detail"]
    assert any("а" <= letter <= "я" for letter in russian)
    if row.state == "failed":
        assert "The portal's own words" in shown["detail"]
        assert "The portal's own words" in russian
    # The administrator finds the code in the log of requests; nothing rang.
    assert logged_errors(app, START)[-1] in {spelt, row.reason.removeprefix("dial_"), "portal_refused"}
    assert portal.telephony.dials == []
    assert len(portal.requests_for(START)) == 1


@pytest.mark.parametrize("code", TABLE, ids=lambda code: code or "empty")
def test_an_error_with_status_200_is_an_error_too(app: Flask, manager: Actor, portal: FakePortal, code: str) -> None:
    portal.faults.add("error", START, code=code, words="words", status=200)
    id = json_of(manager.requests_callback())["id"]
    process(app)
    manager.renews_ticket()
    assert (manager.sees(id)["state"], manager.sees(id)["reason"]) == TABLE[code][1:3]


DISCONNECTS = {"NO_AUTH_FOUND", "invalid_token", "authorization_error"}
# The portal itself has failed: asking again may help.
UNAVAILABLE = {"INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER"}
REMOVES = {"APPLICATION_NOT_FOUND", "ERROR_OAUTH", "NOT_INSTALLED"}


@pytest.mark.parametrize("code", TABLE, ids=lambda code: code or "empty")
def test_a_read_under_the_portals_access_that_meets_the_row(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, code: str
) -> None:
    portal.faults.add("error", LINES, code=code, words="The portal's own words", status=TABLE[code].status)
    response = manager.asks("GET", "/lines?refresh=1")
    state = state_of_portal(app)
    if code == "expired_token":
        assert response.status_code == 200  # Renewed, and asked once more.
    else:
        assert response.status_code == (503 if code in UNAVAILABLE else 409)
        assert json_of(response)["detail"]
    expected = (
        PortalState.DISCONNECTED
        if code in DISCONNECTS
        else PortalState.UNINSTALLED
        if code in REMOVES
        else PortalState.UNPAID
        if code == "PAYMENT_REQUIRED"
        else PortalState.INSTALLED
    )
    assert state == expected
    assert logged_errors(app, LINES)


@pytest.mark.parametrize(
    ("code", "heading"),
    [
        ("user_access_error", "Bitrix24 does not let you use the app"),
        ("ALLOWED_ONLY_INTRANET_USER", "Bitrix24 does not let you use the app"),
        ("METHOD_CONFIRM_WAITING", "Bitrix24 does not let you use the app"),
        ("authorization_error", "The app could not recognise you"),
        ("PAYMENT_REQUIRED", "New callback"),
        ("QUERY_LIMIT_EXCEEDED", "New callback"),
    ],
)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_visitor_whom_the_portal_refuses_is_told_why(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, code: str, heading: str, language: str
) -> None:
    portal.faults.add("error", "batch", code=code, words="The portal's own words", status=403)
    manager.user.language = language
    response = post_frame(client, "/", manager.launches())
    assert response.status_code == (200 if heading == "New callback" else 403)
    assert (heading in response.text) == (language == "en")
    if code == "PAYMENT_REQUIRED" and language == "en":
        assert "The paid period of the app or of Bitrix24 is over" in response.text
        assert json_of(manager.requests_callback())["code"] == "portal_disconnected"


PLAN_ENDED = "REST API is available only on commercial plans"


@pytest.mark.parametrize(
    ("code", "words", "status"),
    [
        ("ACCESS_DENIED", PLAN_ENDED, 403),
        ("access_denied", f"{PLAN_ENDED}.", 401),
        ("ACCESS_DENIED", PLAN_ENDED.upper(), 200),
    ],
)
def test_a_plan_that_has_ended_is_no_missing_right(
    app: Flask, manager: Actor, portal: FakePortal, code: str, words: str, status: int
) -> None:
    for method in (START, "app.info"):
        portal.faults.add("error", method, code=code, words=words, status=status)
    id = json_of(manager.requests_callback())["id"]
    process(app)
    shown = manager.sees(id)
    assert (shown["state"], shown["reason"]) == ("failed", "payment_required")
    assert "The paid period of the app or of Bitrix24 is over" in shown["detail"]
    with app.app_context():
        assert payment.check_payments() == 1
    assert state_of_portal(app) == PortalState.UNPAID


def test_the_portal_goes_on_by_itself_when_its_plan_is_paid(app: Flask, manager: Actor, portal: FakePortal) -> None:
    manager.opens()
    for method in (LINES, "app.info"):
        portal.faults.add("error", method, code="ACCESS_DENIED", words=PLAN_ENDED, status=403)
    manager.asks("GET", "/lines?refresh=1")
    with app.app_context():
        assert payment.check_payments() == 1
    assert state_of_portal(app) == PortalState.UNPAID
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(payment_asked_at=utcnow() - payment.ASK_UNPAID_AGAIN * 1.1))
    with app.app_context():
        assert payment.check_payments() == 1
    assert state_of_portal(app) == PortalState.INSTALLED


def test_a_portal_that_is_closed_for_maintenance_is_left_alone_and_loses_nothing(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    portal.faults.add("error", "*", code="PORTAL_DELETED", words="Portal was deleted", status=500, times=2)
    id = json_of(manager.requests_callback())["id"]
    process(app)
    administrator.asks("GET", "/lines?refresh=1")
    asked = len(portal.requests)
    with app.app_context():
        assert list(queue.lease_due()) == []
        assert uninstall.confirm_removals() == 0
        assert uninstall.purge_uninstalled() == 0
    assert len(portal.requests) == asked
    assert state_of_portal(app) == PortalState.INSTALLED
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(due_at=utcnow()))
        session.execute(update(Throttle).values(dial_at=None))
    process(app)
    assert manager.sees(id)["state"] == "started"

"""Runs of automation rules when something fails between the post and the result: none waits for ever by our doing."""

import threading
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select

from bx24app.bitrix24.bizproc import reconcile_rules
from bx24app.database import db, reading, writing
from bx24app.models import Callback, Credential, Portal, PortalState, RuleRun, State, utcnow
from bx24app.services.callbacks import change
from bx24app.services.native.automation import registration, rule_runs, rule_start, unproven_runs
from bx24app.services.portals import bindings, uninstall
from bx24app.services.security import proof_limits
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import CUSTOMER, Actor
from tests.support.rule_steps import (
    LINE,
    ONCE,
    WAITS,
    Runs,
    job_of_rules,
    make_runs_due,
    runs_of,
    stored,
    worked,
)
from tests.support.tables import rows_in_one_world
from tests.support.waiting import change_portal, fill_pace, follow_calls, pass_time, work

SEND = "bizproc.event.send"


def age_runs(app: Flask, by: timedelta) -> None:
    """Let the runs have come, and ended, earlier."""
    with app.app_context(), writing() as session:
        for run in session.scalars(select(RuleRun)):
            run.made_at -= by
            run.due_at = run.due_at and run.due_at - by
            run.ended_at = run.ended_at and run.ended_at - by


# The post, and its proof


def test_a_run_that_nobody_can_prove_now_waits_and_is_called_once_it_is_proven(
    app: Flask, fake: FakeBitrix24, registered: FakePortal, runs: Runs
) -> None:
    fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED", times=2)
    step = runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    assert step.delivery.status == 200
    worked(app)
    assert stored(app) == []
    make_runs_due(app)
    worked(app)
    [callback] = stored(app)
    assert callback.to_number == CUSTOMER
    with app.app_context(), writing() as session:
        session.get_one(Callback, callback.id).cancel(utcnow())
    worked(app)
    assert [result["state"] for result in step.results] == ["cancelled"]


@pytest.mark.parametrize("how", ["refused", "silent for an hour"])
def test_a_run_that_is_never_proven_starts_nothing_and_goes_on(
    app: Flask, fake: FakeBitrix24, registered: FakePortal, runs: Runs, how: str
) -> None:
    silent = fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED", times=99)
    step = runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    if how == "refused":
        silent.times = 0
        fake.registry.expire_access(registered.member_id)
    else:
        age_runs(app, timedelta(hours=1))
    worked(app)
    make_runs_due(app)
    worked(app)
    assert [result["reason"] for result in step.results] == ["rule_not_proven"]
    assert stored(app) == []


def test_runs_that_come_while_nobody_can_be_asked_all_wait(
    fake: FakeBitrix24, registered: FakePortal, runs: Runs
) -> None:
    """They come from Bitrix24's addresses, as one that was proven, and nobody sends them again."""
    assert runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE).delivery.status == 200
    many = proof_limits.FAILURES_PER_ADDRESS + 5
    fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED", times=many)
    steps = [runs(WAITS, f"DEAL_{number}", number=CUSTOMER, line=LINE) for number in range(2, many + 2)]
    assert {step.delivery.status for step in steps} == {200}


def test_so_many_runs_may_wait_unproven_and_no_more(
    app: Flask, fake: FakeBitrix24, registered: FakePortal, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One place has half of them.
    monkeypatch.setattr(unproven_runs, "MAX_UNPROVEN_RUNS", 4)
    fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED", times=99)
    steps = [runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE) for _ in range(3)]
    assert [step.delivery.status for step in steps] == [200, 200, 429]


def test_whoever_may_not_start_callbacks_leaves_no_row_unless_the_automation_waits(
    app: Flask, registered: FakePortal, application: FakeApp, administrator: Actor
) -> None:
    administrator.opens()
    roles = {"operators": {"people": [], "departments": []}, "others": "view"}
    assert administrator.asks("PATCH", "/settings", {"roles": roles}).status_code == 200
    for code in (ONCE, WAITS):
        registered.automation.run(application, code, "DEAL_1", by=registered.manager, properties={"number": CUSTOMER})
    registered.events.wait_until_idle()
    assert [run.reason for run in runs_of(app)] == ["rule_not_permitted"]
    worked(app)
    age_runs(app, timedelta(days=2))
    with app.app_context():
        assert rule_runs.purge_runs() == 1


@pytest.mark.parametrize("unproven", [False, True])
def test_what_waits_at_a_portal_for_which_nobody_works_goes(
    app: Flask, fake: FakeBitrix24, registered: FakePortal, runs: Runs, unproven: bool
) -> None:
    """Its rows hold customers' numbers and sealed tokens, and each look for the next run passes over them."""
    if unproven:
        fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED")
    runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    change_portal(app, state=PortalState.UNPAID)
    for gone in (0, 1):
        with app.app_context():
            assert rule_runs.purge_runs() == gone
        age_runs(app, timedelta(days=3))
    assert runs_of(app) == []


def test_a_post_is_one_short_transaction(
    app: Flask, registered: FakePortal, application: FakeApp, client: FlaskClient, runs: Runs
) -> None:
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE)
    fields = registered.automation.fields(application, WAITS, "DEAL_1", "a|b|c.d", registered.administrator, {})
    posts = [dict(http_build_query(fields)) | {"event_token": f"a|b|{number}.d"} for number in range(2)]
    assert client.post("/robot", data=posts[0]).status_code == 200
    statements: list[str] = []
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert client.post("/robot", data=posts[1]).status_code == 200
    assert sum("INSERT INTO rule_run" in statement for statement in statements) == 1
    assert len(statements) <= 12, statements


WRAPPED: list[tuple[dict[str, object], str, str]] = [
    ({"number": [CUSTOMER, "+4930901821"]}, CUSTOMER, ""),
    ({"number": ["", CUSTOMER]}, CUSTOMER, ""),
    ({"number": f"{CUSTOMER}, +4930901821"}, CUSTOMER, ""),
    ({"number": f"call me; {CUSTOMER}, +4930901821"}, CUSTOMER, ""),
    ({"number": {"VALUE": CUSTOMER}}, CUSTOMER, ""),
    # Left out, it would mean that none is chosen, and the customer of the document would be called.
    ({"number": "+49 30\0 901820"}, "", "number_"),
    ({"number": "\ufffd"}, "", "number_"),
    ({"number": "+49 30 \ufffd901820"}, "+4930901820", ""),
    ({"number": "9" * 6000}, "", "number_"),
    (
        {"number": CUSTOMER, "line": [LINE], "voice": [""], "text": ["Hello"], "hours": ["N"], "as": ["app"]},
        CUSTOMER,
        "",
    ),
    ({"number": CUSTOMER, "delay": ["0"], "at": ""}, CUSTOMER, ""),
    ({"number": CUSTOMER, "hours": "true", "as": "user_12"}, CUSTOMER, ""),
    ({"number": CUSTOMER, "at": "0001-01-01T00:00:00+05:00"}, "", "rule_time_past"),
    ({"number": CUSTOMER, "at": "9999-12-31T23:59:59-05:00"}, "", "rule_time_far"),
]


@rows_in_one_world(("properties", "number", "reason"), WRAPPED)
def test_properties_are_read_in_every_wrapping(
    app: Flask, registered: FakePortal, runs: Runs, properties: dict[str, object], number: str, reason: str
) -> None:
    if not registered.crm.entities["LEAD"]:
        registered.crm.add_lead("Other", phones=["+4930901899"])
    step = runs(WAITS, "LEAD_1", **{"line": LINE, **properties})
    worked(app)
    assert [callback.to_number for callback in stored(app)] == ([number] if number else [])
    assert [result["reason"].startswith(reason) for result in step.results] == ([] if number else [True])
    with app.app_context(), writing() as session:
        for callback in session.scalars(select(Callback)):
            session.delete(callback)


# Between the post and the call


def test_a_worker_that_died_after_accepting_follows_its_callback_whatever_has_changed(
    app: Flask, registered: FakePortal, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = registered.crm.add_lead("Anna", phones=[CUSTOMER])
    step = runs(WAITS, f"LEAD_{lead}", line=LINE)
    with app.app_context():
        lease = rule_runs.lease_rule_run()
        assert lease is not None
        with monkeypatch.context() as patched:
            patched.setattr(RuleRun, "follow", Mock(side_effect=RuntimeError))
            with pytest.raises(RuntimeError):
                rule_start.start(lease)
    del registered.crm.entities["LEAD"][lead]
    make_runs_due(app)
    worked(app)
    [callback], [run] = stored(app), runs_of(app)
    assert run.callback_id == callback.id
    assert step.results == []


@pytest.mark.parametrize("code", ["PAYMENT_REQUIRED", "authorization_error"])
def test_a_portal_that_cannot_be_asked_for_a_while_calls_later(
    app: Flask, registered: FakePortal, administrator: Actor, runs: Runs, code: str
) -> None:
    """It is unpaid, or the access of its only administrator has ended; then an administrator opens the app again."""
    lead = registered.crm.add_lead("Anna", phones=[CUSTOMER])
    step = runs(WAITS, f"LEAD_{lead}", line=LINE)
    registered.faults.add("error", "batch", code=code, status=401)
    worked(app)
    make_runs_due(app)
    assert worked(app) == 0
    assert administrator.opens().status_code == 200
    worked(app)
    assert [callback.to_number for callback in stored(app)] == [CUSTOMER]
    assert step.results == []


def test_a_run_that_could_not_be_started_for_a_day_is_not_called_any_more(
    app: Flask, registered: FakePortal, runs: Runs
) -> None:
    steps = [runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE, **late) for late in ({}, {"delay": "5"})]
    age_runs(app, timedelta(hours=24, minutes=1))
    worked(app)
    assert [[result["reason"] for result in step.results] for step in steps] == [["due_too_late"], []]
    assert len(stored(app)) == 1


def test_dials_come_first(app: Flask, registered: FakePortal, runs: Runs) -> None:
    """What rules ask takes half of the portal's pace at the most."""
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE)
    change_portal(app, license_family="pro")
    fill_pace(app, 30)
    assert worked(app) == 0
    pass_time(app, timedelta(seconds=10))
    assert worked(app) == 1


# The result


def test_a_callback_that_is_dialled_again_before_the_result_was_sent_is_waited_for(
    app: Flask, registered: FakePortal, manager: Actor, runs: Runs
) -> None:
    step = runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    worked(app)
    [callback] = stored(app)
    with app.app_context(), writing() as session:
        asks = session.get_one(Callback, callback.id)
        asks.fence(utcnow(), utcnow(), "0" * 64, None)
        asks.mark_unknown(asks.attempts[0], utcnow(), "dial_timeout")
        asks.ask_person(utcnow())
    registered.faults.add("error", SEND, code="QUERY_LIMIT_EXCEEDED")
    worked(app)
    with app.app_context():
        change.resolve(1, callback.id, manager.user.id, "dial_again")
    make_runs_due(app)
    worked(app)
    assert step.results == []
    with app.app_context():
        change.cancel(1, callback.id, manager.user.id)
    worked(app)
    assert [result["state"] for result in step.results] == ["cancelled"]


def test_a_callback_that_is_erased_before_the_result_was_sent_says_so(
    app: Flask, registered: FakePortal, administrator: Actor, manager: Actor, runs: Runs
) -> None:
    step = runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    worked(app)
    with app.app_context():
        change.cancel(1, stored(app)[0].id, manager.user.id)
    registered.faults.add("error", SEND, code="QUERY_LIMIT_EXCEEDED")
    worked(app)
    administrator.opens()
    assert administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER}).status_code == 200
    make_runs_due(app)
    worked(app)
    assert [(result["state"], result["reason"]) for result in step.results] == [("not_called", "erased")]


NOT_TAKEN = [
    "QUERY_LIMIT_EXCEEDED",
    "INTERNAL_SERVER_ERROR",
    "ERROR_CORE",
    "INSTANCE_LOCKED",
    "user_access_error",
    "insufficient_scope",
    "ERROR_METHOD_NOT_FOUND",
    "METHOD_CONFIRM_WAITING",
    "PORTAL_DELETED",
]


@rows_in_one_world("code", NOT_TAKEN)
def test_a_result_that_is_not_taken_is_sent_again(app: Flask, registered: FakePortal, runs: Runs, code: str) -> None:
    step = runs(WAITS, "DEAL_1", number="abc")
    registered.faults.add("error", SEND, code=code, status=403)
    worked(app)
    assert step.is_waiting
    make_runs_due(app)
    worked(app)
    assert not step.is_waiting


def test_a_result_that_the_workflow_refuses_again_and_again_is_given_up(
    app: Flask, registered: FakePortal, runs: Runs
) -> None:
    runs(WAITS, "DEAL_1", number="abc")
    registered.faults.add("error", SEND, code="ERROR_CORE", times=99)
    for _ in range(10):
        worked(app)
        make_runs_due(app)
    assert len(registered.requests_for(SEND)) == 7
    assert runs_of(app)[0].due_at is None


def test_a_portal_that_was_unpaid_for_weeks_is_asked_more_than_once(
    app: Flask, registered: FakePortal, runs: Runs
) -> None:
    step = runs(WAITS, "DEAL_1", number="abc")
    worked(app, most=1)
    change_portal(app, state=PortalState.UNPAID)
    age_runs(app, timedelta(days=20))
    assert worked(app) == 0
    change_portal(app, state=PortalState.INSTALLED)
    registered.faults.add("drop_before", SEND)
    worked(app)
    make_runs_due(app)
    worked(app)
    assert step.results[0]["state"] == "not_called"


def test_a_removed_portal_leaves_no_run(
    app: Flask, registered: FakePortal, application: FakeApp, administrator: Actor, runs: Runs
) -> None:
    runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    registered.uninstall(application)
    registered.events.wait_until_idle()
    assert worked(app) == 0
    with app.app_context():
        uninstall.confirm_removals()
    assert runs_of(app) == []


# Whose right


def test_the_access_of_a_post_does_not_replace_one_that_the_app_has(
    app: Flask, registered: FakePortal, application: FakeApp
) -> None:
    """The tokens of a post may be old, and its refresh token is not proven."""

    def generations() -> dict[int, int]:
        with app.app_context(), reading() as session:
            return {row.user_id: row.generation for row in session.scalars(select(Credential))}

    before = generations()
    guest = registered.add_user("Gerda", "Gast")
    for person in (registered.administrator, guest):
        registered.automation.run(
            application, ONCE, "DEAL_1", by=person, properties={"number": CUSTOMER, "line": LINE, "as": "person"}
        )
    registered.events.wait_until_idle()
    after = generations()
    assert after.pop(guest.id) > 0
    assert after == before


# Registration


def test_a_list_that_changes_while_rules_are_registered_is_registered_too(
    app: Flask, registered: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*given: Any, **named: Any) -> None:
        reconcile_rules(*given, **named)
        with writing() as session:
            session.get_one(Portal, 1).keep_lines({LINE: "Sales line", "sip9": "New line"}, utcnow())

    change_portal(app, rules_at=None)
    with app.app_context():
        with monkeypatch.context() as patched:
            patched.setattr(registration, "reconcile_rules", slowly)
            assert registration.register_due() == 1
        assert registration.register_due() == 1
        assert registration.register_due() == 0
    options = registered.bindings_of(application.client_id).rules[ONCE]["PROPERTIES"]["line"]["Options"]
    assert options == {"": "The usual one", LINE: "Sales line", "sip9": "New line"}


def test_an_administrator_who_opens_the_app_brings_rules_back_whose_update_nobody_told(
    app: Flask, registered: FakePortal, application: FakeApp, administrator: Actor
) -> None:
    rules = registered.bindings_of(application.client_id).rules
    rules.clear()
    administrator.opens()
    with app.app_context():
        assert registration.register_due() == 0
    change_portal(app, rules_at=utcnow() - bindings.BIND_RETRY_AFTER - timedelta(seconds=1))
    administrator.opens()
    with app.app_context():
        assert registration.register_due() == 1
    assert set(rules) == {ONCE, WAITS}


# Silent portals


def test_a_portal_whose_rules_drip_holds_one_thread_and_delays_no_dial(
    app: Flask,
    registered: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    administrator: Actor,
    runs: Runs,
    eventually: Eventually,
) -> None:
    other = fake.add_portal("beta")
    Actor(app.test_client(), other, application, other.administrator).installs()
    other.events.wait_until_idle()
    with app.app_context():
        assert registration.register_due() == 1
    for _ in range(20):
        runs(WAITS, "DEAL_1", number="abc")
    dripping = registered.faults.add("drip_body", SEND, seconds=60)

    def send() -> None:
        job = job_of_rules()
        with app.app_context():
            for lease in job.lease(1):
                job.work(lease)

    with app.app_context():
        for _ in range(20):
            [lease] = job_of_rules().lease(1)
            job_of_rules().work(lease)
    thread = threading.Thread(target=send)
    thread.start()
    eventually(dripping.received.is_set)
    step = other.automation.run(application, WAITS, "DEAL_1", properties={"number": "abc"})
    other.events.wait_until_idle()
    assert worked(app) == 2  # Nothing of the first portal.
    assert not step.is_waiting
    assert administrator.opens().status_code == 200
    assert administrator.requests_callback().status_code == 201
    assert work(app) == 1
    assert len(registered.telephony.dials) == 1
    assert stored(app)[0].state == State.STARTED
    registered.faults.release()
    thread.join()


# Hundreds at once


@pytest.mark.timeout(600)
@pytest.mark.parametrize("deals", [20, pytest.param(500, marks=pytest.mark.long)])
def test_deals_that_enter_a_stage_at_once_are_each_called_once_within_the_pace(
    app: Flask, registered: FakePortal, application: FakeApp, fake: FakeBitrix24, deals: int
) -> None:
    """Every number is read from its deal, and every deal goes on by the result."""
    change_portal(app, license_family="pro", line_cap=None)
    numbers = [f"+4930{number:07}" for number in range(deals)]
    steps = []
    for number in numbers:
        contact = registered.crm.add_contact("Anna", number[-6:], phones=[number])
        deal = registered.crm.add_deal("Roof", contact)
        steps.append(registered.automation.run(application, WAITS, f"DEAL_{deal}", properties={"line": LINE}))
    registered.events.wait_until_idle(300)
    assert {step.delivery.status for step in steps} == {200}
    for _ in range(deals):
        worked(app)
        work(app)
        for call in registered.telephony.calls:
            if call.state != "ended":
                call.manager_answers()
                call.customer_answers()
                call.hang_up()
        follow_calls(app, registered)
        pass_time(app, timedelta(seconds=10))
        fake.clock.advance(10)
        if not any(step.is_waiting for step in steps):
            break
    assert [step.results[0]["state"] for step in steps] == ["completed"] * deals
    assert sorted(dial["number"] for dial in registered.telephony.dials) == numbers
    assert registered.rest.overflows == 0

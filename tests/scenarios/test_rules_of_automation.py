"""Automation rules: a document asks for a callback, and the automation goes on by its result."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, Portal, RuleRun, Throttle, utcnow
from bx24app.services.callbacks.accept import accept
from bx24app.services.native.automation import registration, rule_posts, rule_runs, rule_start
from bx24app.services.portals import bindings, lines, tokens
from bx24app.services.portals.places.parts import PartKind, missing_parts
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakeLine, FakePortal, FakeUser
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import CUSTOMER, Actor
from tests.support.rule_steps import LINE, ONCE, WAITS, Runs, runs_of, stored, worked
from tests.support.tables import rows_in_one_world
from tests.support.waiting import change_portal


def test_both_rules_are_registered_with_lines_and_voices_and_again_after_an_update(
    app: Flask, registered: FakePortal, application: FakeApp
) -> None:
    rules = registered.bindings_of(application.client_id).rules
    assert set(rules) == {ONCE, WAITS}
    assert [rules[code]["USE_SUBSCRIPTION"] for code in (ONCE, WAITS)] == ["N", "Y"]
    lines = rules[ONCE]["PROPERTIES"]["line"]["Options"]
    assert lines == {"": "The usual one", LINE: "Sales line", "sip7": "Office PBX 1"}
    assert set(rules[WAITS]["RETURN_PROPERTIES"]) == {"state", "reason", "duration", "attempts", "answered_by"}
    registered.update(application)
    registered.events.wait_until_idle()
    assert registered.bindings_of(application.client_id).rules == {}
    with app.app_context():
        bindings.rebind_due()
        assert registration.register_due() == 1
        assert registration.register_due() == 0
    assert set(registered.bindings_of(application.client_id).rules) == {ONCE, WAITS}


def test_lines_that_change_are_offered_and_a_rule_that_is_gone_is_removed(
    app: Flask, registered: FakePortal, application: FakeApp
) -> None:
    registered.lines["sip9"] = FakeLine("New line", "sip")
    rules = registered.bindings_of(application.client_id).rules
    rules["callback_of_old"] = {"NAME": "x"}
    with app.app_context():
        lines.get_lines(1, refresh=True)
        assert registration.register_due() == 1
    assert set(rules) == {ONCE, WAITS}
    assert rules[ONCE]["PROPERTIES"]["line"]["Options"]["sip9"] == "New line"


@pytest.mark.parametrize("lacking", ["scope", "plan"])
def test_a_portal_without_them_loses_the_rules_alone(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, lacking: str
) -> None:
    if lacking == "scope":
        application.scopes = tuple(scope for scope in application.scopes if scope != "bizproc")
    else:
        portal.missing_methods |= {f"bizproc.robot.{verb}" for verb in ("add", "update", "delete", "list")}
    with app.app_context():
        assert registration.register_due() == 1
        assert registration.register_due() == 0
        with reading() as session:
            [part] = missing_parts(session.scalars(select(Portal)).one(), PartKind.RULES)
    assert (part.lacks, part.code) == {"scope": ("bizproc", ""), "plan": ("", "method_unknown")}[lacking]
    assert manager.requests_callback().status_code == 201


def test_the_customer_of_a_deal_is_called_and_the_deal_goes_on_by_the_result(
    app: Flask, registered: FakePortal, runs: Runs, worker: Worker, eventually: Eventually
) -> None:
    contact = registered.crm.add_contact("Anna", "Meyer", phones=[(CUSTOMER, "WORK")])
    deal = registered.crm.add_deal("Roof", contact)
    step = runs(WAITS, f"DEAL_{deal}", line=LINE, text="The roof of {name}")
    assert step.delivery.status == 200
    eventually(lambda: bool(registered.telephony.calls))
    assert registered.telephony.dials[0]["number"] == CUSTOMER
    call = registered.telephony.calls[0]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    eventually(lambda: not step.is_waiting)
    assert step.results[0]["state"] == "completed"
    assert int(step.results[0]["attempts"]) == 1
    assert "Talked" in step.log[0]
    [callback] = stored(app)
    assert (callback.source, callback.crm_entity_type, callback.crm_entity_id) == ("robot", "DEAL", deal)
    assert callback.text == "The roof of Anna Meyer"
    assert len(registered.telephony.dials) == 1


def test_a_document_goes_on_in_a_portal_with_a_language_of_its_own(
    app: Flask, registered: FakePortal, runs: Runs, worker: Worker, eventually: Eventually
) -> None:
    change_portal(app, language="ua")
    deal = registered.crm.add_deal("Roof", registered.crm.add_contact("Anna", "Meyer", phones=[(CUSTOMER, "WORK")]))
    step = runs(WAITS, f"DEAL_{deal}", line=LINE)
    eventually(lambda: bool(registered.telephony.calls))
    registered.telephony.calls[0].manager_refuses()
    eventually(lambda: not step.is_waiting)
    assert step.results[0]["state"] == "missed"


def test_one_post_is_one_callback_however_often_it_comes(
    app: Flask, registered: FakePortal, application: FakeApp, runs: Runs
) -> None:
    registered.events.duplicate = True
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE)
    worked(app)
    worked(app)
    assert len(stored(app)) == len(runs_of(app)) == 1


def test_two_documents_of_one_customer_are_one_call_and_both_go_on(
    app: Flask, registered: FakePortal, runs: Runs
) -> None:
    steps = [runs(WAITS, f"DEAL_{number}", number=CUSTOMER, line=LINE) for number in (1, 2)]
    worked(app)
    [callback] = stored(app)
    assert {run.callback_id for run in runs_of(app)} == {callback.id}
    with app.app_context(), writing() as session:
        session.get_one(Callback, callback.id).cancel(utcnow())
    worked(app)
    assert [step.results[0]["state"] for step in steps] == ["cancelled", "cancelled"]


NOT_CALLED = [
    ("LEAD_77", {}, "rule_card_gone", "deleted"),
    ("LEAD_1", {}, "rule_card_empty", "no phone number"),
    ("LEAD_2", {}, "rule_card_number", "can be called"),
    ("DEAL_1", {"number": "abc"}, "number_", ""),
    ("DEAL_1", {"number": CUSTOMER, "line": "gone"}, "unknown_line", "no such line"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "voice": "gone"}, "unknown_voice", "no such voice"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "delay": "soon"}, "rule_delay", "minutes"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "delay": "999999"}, "rule_delay", "minutes"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "at": "tomorrow"}, "rule_time", "cannot be read"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "at": "24.12.2020 15:00"}, "rule_time_past", "passed"),
    ("DEAL_1", {"number": CUSTOMER, "line": LINE, "at": "2099-12-24T15:00:00Z"}, "rule_time_far", "year"),
    ("DEAL_1", {"number": CUSTOMER}, "rule_line", "none by default"),
    ("TASK_1", {"line": LINE}, "rule_number", "names no customer"),
    ("DEAL_1", {"number": "+491371123456", "line": LINE}, "number_not_allowed", "never called"),
]


@rows_in_one_world(("document", "properties", "reason", "words"), NOT_CALLED)
def test_what_cannot_be_called_goes_on_at_once_with_the_reason(
    app: Flask, registered: FakePortal, runs: Runs, document: str, properties: dict[str, str], reason: str, words: str
) -> None:
    if not registered.crm.entities["LEAD"]:
        registered.crm.add_lead("Nobody")
        registered.crm.add_lead("Odd", phones=["call me"])
    step = runs(WAITS, document, **properties)
    worked(app)
    assert step.results, runs_of(app)[-1].reason
    assert step.results[0]["state"] == "not_called"
    assert step.results[0]["reason"].startswith(reason)
    assert words in step.log[0]
    assert stored(app) == []


def test_a_long_text_is_shortened_and_nothing_else_is_lost(app: Flask, runs: Runs) -> None:
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE, text="Order <b>1024</b> & more " * 400)
    worked(app)
    [callback] = stored(app)
    assert len(callback.text) <= 300


@pytest.mark.parametrize(
    ("roles", "may"), [(None, True), ({"operators": {"people": [], "departments": []}, "others": "view"}, False)]
)
def test_a_rule_runs_with_the_rights_of_the_person_whose_access_it_has(
    app: Flask,
    registered: FakePortal,
    application: FakeApp,
    administrator: Actor,
    roles: dict[str, Any] | None,
    may: bool,
) -> None:
    if roles:
        administrator.opens()
        assert administrator.asks("PATCH", "/settings", {"roles": roles}).status_code == 200
    step = registered.automation.run(
        application, WAITS, "DEAL_1", by=registered.manager, properties={"number": CUSTOMER, "line": LINE}
    )
    registered.events.wait_until_idle()
    worked(app)
    assert len(stored(app)) == may
    assert [result["reason"] for result in step.results] == ([] if may else ["rule_not_permitted"])


def test_whoever_proves_nothing_starts_and_stores_nothing(
    app: Flask, registered: FakePortal, application: FakeApp, fake: FakeBitrix24, client: FlaskClient
) -> None:
    """Every employee knows the application token; the run must come with a token of Bitrix24's."""
    automation = registered.automation

    def post(**changes: str) -> int:
        fields = automation.fields(
            application, ONCE, "DEAL_1", "a|b|c.d", registered.administrator, {"number": CUSTOMER}
        )
        sent = dict(http_build_query(fields)) | changes
        return client.post("/robot", data=sent).status_code

    assert post(**{"auth[access_token]": "made-up"}) == 403
    assert post(**{"auth[access_token]": ""}) == 403
    assert post(**{"auth[application_token]": "made-up", "auth[access_token]": ""}) == 403
    assert post(**{"auth[member_id]": "0" * 32}) == 403
    other = fake.add_portal("beta")
    stranger = fake.registry.issue(application.client_id, other.member_id, 1)
    assert post(**{"auth[access_token]": stranger.access}) == 403
    assert post(**{"auth[member_id]": "x"}) == 400
    assert post(event_token="") == 400
    assert post(event_token="x" * 2000) == 400
    assert post(code="../..") == 400
    assert runs_of(app) == []
    assert post() == 200
    assert len(runs_of(app)) == 1


def test_a_result_that_the_portal_does_not_take_is_sent_again_and_nobody_is_demoted(
    app: Flask, registered: FakePortal, runs: Runs
) -> None:
    steps = [runs(WAITS, "DEAL_1", number="abc") for _ in range(2)]
    registered.faults.add("error", "bizproc.event.send", code="QUERY_LIMIT_EXCEEDED")
    worked(app)
    # The portal is left alone for a while, so neither has been told.
    assert [step.is_waiting for step in steps] == [True, True]
    with app.app_context(), writing() as session:
        session.execute(update(RuleRun).where(RuleRun.due_at.is_not(None)).values(due_at=utcnow()))
        session.execute(update(Throttle).values(spare_at=None))
    worked(app)
    assert not any(step.is_waiting for step in steps)
    forged = runs(WAITS, "DEAL_1", number="abc")
    registered.faults.add("error", "bizproc.event.send", code="ACCESS_DENIED", status=403)
    worked(app)
    assert forged.is_waiting
    assert runs_of(app)[-1].due_at is None
    with app.app_context():
        assert tokens.serving_administrators(1) == [registered.administrator.id]


def test_working_hours_and_delay_move_the_call(
    app: Flask, administrator: Actor, registered: FakePortal, runs: Runs
) -> None:
    administrator.opens()
    week = {day: [["09:00", "09:01"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    hours = {"zone": "Europe/Berlin", "week": week, "holidays": "", "closed": []}
    assert administrator.asks("PATCH", "/settings", {"hours": hours}).status_code == 200
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE, hours="Y", delay="5")
    runs(ONCE, "DEAL_1", number="+4930901821", line=LINE, delay="60")
    worked(app)
    in_hours, delayed = stored(app)
    assert in_hours.due_at.astimezone(ZoneInfo("Europe/Berlin")).hour == 9
    assert timedelta(minutes=59) < delayed.due_at - utcnow() <= timedelta(minutes=60)


def test_a_worker_that_died_between_accepting_and_noting_it_starts_nothing_twice(
    app: Flask, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    with app.app_context():
        lease = rule_runs.lease_rule_run()
        assert lease is not None
        with monkeypatch.context() as patched:
            patched.setattr(RuleRun, "follow", Mock(side_effect=RuntimeError))
            with pytest.raises(RuntimeError):
                rule_start.start(lease)
        assert rule_runs.lease_rule_run() is None
        with writing() as session:
            session.execute(update(RuleRun).values(leased_until=utcnow() - timedelta(seconds=1)))
    worked(app)
    [callback], [run] = stored(app), runs_of(app)
    assert run.callback_id == callback.id


def test_an_erased_number_is_not_called_by_a_rule_that_waits(
    app: Flask, administrator: Actor, registered: FakePortal, runs: Runs
) -> None:
    steps = [runs(WAITS, "DEAL_1", number=number, line=LINE) for number in ("+49 (30) 90 18 20", "+4930901821")]
    with app.app_context():
        administrator.opens()
        answer = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
        assert answer.status_code == 200, answer.text
    worked(app)
    assert [result["reason"] for result in steps[0].results] == ["erased"]
    assert [callback.to_number for callback in stored(app)] == ["+4930901821"]
    with app.app_context(), reading() as session:
        assert "18 20" not in str(session.scalars(select(RuleRun.properties)).all())


Forges = Callable[..., int]


@pytest.fixture
def forges(registered: FakePortal, application: FakeApp, client: FlaskClient) -> Forges:
    """Posts what an employee can make up: with a token of their page, for a run that the portal has not begun."""

    def post(user: FakeUser, code: str = ONCE, access: str = "", **properties: str) -> int:
        chosen = {"number": CUSTOMER, "line": LINE, **properties}
        token = f"w1.1|A1_1|{secrets.token_hex(16)}.{secrets.token_hex(32)}"
        fields = registered.automation.fields(application, code, "DEAL_1", token, user, chosen)
        changes = {"auth[access_token]": access} if access else {}
        return client.post("/robot", data=dict(http_build_query(fields)) | changes).status_code

    return post


@pytest.mark.parametrize("code", [ONCE, WAITS])
def test_an_employee_who_makes_up_a_run_calls_nobody_and_leaves_nothing(
    app: Flask, registered: FakePortal, forges: Forges, code: str
) -> None:
    """It would be dialled under the app's own access, whatever the portal lets them do."""
    contact = registered.crm.add_contact("Anna", "Meyer", phones=[("+4930901829", "WORK")])
    registered.crm.add_deal("Roof", contact)
    assert [forges(registered.manager, code), forges(registered.manager, code, number="")] == [200, 200]
    worked(app)
    assert (stored(app), runs_of(app)) == ([], [])


def test_a_kept_token_brings_nobody_to_life_whom_the_portal_has_refused(
    app: Flask, registered: FakePortal, application: FakeApp, forges: Forges, client: FlaskClient
) -> None:
    employee = Actor(client, registered, application, registered.add_user("Eva", "Weg"))
    assert employee.opens().status_code == 200
    kept = registered.cloud.registry.issue(application.client_id, registered.member_id, employee.user.id)
    employee.user.dismissed = True
    with app.app_context(), writing() as session:
        session.scalars(select(Credential).where(Credential.user_id == employee.user.id)).one().die("refused")
    assert employee.asks("GET", "/callbacks").status_code == 401
    assert forges(employee.user, access=kept.access, **{"as": "person"}) == 200
    assert employee.asks("GET", "/callbacks").status_code == 401
    worked(app)
    assert stored(app) == []


def test_somebody_who_may_not_start_makes_us_ask_a_few_times_and_store_nothing(
    app: Flask, administrator: Actor, registered: FakePortal, application: FakeApp, forges: Forges
) -> None:
    administrator.opens()
    assert administrator.lets_call().status_code == 200
    kept = registered.cloud.registry.issue(application.client_id, registered.member_id, registered.manager.id)
    asked = len(registered.requests_for("batch"))
    sent = [forges(registered.manager, access=kept.access) for _ in range(20)]
    lies = [forges(registered.administrator, access=kept.access) for _ in range(20)]
    assert set(sent) == set(lies) == {200}
    assert len(registered.requests_for("batch")) - asked == 1
    assert runs_of(app) == []


def test_a_right_that_is_taken_away_counts_for_the_next_run(
    administrator: Actor, registered: FakePortal, application: FakeApp, forges: Forges, app: Flask
) -> None:
    administrator.opens()
    assert administrator.lets_call([registered.manager.id]).status_code == 200
    kept = registered.cloud.registry.issue(application.client_id, registered.member_id, registered.manager.id)
    assert forges(registered.manager, access=kept.access) == 200
    assert administrator.lets_call().status_code == 200
    assert forges(registered.manager, access=kept.access) == 200
    assert len(runs_of(app)) == 1


def test_a_number_that_is_erased_while_its_run_begins_is_not_called(
    app: Flask, administrator: Actor, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator.opens()
    runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE)

    def erased_first(*args: Any) -> Any:
        erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
        assert erased.status_code == 200, erased.text
        return accept(*args)

    monkeypatch.setattr(rule_start, "accept", erased_first)
    worked(app)
    assert stored(app) == []
    assert [run.reason for run in runs_of(app)] == ["erased"]


def test_a_portal_has_so_many_runs_open_and_so_many_a_day(
    app: Flask, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_posts, "MAX_OPEN_OF_PORTAL", 1)
    monkeypatch.setattr(rule_posts, "RUNS_A_DAY", 2)
    planned = {"number": CUSTOMER, "line": LINE, "delay": "60"}
    assert runs(ONCE, "DEAL_1", **planned).delivery.status == 200
    worked(app)
    assert runs(ONCE, "DEAL_1", **planned).delivery.status == 429
    monkeypatch.setattr(rule_posts, "MAX_OPEN_OF_PORTAL", 10)
    assert [runs(ONCE, "DEAL_1", **planned).delivery.status for _ in range(2)] == [200, 429]


def test_a_portal_whose_plan_has_ended_says_nothing_about_a_run(app: Flask, registered: FakePortal, runs: Runs) -> None:
    words = "REST API is available only on commercial plans"
    registered.faults.add("error", "bizproc.activity.log", code="ACCESS_DENIED", words=words, status=403)
    runs(WAITS, "DEAL_1", number=CUSTOMER, line=LINE)
    worked(app)
    assert [(run.stage, run.reason) for run in runs_of(app)] == [("received", None)]  # It waits for the plan.
    assert stored(app) == []

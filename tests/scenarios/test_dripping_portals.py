"""Answers that come byte by byte: every exchange has an end, and what one portal takes of us has a bound."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.bitrix24 import client
from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.connections import portal_clients
from bx24app.database import reading, writing
from bx24app.models import Callback, Portal, RestCall, State, TimelineEntry, utcnow
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import NotSent, NoUsableAnswer
from bx24app.services.dialling import call_history, dial, queue
from bx24app.services.native.follow_up import news
from bx24app.services.native.timeline import kept_clicks
from bx24app.services.portals import bindings, payment, throttle, token_renewal
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.webhooks import delivery, sender
from bx24app.web import EXCHANGES_OF_ONE
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import LeasedJob
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import Actor, json_of, post_frame
from tests.support.waiting import accept, add_form, seen, work

EXCHANGE = 0.6
# Much longer than an exchange, and shorter than anybody would wait for a test.
DRIPPING = 4.0
SLACK = 1.0
PATIENCE = 15.0
HOW = ("drip_head", "drip_body")
LINES = "voximplant.line.get"
START = "voximplant.callback.start"


@pytest.fixture(autouse=True)
def hurried(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole exchanges end sooner than after 20 seconds; single reads do not."""
    monkeypatch.setattr(client, "EXCHANGE_SECONDS", EXCHANGE)
    # Lists are the questions that some of these tests ask.
    monkeypatch.setattr(throttle, "ASKED_BY_PEOPLE", LocalLimit("asked_by_people", 1000))
    for kept in ("bx24app.portals", "bx24app.authorization_server"):
        app.extensions[kept]._adapter._seconds = EXCHANGE


@pytest.mark.parametrize("how", HOW)
def test_an_answer_that_drips_has_an_end(app: Flask, manager: Actor, portal: FakePortal, how: str) -> None:
    known = json_of(manager.asks("GET", "/lines"))["lines"]
    portal.faults.add(how, LINES, seconds=DRIPPING)
    began = time.monotonic()
    refused = manager.asks("GET", "/lines?refresh=1")
    assert time.monotonic() - began < EXCHANGE + SLACK
    assert (refused.status_code, json_of(refused)["code"]) == (503, "bitrix24_unavailable")
    assert json_of(manager.asks("GET", "/lines?refresh=1"))["lines"] == known


@pytest.mark.parametrize("how", HOW)
def test_an_authorization_server_that_drips_has_an_end(
    app: Flask, administrator: Actor, fake: FakeBitrix24, how: str
) -> None:
    fake.auth_server.faults.add(how, "app.info", seconds=DRIPPING)
    began = time.monotonic()
    assert administrator.installs().status_code == 503
    assert time.monotonic() - began < EXCHANGE + SLACK


@pytest.mark.parametrize("how", HOW)
def test_a_renewal_that_drips_has_an_end(app: Flask, fake: FakeBitrix24, how: str) -> None:
    server: AuthorizationServer = app.extensions["bx24app.authorization_server"]
    fake.auth_server.faults.add(how, "oauth/token", seconds=DRIPPING)
    began = time.monotonic()
    with pytest.raises(NoUsableAnswer):
        server.renew("none")
    assert time.monotonic() - began < EXCHANGE + SLACK


def test_the_exchanges_of_one_piece_of_work_end_together(app: Flask, manager: Actor, portal: FakePortal) -> None:
    """The second of two dripping answers has only what the first has left, and a third is not asked for."""
    portal.faults.add("drip_body", "profile", seconds=DRIPPING, times=3)
    endpoint = f"{portal.url}/rest/"
    began, asked = time.monotonic(), len(portal.requests)
    with app.app_context(), ending_within(EXCHANGE * 1.5):
        for expected in (NoUsableAnswer, NoUsableAnswer, NotSent):
            with pytest.raises(expected):
                portal_clients("any").client(endpoint, "none").invoke("profile")
    assert time.monotonic() - began < EXCHANGE * 1.5 + SLACK
    assert len(portal.requests) == asked + 2


def test_a_portal_takes_four_launches_and_no_more(
    app: Flask,
    administrator: Actor,
    fake: FakeBitrix24,
    application: FakeApp,
    portal: FakePortal,
    eventually: Eventually,
) -> None:
    """The next one gets a short page with Retry, a page that is open a problem; other portals' pages open."""
    administrator.installs()
    other = Actor(app.test_client(), second := fake.add_portal("beta"), application, second.administrator)
    other.installs()
    app.extensions["bx24app.portals"]._adapter._seconds = PATIENCE
    fault = portal.faults.add("hang_after", "batch", seconds=PATIENCE, times=4)
    threads = [threading.Thread(target=_opens, args=(app, administrator)) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: fault.times == 0)
    refused = post_frame(app.test_client(), "/", administrator.launches())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert ">Retry</button>" in refused.text
    renewed = post_frame(app.test_client(), "/session", administrator.launches())
    assert (renewed.status_code, json_of(renewed)["code"]) == (503, "bitrix24_unavailable")
    assert other.opens().status_code == 200
    portal.faults.release()
    for thread in threads:
        thread.join()
    assert administrator.opens().status_code == 200


def _opens(app: Flask, actor: Actor) -> None:
    post_frame(app.test_client(), "/", actor.launches())


def lists_lines(app: Flask, actor: Actor) -> int:
    return actor.asks("GET", "/lines?refresh=1").status_code


def checks_setup(app: Flask, actor: Actor) -> int:
    headers = {"Authorization": f"Bearer {actor.ticket}"}
    return app.test_client().get("/desk/check", headers=headers).status_code


def announces_update(app: Flask, actor: Actor) -> int:
    own = actor.launches().form
    auth: dict[str, object] = {
        "member_id": own["member_id"],
        "application_token": "1" * 32,
        "access_token": own["AUTH_ID"],
    }
    fields: dict[str, object] = {"event": "ONAPPUPDATE", "ts": "1795470751", "auth": auth}
    return app.test_client().post("/events", data=dict(http_build_query(fields))).status_code


ASKS: dict[str, tuple[Callable[[Flask, Actor], int], str]] = {
    "lines": (lists_lines, LINES),
    "check": (checks_setup, "batch"),
    "update": (announces_update, "profile"),
}


@pytest.mark.parametrize("what", ASKS)
def test_whatever_asks_a_portal_takes_four_threads_and_no_more(
    app: Flask,
    administrator: Actor,
    fake: FakeBitrix24,
    application: FakeApp,
    portal: FakePortal,
    eventually: Eventually,
    what: str,
) -> None:
    """Routes and events that no launch guards: the next one is answered at once, and other portals are asked."""
    administrator.installs()
    administrator.opens()
    administrator.asks("GET", "/lines")
    administrator.asks("GET", "/voices")
    other = Actor(app.test_client(), second := fake.add_portal("beta"), application, second.administrator)
    other.installs()
    # The event of the installation asks the authorization server too.
    portal.events.wait_until_idle()
    second.events.wait_until_idle()
    app.extensions["bx24app.portals"]._adapter._seconds = PATIENCE
    ask, method = ASKS[what]
    fault = portal.faults.add("hang_after", method, seconds=PATIENCE, times=EXCHANGES_OF_ONE)
    threads = [threading.Thread(target=ask, args=(app, administrator)) for _ in range(EXCHANGES_OF_ONE)]
    for thread in threads:
        thread.start()
    eventually(lambda: fault.times == 0)
    asked, began = len(portal.requests), time.monotonic()
    ask(app, administrator)
    assert time.monotonic() - began < SLACK
    assert len(portal.requests) == asked
    assert other.opens().status_code == 200
    assert other.asks("GET", "/lines?refresh=1").status_code == 200
    portal.faults.release()
    for thread in threads:
        thread.join()
    assert ask(app, administrator) == 200


JOBS: dict[str, tuple[Callable[[], int], dict[str, Any], str]] = {
    "bindings": (bindings.rebind_due, {"bound_at": None}, "batch"),
    "payments": (payment.check_payments, {"payment_hinted_at": utcnow()}, "app.info"),
    "history": (call_history.read_next_history, {"history_due_at": None}, "voximplant.statistic.get"),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_portal_that_drips_holds_one_thread_of_a_job(
    app: Flask,
    administrator: Actor,
    fake: FakeBitrix24,
    application: FakeApp,
    portal: FakePortal,
    eventually: Eventually,
    name: str,
) -> None:
    """However long it takes: the next thread does the same for the other portal, and leaves the first one alone."""
    administrator.installs()
    second = fake.add_portal("beta")
    Actor(app.test_client(), second, application, second.administrator).installs()
    second.events.wait_until_idle()
    app.extensions["bx24app.portals"]._adapter._seconds = PATIENCE
    due, fields, method = JOBS[name]
    if name == "history":
        accept(app, portal_id=1, to_number="+4930901821")
        accept(app, portal_id=2)
        work(app)
        make_due(app, second, {"history_due_at": utcnow() + timedelta(minutes=1)})
    make_due(app, portal, fields)
    asked = [len(one.requests_for(method)) for one in (portal, second)]
    fault = portal.faults.add("drip_body", method, seconds=PATIENCE)
    slow = threading.Thread(target=_in_context, args=(app, due))
    slow.start()
    eventually(fault.received.is_set)
    make_due(app, second, fields)
    began = time.monotonic()
    _in_context(app, due)
    assert time.monotonic() - began < PATIENCE / 2
    assert len(second.requests_for(method)) > asked[1]
    _in_context(app, due)
    assert len(portal.requests_for(method)) == asked[0] + 1
    portal.faults.release()
    slow.join()


def make_due(app: Flask, portal: FakePortal, fields: dict[str, Any]) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).where(Portal.member_id == portal.member_id).values(**fields))


def _in_context(app: Flask, due: Callable[[], int]) -> None:
    with app.app_context():
        due()


IN_A_CARD = {"crm_entity_type": "LEAD", "crm_entity_id": 1}
SHOW = "show_in_timeline"
NATIVE_JOBS = {
    SHOW: "crm.activity.configurable.add",
    "make_to_dos": "crm.activity.todo.add",
    "send_notifications": "im.notify.system.add",
}


@pytest.fixture
def native_job(request: pytest.FixtureRequest) -> LeasedJob:
    """One of the jobs that put something before people inside of Bitrix24."""
    return next(job for job in background_jobs() if isinstance(job, LeasedJob) and job.name == request.param)


@pytest.mark.parametrize("native_job", NATIVE_JOBS, indirect=True)
def test_a_portal_that_drips_holds_one_thread_of_what_people_see_inside_bitrix24(
    app: Flask,
    administrator: Actor,
    fake: FakeBitrix24,
    application: FakeApp,
    portal: FakePortal,
    eventually: Eventually,
    native_job: LeasedJob,
) -> None:
    """The other portal's people see theirs meanwhile, and calls of the one that drips are dialled."""
    administrator.installs()
    second = fake.add_portal("beta")
    Actor(app.test_client(), second, application, second.administrator).installs()
    for portal_id, one in ((1, portal), (2, second)):
        one.crm.add_lead("Roof", phones=["+4930901820"])
        for number in range(2):
            person, is_over = one.administrator.id + number, native_job.name != SHOW
            asks_for_native_work(app, portal_id, f"+493090182{number}", person, is_over=is_over)
    app.extensions["bx24app.portals"]._adapter._seconds = PATIENCE
    method = NATIVE_JOBS[native_job.name]
    fault = portal.faults.add("drip_body", method, seconds=PATIENCE)
    slow = threading.Thread(target=_works, args=(app, native_job, 1))
    slow.start()
    eventually(fault.received.is_set)
    began = time.monotonic()
    for _ in range(3):
        _works(app, native_job, 4)
    accept(app, portal_id=1, to_number="+4930901829")
    assert work(app) == 1
    assert time.monotonic() - began < PATIENCE / 2
    assert (len(portal.requests_for(method)), len(second.requests_for(method))) == (1, 2)
    assert [call.number for call in portal.telephony.calls] == ["+4930901829"]
    portal.faults.release()
    slow.join()


def asks_for_native_work(app: Flask, portal_id: int, number: str, person: int, *, is_over: bool) -> None:
    """A website's callback that stands in a card; where it has ended in vain somebody is to know it, and to call."""
    form = add_form(app, portal_id, created_by=person)
    later = utcnow() + timedelta(hours=1)
    id = accept(app, portal_id, form_id=form, to_number=number, due_at=later, **IN_A_CARD)
    with app.app_context(), writing() as session:
        if is_over:
            session.get_one(Callback, id).fail(utcnow(), "code_404")
        else:
            entry = TimelineEntry(portal_id=portal_id, callback_id=id, origin=id, entity_type="LEAD", entity_id=1)
            entry.due_at = utcnow()
            session.add(entry)
    with app.app_context():
        news.follow_up_ended()


def _works(app: Flask, job: LeasedJob, most: int) -> None:
    with app.app_context():
        for lease in job.lease(most):
            job.work(lease)


def test_a_dial_that_drips_is_closed_before_its_lease_ends(
    app: Flask, administrator: Actor, portal: FakePortal, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So never more than two dials of a portal are open, and no other attempt begins while one is."""
    for module in (client, dial):
        monkeypatch.setattr(module, "DIAL_SECONDS", 1.0)
    for module in (queue, dial):
        monkeypatch.setattr(module, "DIAL_LEASE", timedelta(seconds=3))
    administrator.installs()
    portal.events.pause()
    portal.faults.add("drip_head", START, seconds=DRIPPING * 2, times=9)
    ids = [accept(app, to_number=f"+4930901820{digit}") for digit in range(5)]
    with working(app):
        eventually(lambda: all(seen(app, id).state == State.UNKNOWN for id in ids))
        # Much later than the first lease.
        time.sleep(1.5)
    for callback in (seen(app, id) for id in ids):
        assert (callback.reason, len(callback.attempts)) == ("dial_timeout", 1)
    with app.app_context(), reading() as session:
        sent = session.scalars(select(RestCall).where(RestCall.method == START)).all()
    assert len(sent) == len(portal.requests_for(START)) == len(ids)
    spans = [(row.made_at, row.made_at + timedelta(milliseconds=row.duration_ms)) for row in sent]
    # The start of a request is noted a moment before it is sent.
    assert max(sum(began <= at < ended for began, ended in spans) for at, _ in spans) <= queue.DIALS_PER_PORTAL
    assert all(row.duration_ms < 1000 * (1 + SLACK) for row in sent)


def test_leases_end_later_than_what_is_done_under_them() -> None:
    assert client.DIAL_SECONDS + sum(dial.RECORD_PAUSES) < queue.DIAL_LEASE.total_seconds()
    assert call_history.HISTORY_LEASE.total_seconds() > call_history.HISTORY_SECONDS
    assert token_renewal.RENEWAL_LEASE.total_seconds() > client.EXCHANGE_SECONDS
    assert kept_clicks.CLICK_LEASE.total_seconds() > 2 * client.EXCHANGE_SECONDS
    assert delivery.DELIVERY_LEASE.total_seconds() > sender.DELIVERY_TIMEOUT_SECONDS

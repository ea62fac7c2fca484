"""Jobs that ask a portal: what can wait is asked with what others leave of its pace, and not after a refusal."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from bx24app.database import writing
from bx24app.models import Callback, NotifiedPerson, Source, Throttle, TimelineEntry, ToDo, WebsiteRequest, utcnow
from bx24app.models.portals.throttle import STANDARD_LIMIT
from bx24app.services.dialling import call_history
from bx24app.services.native.follow_up import news
from bx24app.services.native.timeline import queue as entries
from bx24app.services.runtime import wakeup
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import LeasedJob
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import CUSTOMER, Actor
from tests.support.crm_steps import asks, worked
from tests.support.leases import LEASES, due_everywhere
from tests.support.rule_steps import LINE, ONCE, Runs
from tests.support.waiting import accept, add_form, change_portal, fill_pace, pace_of, seen, work
from tests.support.websites import MakeVisitor

OTHER_NUMBER = "+494042829"
LIMIT = "QUERY_LIMIT_EXCEEDED"
SEARCH = "crm.duplicate.findbycomm"


@dataclass(frozen=True)
class World:
    """A portal that has the pace of a usual plan, and everything by which something becomes due there."""

    app: Flask
    portal: FakePortal
    manager: Actor
    visitor_of: MakeVisitor
    runs: Runs


@pytest.fixture
def world(app: Flask, registered: FakePortal, shows: Actor, visitor_of: MakeVisitor, runs: Runs) -> World:
    change_portal(app, license_family="pro")
    return World(app, registered, shows, visitor_of, runs)


def ask_on_website(world: World) -> None:
    asks(world.visitor_of(fields={"name": "optional", "topic": "optional"}))


def ask_in_card(world: World) -> None:
    lead = world.portal.crm.add_lead("Roof", phones=[CUSTOMER])
    later = (utcnow() + timedelta(hours=2)).isoformat()
    card = {"type": "LEAD", "id": lead}
    assert world.manager.requests_callback(scheduled_at=later, crm_entity=card).status_code == 201


def run_rule(world: World) -> None:
    world.runs(ONCE, "DEAL_1", number=CUSTOMER, line=LINE)


def miss_call(world: World) -> None:
    lead = world.portal.crm.add_lead("Wall", "Anna", phones=[OTHER_NUMBER])
    form = add_form(world.app, person_id=world.portal.manager.id)
    id = accept(world.app, to_number=OTHER_NUMBER, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead)
    with world.app.app_context():
        with writing() as session:
            session.get_one(Callback, id).fail(utcnow(), "code_404", None)
        news.follow_up_ended()


def update_app(world: World) -> None:
    change_portal(world.app, bound_at=None, rules_at=None)


def hint_payment(world: World) -> None:
    change_portal(world.app, payment_hinted_at=utcnow(), payment_asked_at=None)


# By the job: what makes it ask the portal something that can wait.
WAITING: dict[str, Callable[[World], None]] = {
    "find_crm_customers": ask_on_website,
    "show_in_timeline": ask_in_card,
    wakeup.WORK_ON_RULES: run_rule,
    "make_to_dos": miss_call,
    "send_notifications": miss_call,
    "bind_again": update_app,
    "register_rules": update_app,
    "check_payments": hint_payment,
}
# Somebody waits for these. Each has bounds of its own:
OF_ITS_OWN = {
    wakeup.DIAL,  # its whole pace is that of the portal (services/dialling/queue.py)
    wakeup.READ_HISTORY,  # lines become free by it: a portal that refuses is left alone for two minutes
    "prove_clicks",  # a person has pressed a button: five questions in two minutes, with growing pauses
}
ASKING_AUTHORIZATION_SERVER = {"confirm_removals", "check_portals", "renew_idle_tokens"}
ASKING_NO_PORTAL = {
    "deliver_webhooks",
    "expire_abandoned_dials",
    "reconcile_calls",
    "end_rules",
    "follow_up_callbacks",
    "note_stoppages",
    "apply_deadlines",
    "count_reports",
    "end_overlong_waits",
    "empty_wal",
}


def do(world: World, name: str) -> int:
    """Do all that is due of a job, here and now; returns how many requests the portal was sent."""
    [job] = (one for one in background_jobs() if one.name == name)
    before = len(world.portal.requests)
    with world.app.app_context():
        if isinstance(job, LeasedJob):
            for _ in range(20):
                if not (leases := job.lease(1)):
                    break
                job.work(leases[0])
        else:
            job.work()
    return len(world.portal.requests) - before


def set_pace(world: World, **values: object) -> None:
    """Change what is known of the portal's pace; what was put off because of it is due again."""
    past = utcnow() - timedelta(seconds=1)
    with world.app.app_context(), writing() as session:
        session.execute(update(Throttle).values({"extras_at": None, "dial_at": None, "level_at": utcnow()} | values))
        for model in (ToDo, NotifiedPerson, TimelineEntry):
            session.execute(update(model).where(model.due_at.is_not(None)).values(due_at=past, leased_until=None))


def test_every_job_is_in_one_of_the_tables() -> None:
    names = [job.name for job in background_jobs() if not job.name.startswith("purge_")]
    assert sorted(names) == sorted([*WAITING, *OF_ITS_OWN, *ASKING_AUTHORIZATION_SERVER, *ASKING_NO_PORTAL])


@pytest.mark.parametrize("job", WAITING)
def test_what_can_wait_is_asked_with_what_others_leave(world: World, job: str) -> None:
    WAITING[job](world)
    fill_pace(world.app, 25)
    assert do(world, job) == 0
    set_pace(world, level=0, half_free_at=None, spare_at=utcnow() + timedelta(minutes=1), refusals=1)
    assert do(world, job) == 0
    set_pace(world, spare_at=None, dial_at=utcnow() + timedelta(minutes=1), paused_for="overload_limit")
    assert do(world, job) == 0
    # Its own count alone keeps only dials waiting, and so does a line that is full.
    set_pace(world, dial_at=utcnow() + timedelta(minutes=1), paused_for=None)
    assert do(world, job) > 0


@pytest.mark.parametrize("job", WAITING)
def test_a_refusal_lets_all_rest_that_can_wait(world: World, job: str) -> None:
    for make_due in {*WAITING.values()} - {WAITING[job]}:
        make_due(world)
    WAITING[job](world)
    set_pace(world, level=0, spare_at=None)
    world.portal.faults.add("error", code=LIMIT, times=99)
    assert do(world, job) > 0
    pace = pace_of(world.app)
    assert (pace.is_refusing(utcnow()), pace.refusals) == (True, 1)
    assert {other: do(world, other) for other in WAITING} == dict.fromkeys(WAITING, 0)


def test_a_portal_that_is_on_premise_rests_too(world: World) -> None:
    change_portal(world.app, license_family="selfhosted")
    ask_on_website(world)
    world.portal.faults.add("error", "batch", code=LIMIT, status=429, retry_after="60")
    assert do(world, "find_crm_customers") == 1
    spare_at = pace_of(world.app).spare_at
    assert spare_at is not None
    assert timedelta(seconds=50) < spare_at - utcnow() <= timedelta(seconds=60)
    assert do(world, "find_crm_customers") == 0


def test_the_history_of_a_portal_that_refuses_is_left_alone(world: World) -> None:
    accept(world.app)
    assert work(world.app) == 1
    world.portal.faults.add("error", "voximplant.statistic.get", code=LIMIT, times=99)
    with world.app.app_context():
        for _ in range(5):
            call_history.read_next_history()
    assert len(world.portal.requests_for("voximplant.statistic.get")) == 1


def let_many_wait(app: Flask, count: int) -> None:
    """As many more requests like the only one wait for their customers."""
    with app.app_context(), writing() as session:
        callback = session.scalars(select(Callback)).one()
        request = session.scalars(select(WebsiteRequest)).one()
        ids = [uuid4() for _ in range(count)]
        for row, own in ((callback, "id"), (request, "callback_id")):
            columns = [
                column.name for column in row.__table__.columns if column.name not in {"id", own, "idempotency_key"}
            ]
            values = {name: getattr(row, name) for name in columns}
            changed = [{own: id} for id in ids]
            if row is callback:
                values |= {"state": "cancelled", "holds_number": False}
            session.execute(insert(type(row)), [values | one for one in changed])


def age_pace(app: Flask, by: timedelta) -> None:
    """Let what is known of the portal's pace have happened earlier."""
    with app.app_context(), writing() as session:
        pace = session.get_one(Throttle, 1)
        pace.level_at -= by
        pace.dial_at = pace.dial_at and pace.dial_at - by
        pace.half_free_at = pace.half_free_at and pace.half_free_at - by
        pace.spare_at = pace.spare_at and pace.spare_at - by


def test_dials_go_on_while_hundreds_wait_for_the_crm_of_a_portal_that_refuses(world: World) -> None:
    app, portal = world.app, world.portal
    ask_on_website(world)
    let_many_wait(app, 1000)
    refused = portal.faults.add("error", "batch", code=LIMIT, times=10_000)
    set_pace(world, level=0, spare_at=None)
    before = len(portal.requests)
    for second in range(0, 240, 5):
        worked(app)
        age_pace(app, timedelta(seconds=5))
        dial_at = pace_of(app).dial_at
        assert dial_at is None or dial_at - utcnow() <= timedelta(seconds=4), f"after {second} s"
    # After 15 s, 30 s, a minute, two minutes.
    assert 4 <= len(portal.requests) - before <= 5
    staff = accept(app, to_number=OTHER_NUMBER, source=Source.STAFF, requested_by=portal.manager.id)
    age_pace(app, timedelta(seconds=4))
    assert work(app) >= 1
    assert len(seen(app, staff).attempts) == 1
    refused.times = 0
    age_pace(app, timedelta(minutes=5))
    before, began_at = len(portal.requests), time.monotonic()
    worked(app)
    pace, drained = pace_of(app), (time.monotonic() - began_at) * STANDARD_LIMIT.rate
    assert 0 < len(portal.requests) - before <= STANDARD_LIMIT.size / 2 + drained
    assert (pace.refusals, pace.spare_at is None or pace.spare_at < utcnow()) == (0, True)
    assert pace.room(utcnow(), STANDARD_LIMIT) >= STANDARD_LIMIT.size / 2 - 3


def test_a_search_that_a_limit_stopped_within_a_batch_lets_the_others_rest(world: World) -> None:
    ask_on_website(world)
    let_many_wait(world.app, 5)
    world.portal.faults.add("error", f"batch:{SEARCH}", code="OPERATION_TIME_LIMIT", times=99)
    assert do(world, "find_crm_customers") == 1
    assert pace_of(world.app).is_refusing(utcnow())


def test_one_portal_that_refuses_keeps_no_other_waiting(world: World, fake: FakeBitrix24, application: FakeApp) -> None:
    neighbour = fake.add_portal("beta")
    Actor(world.manager.client, neighbour, application, neighbour.administrator).installs()
    neighbour.events.wait_until_idle()
    update_app(world)
    set_pace(world, level=0, spare_at=None)
    with world.app.app_context(), writing() as session:
        session.get_one(Throttle, 1).note_refusal(utcnow())
    before = len(neighbour.requests)
    assert do(world, "bind_again") == 0
    assert len(neighbour.requests) > before


@pytest.mark.parametrize("job", ["find_crm_customers", "make_to_dos", "send_notifications", "show_in_timeline"])
def test_what_waits_for_a_portal_that_refuses_is_in_front_of_nobody(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    """It may have thousands of things that wait, and any number of portals may refuse."""
    monkeypatch.setattr(entries, "ENTRIES_AT_ONCE", 1)
    other = fake.add_portal("beta")
    assert Actor(manager.client, other, application, other.administrator).installs().status_code == 200
    due_everywhere(app)
    due_everywhere(app, 2)
    with app.app_context():
        with writing() as session:
            refuses = update(Throttle).where(Throttle.portal_id == 1)
            session.execute(refuses.values(spare_at=utcnow() + timedelta(minutes=1)))
        lease = LEASES[job](())
    assert getattr(lease, "portal_id", None) == 2

"""Asking a portal as fast as it allows: our bucket, what its refusals say, and fairness between portals."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import update

from bx24app.database import reading, writing
from bx24app.models import Portal, State, Throttle, utcnow
from bx24app.models.portals.throttle import ENTERPRISE_LIMIT, LONGEST_PAUSE, RESERVE, STANDARD_LIMIT, RequestLimit
from bx24app.services.dialling import lines, queue
from bx24app.services.portals import throttle
from bx24app.services.runtime import wakeup
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, change_portal, fill_pace, follow_calls, pace_of, pass_time, seen, work

START = "voximplant.callback.start"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def a_pace() -> Throttle:
    return Throttle(portal_id=1, level=0.0, level_at=NOW)


@pytest.mark.parametrize(
    ("family", "limit"),
    [
        ("pro", STANDARD_LIMIT),
        ("", STANDARD_LIMIT),
        (None, STANDARD_LIMIT),
        ("ent", ENTERPRISE_LIMIT),
        ("ent250", ENTERPRISE_LIMIT),
        ("selfhosted", None),
    ],
)
def test_the_plan_decides_about_the_bucket(family: str | None, limit: RequestLimit | None) -> None:
    assert throttle.limit_of(Portal(license_family=family)) == limit


def test_after_the_burst_dials_go_at_the_rate() -> None:
    pace, sent, at = a_pace(), 0, NOW
    while at < NOW + timedelta(seconds=60):
        if pace.room(at, STANDARD_LIMIT) >= 1:
            pace.count_requests(at, STANDARD_LIMIT)
            sent += 1
        at += timedelta(milliseconds=10)
    burst = STANDARD_LIMIT.size - RESERVE
    assert burst + 60 * STANDARD_LIMIT.rate - 1 <= sent <= burst + 60 * STANDARD_LIMIT.rate + 1


def test_the_platforms_bucket_never_overflows_while_requests_are_late_by_a_second() -> None:
    """Ours counts when a request is sent, theirs when it arrives: the reserve covers the difference."""
    ours, level, at, theirs_at = a_pace(), 0.0, NOW, NOW
    arrivals: list[datetime] = []
    while at < NOW + timedelta(seconds=120):
        if ours.room(at, STANDARD_LIMIT) >= 1:
            ours.count_requests(at, STANDARD_LIMIT)
            arrivals.append(at + timedelta(seconds=len(arrivals) % 2))
        at += timedelta(milliseconds=20)
    for arrival in sorted(arrivals):
        level = max(0.0, level - (arrival - theirs_at).total_seconds() * STANDARD_LIMIT.rate) + 1
        theirs_at = arrival
        assert level <= STANDARD_LIMIT.size


def test_an_on_premise_portal_has_no_bucket() -> None:
    pace = a_pace()
    for _ in range(500):
        pace.count_requests(NOW, None)
    assert pace.room(NOW, None) == float("inf")


@pytest.mark.parametrize("limit", [STANDARD_LIMIT, ENTERPRISE_LIMIT])
def test_no_number_of_requests_keeps_a_dial_waiting_longer_than_a_full_bucket(limit: RequestLimit) -> None:
    """The portal refuses what comes beyond, so nothing of it is in its bucket."""
    pace = a_pace()
    for _ in range(4000):
        pace.count_requests(NOW, limit)
    pace.count_requests(NOW, limit, 4000)
    assert pace.level == limit.size
    assert pace.dial_at == NOW + timedelta(seconds=(RESERVE + 1) / limit.rate)
    assert pace.dial_at < NOW + LONGEST_PAUSE
    assert pace.room(pace.dial_at, limit) >= 1


def test_a_level_that_was_counted_without_bound_before_ends_at_once() -> None:
    pace = Throttle(portal_id=1, level=4010.0, level_at=NOW)
    assert pace.room(NOW + timedelta(seconds=4), STANDARD_LIMIT) >= 1


def test_each_refusal_in_a_row_lets_what_can_wait_rest_for_longer() -> None:
    pace, at, pauses = a_pace(), NOW, []
    for _ in range(8):
        pace.note_refusal(at)
        assert pace.spare_at is not None
        pauses.append((pace.spare_at - at).total_seconds())
        # What was under way when the first was refused makes it no longer, and an older answer no shorter.
        pace.note_refusal(at + timedelta(seconds=1))
        pace.note_answer(at + timedelta(seconds=2))
        at = pace.spare_at
        assert not pace.is_refusing(at)
    assert pauses == [15, 30, 60, 120, 240, 300, 300, 300]
    pace.note_answer(at)
    pace.note_refusal(at)
    assert pace.spare_at == at + timedelta(seconds=15)


def test_a_pause_that_a_wrong_clock_has_written_does_not_count() -> None:
    pace = a_pace()
    pace.spare_at = NOW + timedelta(days=1)
    assert not pace.is_refusing(NOW)


def test_a_clock_that_jumps_neither_stops_dials_for_long_nor_frees_the_bucket() -> None:
    pace = a_pace()
    for _ in range(int(STANDARD_LIMIT.size)):
        pace.count_requests(NOW, STANDARD_LIMIT)
    assert pace.room(NOW, STANDARD_LIMIT) < 1
    back = NOW - timedelta(hours=3)
    assert pace.room(back, STANDARD_LIMIT) < 1
    pace.count_requests(back, STANDARD_LIMIT)
    assert pace.room(back + timedelta(seconds=60), STANDARD_LIMIT) >= 1
    pace.count_requests(NOW + timedelta(days=1), STANDARD_LIMIT)
    assert pace.room(NOW + timedelta(days=1), STANDARD_LIMIT) == STANDARD_LIMIT.size - RESERVE - 1


@pytest.mark.parametrize(
    ("code", "status", "seconds"),
    [("QUERY_LIMIT_EXCEEDED", 503, 3.5), ("OPERATION_TIME_LIMIT", 429, 120), ("OVERLOAD_LIMIT", 503, 600)],
)
def test_a_refusal_for_now_lets_all_dials_of_the_portal_wait(
    app: Flask, manager: Actor, portal: FakePortal, code: str, status: int, seconds: float
) -> None:
    portal.faults.add("error", START, code=code, status=status)
    first = accept(app)
    assert work(app) == 1
    assert seen(app, first).state == State.SCHEDULED
    accept(app, to_number="+4930901821")
    dial_at = pace_of(app).dial_at
    assert dial_at is not None
    assert seconds - 2 < (dial_at - seen(app, first).updated_at).total_seconds() < seconds + 1
    assert work(app) == 0
    pass_time(app, timedelta(seconds=seconds + 5))
    assert work(app) == 2
    assert len(portal.telephony.dials) == 2
    assert [a.outcome for a in seen(app, first).attempts] == ["not_executed", "started"]


def test_a_server_before_the_portal_says_how_long_to_wait(app: Flask, manager: Actor, portal: FakePortal) -> None:
    """A portal in a company's network has no bucket, but whatever stands before it may limit requests."""
    change_portal(app, license_family="selfhosted")
    portal.faults.add("error", START, code="QUERY_LIMIT_EXCEEDED", status=503, retry_after="90")
    first = accept(app)
    assert work(app) == 1
    dial_at = pace_of(app).dial_at
    assert dial_at is not None
    assert 85 < (dial_at - seen(app, first).updated_at).total_seconds() < 91
    portal.faults.add("error", START, code="QUERY_LIMIT_EXCEEDED", status=429, retry_after="9" * 30)
    pass_time(app, timedelta(seconds=95))
    assert work(app) == 1
    dial_at = pace_of(app).dial_at
    assert dial_at is not None
    assert timedelta(minutes=19) < dial_at - seen(app, first).updated_at <= LONGEST_PAUSE
    pass_time(app, LONGEST_PAUSE)
    assert work(app) == 1
    assert len(portal.telephony.dials) == 1


def test_the_wait_for_working_time_ends_when_the_last_good_answer_said(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    accept(app)
    assert work(app) == 1
    told = pace_of(app).operating_reset_at
    assert told is not None
    portal.faults.add("error", START, code="OPERATION_TIME_LIMIT", status=429)
    accept(app, to_number="+4930901821")
    assert work(app) == 1
    pace = pace_of(app)
    assert (pace.dial_at, pace.paused_for) == (told, "operation_time_limit")


def test_pages_and_lists_count_too(app: Flask, manager: Actor) -> None:
    # The level sinks while time goes by.
    with time_machine.travel(utcnow(), tick=False):
        before = pace_of(app).level
        for _ in range(3):
            manager.opens()
        assert pace_of(app).level > before + 2


def test_a_line_carries_no_more_calls_at_once_than_allowed(app: Flask, manager: Actor, portal: FakePortal) -> None:
    change_portal(app, line_cap=2)
    ids = [accept(app, to_number=f"+493090182{number}") for number in range(4)]
    other = accept(app, to_number="+4930901829", line_id="sip7")
    assert work(app) == 3
    assert seen(app, other).state == State.STARTED
    waiting = [id for id in ids if seen(app, id).state == State.QUEUED]
    assert {seen(app, id).reason for id in waiting} == {"line_full"}
    assert [d.rule for d in seen(app, waiting[0]).decisions].count("waits") == 1
    next(call for call in portal.telephony.calls if call.line == "reg150907").hang_up()
    # It rests still, for a tenth of the time that they have waited.
    pass_time(app, timedelta(seconds=30))
    assert (work(app), resting(app)) == (0, 3)
    woken: list[str] = []
    with wakeup.listening(lambda job, _: woken.append(job)):
        follow_calls(app, portal)
    assert wakeup.DIAL in woken
    assert work(app) == 1


def resting(app: Flask) -> int:
    dial_at = pace_of(app).dial_at
    return round((dial_at - utcnow()).total_seconds()) if dial_at else 0


def test_a_portal_that_rests_is_looked_at_for_what_is_new(app: Flask, manager: Actor) -> None:
    """Else whoever presses Call waits because others wait for another line."""
    change_portal(app, line_cap=1)
    for number in range(3):
        accept(app, to_number=f"+4930901{number:03}")
    assert work(app) == 1
    pass_time(app, timedelta(minutes=1))
    assert (work(app), resting(app)) == (0, 5)
    other = accept(app, to_number="+4930901829", line_id="sip7")
    assert work(app) == 1
    assert seen(app, other).state == State.STARTED


def test_what_is_new_makes_no_portal_dial_that_has_used_up_its_pace(app: Flask, manager: Actor) -> None:
    fill_pace(app, 50)
    with app.app_context(), writing() as session:
        session.execute(update(Throttle).values(claimed_at=utcnow()))
    accept(app)
    with app.app_context(), reading() as session:
        assert len(session.execute(queue.due_portals(utcnow())).all()) == 1
    assert work(app) == 0
    # It was looked at once, and rests until there is room.
    assert 3 <= resting(app) <= 4
    with app.app_context(), reading() as session:
        assert session.execute(queue.due_portals(utcnow())).all() == []


def test_a_portal_that_another_worker_has_just_looked_at_keeps_its_turn(app: Flask, manager: Actor) -> None:
    accept(app)
    with app.app_context():
        with reading() as session:
            turn = queue._PortalTurn(*session.execute(queue.due_portals(utcnow())).one())
        with writing() as session:
            session.execute(update(Throttle).values(claimed_at=utcnow()))
        assert queue._lease_for(turn, 1) == []


@pytest.mark.parametrize("queued", [3, lines.MAX_PASSED_OVER + 10])
def test_an_employee_who_presses_call_goes_before_all_websites(
    app: Flask, manager: Actor, portal: FakePortal, queued: int
) -> None:
    """They wait by the phone, and two minutes at the most; strangers fill the line and the queue."""
    change_portal(app, line_cap=1)
    earlier = utcnow() - timedelta(minutes=1)
    for number in range(queued):
        accept(app, to_number=f"+4930901{number:03}", due_at=earlier + timedelta(milliseconds=number))
    mine = accept(app, source="staff", requested_by=portal.manager.id)
    assert work(app) == 1
    assert seen(app, mine).state == State.STARTED


def test_the_portal_that_was_served_longest_ago_is_served_first(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    """However long, and however old, the other's queue is."""
    neighbour = Actor(manager.client, other := fake.add_portal("beta"), application, other.administrator)
    neighbour.installs()
    # The portal's event of it holds the pace for a moment.
    other.events.wait_until_idle()
    earlier = utcnow() - timedelta(minutes=1)
    for number in range(6):
        accept(app, to_number=f"+4930901{number:03}", due_at=earlier)
    with app.app_context():
        assert [claim.portal_id for claim in queue.lease_due(1)] == [1]
    accept(app, portal_id=2)
    with app.app_context():
        assert [claim.portal_id for claim in queue.lease_due(4)] == [2, 1]
        assert queue.lease_due(4) == []

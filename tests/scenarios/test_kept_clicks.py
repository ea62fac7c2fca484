"""A click of which nobody can say whose it is: done within two minutes, told of later, and never forged."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update

from bx24app.database import reading, writing
from bx24app.models import KeptClick, TimelineEntry, utcnow
from bx24app.services.callbacks import change
from bx24app.services.native.timeline import kept_clicks
from bx24app.services.native.timeline.kept_clicks import PROOF_PAUSES
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.fake_bitrix24.timeline import Activity
from tests.support.actors import Actor
from tests.support.timeline_steps import Plans, brought_up_to_date, clicks, entries, state_of
from tests.support.waiting import remove, seen, work

PROOF = "app.info"
NOT_PROVEN = "Bitrix24 did not say in time who pressed the button. Press it again."


def silence(fake: FakeBitrix24, times: int) -> None:
    """The authorization server says nothing to so many questions."""
    fake.auth_server.faults.add("html_502", PROOF, times=times)


def worked(app: Flask) -> int:
    """Every kept click is due, and worked on once; returns how many were."""
    with app.app_context():
        with writing() as session:
            session.execute(update(KeptClick).values(due_at=utcnow(), leased_until=None))
        leases = []
        with reading() as session:
            waiting = len(session.scalars(select(KeptClick.id)).all())
        for _ in range(waiting):
            lease = kept_clicks.lease_click()
            assert lease is not None
            leases.append(lease)
            kept_clicks.work_on_click(lease)
    brought_up_to_date(app)
    return len(leases)


def kept(app: Flask) -> list[KeptClick]:
    """The clicks that wait."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(KeptClick).order_by(KeptClick.id)))


def moves_of(app: Flask, activity: Activity) -> list[str]:
    """What people have decided about the callback of an activity."""
    [callback_id] = (one.callback_id for one in entries(app) if one.activity_id == activity.id)
    assert callback_id is not None
    return [decision.rule for decision in seen(app, callback_id).decisions]


@pytest.mark.parametrize(("label", "state"), [("Call now", "scheduled"), ("Cancel", "cancelled")])
def test_a_click_is_done_as_soon_as_somebody_can_say_whose_it_is(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal, label: str, state: str
) -> None:
    activity = plans()
    silence(fake, 3)
    before = activity.revision
    portal.events.duplicate = True
    assert clicks(app, portal, activity, label, portal.manager) == 200
    assert worked(app) == 1
    assert (moves_of(app, activity), activity.revision) == ([], before)
    assert "access_token" not in str(kept(app)[0].token_sealed)
    assert worked(app) == 1
    assert state_of(app, activity) == state
    assert activity.revision > before
    assert "Not done" not in activity.texts()
    assert kept(app) == []
    assert len(moves_of(app, activity)) == 1
    assert work(app) == len(portal.telephony.calls) == (label == "Call now")


def test_a_portal_that_is_silent_keeps_it_too(app: Flask, plans: Plans, portal: FakePortal) -> None:
    activity = plans()
    portal.faults.add("html_502", "batch")
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    assert state_of(app, activity) == "scheduled"
    assert worked(app) == 1
    assert state_of(app, activity) == "cancelled"


def test_after_two_minutes_it_is_told_of_and_the_button_can_be_pressed_again(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal
) -> None:
    """A call that comes later would surprise whoever has pressed the button."""
    activity = plans()
    silence(fake, 1 + len(PROOF_PAUSES))
    assert clicks(app, portal, activity, "Call now", portal.manager) == 200
    before = activity.revision
    assert [worked(app) for _ in PROOF_PAUSES] == [1] * len(PROOF_PAUSES)
    assert sum(PROOF_PAUSES) < kept_clicks.ACTED_WITHIN.total_seconds()
    assert activity.texts()["Not done"] == NOT_PROVEN
    assert (activity.revision, moves_of(app, activity), kept(app)) == (before + 1, [], [])
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    assert state_of(app, activity) == "cancelled"
    assert "Not done" not in activity.texts()


def test_a_click_that_was_kept_while_nobody_worked_is_not_done_later(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal
) -> None:
    activity = plans()
    silence(fake, 1)
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    with time_machine.travel(utcnow() + kept_clicks.ACTED_WITHIN + timedelta(seconds=1), tick=False):
        assert worked(app) == 1
    assert activity.texts()["Not done"] == NOT_PROVEN
    assert (state_of(app, activity), kept(app)) == ("scheduled", [])


def test_what_somebody_has_decided_meanwhile_stands(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal
) -> None:
    activity = plans()
    silence(fake, 1)
    assert clicks(app, portal, activity, "Call now", portal.manager) == 200
    [entry] = entries(app)
    assert entry.callback_id is not None
    later = utcnow() + timedelta(days=1)
    with app.app_context():
        change.reschedule(1, entry.callback_id, portal.administrator.id, later)
    assert worked(app) == 1
    assert "Too late" in activity.texts()["Not done"]
    assert seen(app, entry.callback_id).due_at == later


def test_two_people_who_press_one_button_meanwhile_want_the_same(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal
) -> None:
    activity = plans()
    silence(fake, 2)
    for person in (portal.manager, portal.administrator):
        assert clicks(app, portal, activity, "Call now", person) == 200
    # Also where a worker dies after it has moved the callback: the next one finds it done.
    assert worked(app) == 2
    assert "Not done" not in activity.texts()
    assert moves_of(app, activity).count("rescheduled") == 1


def no_role(app: Flask, administrator: Actor) -> None:
    assert administrator.lets_call(people=[administrator.portal.administrator.id]).status_code == 200


def dismissed(app: Flask, administrator: Actor) -> None:
    administrator.portal.manager.dismissed = True


@pytest.mark.parametrize(("becomes", "words"), [(no_role, "Max Weber may not do this"), (dismissed, None)])
def test_whoever_has_no_right_to_it_gets_nothing_done_later_either(
    app: Flask,
    plans: Plans,
    fake: FakeBitrix24,
    administrator: Actor,
    portal: FakePortal,
    becomes: Callable[[Flask, Actor], None],
    words: str | None,
) -> None:
    activity = plans()
    silence(fake, 1)
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    becomes(app, administrator)
    assert worked(app) == 1
    assert state_of(app, activity) == "scheduled"
    assert activity.texts().get("Not done", "").startswith(words) if words else "Not done" not in activity.texts()
    assert kept(app) == []


def test_made_up_clicks_are_few_and_leave_nothing(
    app: Flask,
    plans: Plans,
    fake: FakeBitrix24,
    application: FakeApp,
    client: FlaskClient,
    portal: FakePortal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While nobody can say whose they are, whoever knows the application token can make them up."""
    monkeypatch.setattr(kept_clicks, "MAX_KEPT_CLICKS", 3)
    activity = plans()
    data: dict[str, object] = {"id": "cancel", "activityId": activity.id}

    def post(token: str) -> int:
        auth = portal.event_auth(application) | {"access_token": token}
        fields: dict[str, object] = {"event": "ONCRMTIMELINEITEMACTION", "data": data, "auth": auth, "ts": 1}
        return client.post("/events", data=dict(http_build_query(fields))).status_code

    silence(fake, 5)
    assert [post(f"{number:070}") for number in range(5)] == [200, 200, 200, 429, 429]
    before = activity.revision
    # Now it says so, and nothing has happened.
    assert worked(app) == 3
    assert kept(app) == []
    assert (activity.revision, state_of(app, activity)) == (before, "scheduled")


def test_removal_takes_them_along(
    app: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal, application: FakeApp
) -> None:
    activity = plans()
    silence(fake, 1)
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    assert len(kept(app)) == 1
    remove(app, portal, application)
    assert kept(app) == []


def test_a_click_reads_one_entry_where_the_portal_gives_all_of_them_one_id(
    app: Flask, plans: Plans, portal: FakePortal
) -> None:
    """Anybody may send one, before anything is proven."""
    activity = plans()
    plans("+4930901822")
    read: list[int] = []
    with app.app_context():
        with writing() as session:
            session.execute(update(TimelineEntry).values(activity_id=activity.id))
        event.listen(TimelineEntry, "load", note := lambda entry, _: read.append(entry.id))
        try:
            assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
        finally:
            event.remove(TimelineEntry, "load", note)
    assert len(set(read)) == 1

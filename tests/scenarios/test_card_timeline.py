"""Callbacks in the timeline of CRM cards: shown, kept up to date, and decided about by their buttons."""

import threading
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import PortalSettings, TimelineEntry, utcnow
from bx24app.services import diagnostics
from bx24app.services.callbacks.entries import marks
from bx24app.services.native.timeline import queue
from bx24app.services.native.timeline.work import MAX_REFUSALS, MAX_TRIES
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.fake_bitrix24.people import CRM_ADD
from tests.support.actors import CUSTOMER, Actor
from tests.support.crm_steps import PAGE, worked
from tests.support.tables import rows_in_one_world
from tests.support.timeline_steps import Plans, brought_up_to_date, clicks, entries, lost_for_long, state_of
from tests.support.waiting import change_portal, fill_pace, follow_calls, seen, work
from tests.support.websites import MakeVisitor

ADD, UPDATE = "crm.activity.configurable.add", "crm.activity.configurable.update"


def test_a_websites_request_is_followed_in_the_card_until_the_portal_has_its_own_activity(
    app: Flask, manager: Actor, portal: FakePortal, visitor_of: MakeVisitor
) -> None:
    lead = portal.crm.add_lead("Known", phones=[CUSTOMER])
    portal.crm.entities["LEAD"][lead]["ASSIGNED_BY_ID"] = str(portal.manager.id)
    fields = {"name": "optional", "topic": "optional"}
    visitor = visitor_of(fields=fields, consent_text="I agree <b>[b]gladly[/b]")
    later = (utcnow() + timedelta(days=1)).isoformat()
    sent = {"name": "Anna", "topic": "Sofa [url=x]y[/url]", "page": PAGE, "consent": True, "scheduled_at": later}
    assert visitor.asks(CUSTOMER, **sent).status_code == 202
    assert brought_up_to_date(app) == 0
    worked(app)
    brought_up_to_date(app)
    [activity] = portal.timeline.of_card("LEAD", lead)
    assert activity.tag.startswith("Scheduled")
    assert (activity.fields["responsibleId"], activity.is_completed) == (portal.manager.id, False)
    texts = activity.texts()
    assert texts["Phone number"] == "+49 30 901820"
    assert "Main site" in texts["Requested by"]
    assert (texts["Customer"], texts["Topic"], texts["Line"]) == ("Anna", "Sofa (url=x)y(/url)", "Sales line")
    assert "call 1 of 3" in texts["Next call"]
    assert set(activity.actions) == {"Call now", "Open", "Cancel"}

    assert clicks(app, portal, activity, "Call now", portal.manager) == 200
    assert state_of(app, activity) == "scheduled"
    work(app)
    call = portal.telephony.calls[0]
    brought_up_to_date(app)
    assert (activity.tag, set(activity.actions)) == ("Ringing · Sales line", {"Open"})
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    follow_calls(app, portal)
    brought_up_to_date(app)
    assert (activity.tag.startswith("Talked"), activity.is_completed) == (True, True)
    own, ours = portal.timeline.of_card("LEAD", lead)
    assert ours is activity
    told = own.texts()
    assert told["Campaign"] == "utm_campaign=spring, utm_source=ad"
    assert told["Page"].startswith("https://shop.example.com/sofas")
    assert "I agree (b)(b)gladly(/b)" in told["Consent"]
    assert len(portal.requests_for(ADD)) == 1
    assert brought_up_to_date(app) == 0


@pytest.mark.parametrize(("language", "tag"), [("ru", "Запланирован"), ("ua", "Scheduled")])
def test_the_card_speaks_the_portals_language_or_ours(
    app: Flask, portal: FakePortal, visitor_of: MakeVisitor, language: str, tag: str
) -> None:
    lead = portal.crm.add_lead("Known", phones=[CUSTOMER])
    visitor = visitor_of()
    change_portal(app, language=language)
    assert visitor.asks(CUSTOMER, scheduled_at=(utcnow() + timedelta(days=1)).isoformat()).status_code == 202
    worked(app)
    brought_up_to_date(app)
    [activity] = portal.timeline.of_card("LEAD", lead)
    assert activity.tag.startswith(tag)


def test_nothing_is_shown_where_nobody_has_asked_for_it(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, visitor_of: MakeVisitor
) -> None:
    lead = portal.crm.add_lead("Roof", phones=[CUSTOMER])
    manager.requests_callback(crm_entity={"type": "LEAD", "id": lead})
    visitor = visitor_of(shows_in_crm=False)
    assert visitor.asks("+4930901821").status_code == 202
    portal.crm.add_lead("Other", phones=["+4930901821"])
    worked(app)
    assert entries(app) == []
    with app.app_context(), reading() as session:
        assert session.scalars(select(PortalSettings.shows_in_crm)).all() == [False]


def test_changes_in_one_moment_are_one_update_and_none_goes_before_a_call(
    app: Flask, plans: Plans, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity = plans()
    clicks(app, portal, activity, "Call now", portal.manager)
    # However long a test takes.
    monkeypatch.setattr(marks, "SETTLES_WITHIN", timedelta(minutes=5))
    before = len(portal.requests_for(UPDATE))
    work(app)
    portal.telephony.calls[0].manager_refuses()
    follow_calls(app, portal)
    with app.app_context():
        # Further changes are waited for.
        assert queue.lease_entry() is None
    brought_up_to_date(app)
    assert activity.tag == "Nobody answered"
    assert len(portal.requests_for(UPDATE)) == before + 1
    activity = plans("+4930901821")
    with app.app_context():
        with writing() as session:
            session.execute(update(TimelineEntry).values(due_at=utcnow() - timedelta(seconds=1)))
        fill_pace(app, 30)
        assert queue.lease_entry() is None, "what is left of the pace is for calls"


ANSWERS = [("drop_after", "an answer that was lost"), ("drop_before", "a request that may be lost")]


@pytest.mark.parametrize("kind", [kind for kind, _ in ANSWERS])
def test_an_answer_that_was_lost_is_looked_for_and_never_makes_a_second_activity(
    app: Flask, shows: Actor, portal: FakePortal, kind: str
) -> None:
    lead = portal.crm.add_lead("Roof", phones=[CUSTOMER])
    later = (utcnow() + timedelta(hours=2)).isoformat()
    shows.requests_callback(scheduled_at=later, crm_entity={"type": "LEAD", "id": lead})
    portal.faults.add(kind, ADD)
    brought_up_to_date(app)
    # Too soon: the platform may still be at work.
    assert brought_up_to_date(app) == 1
    assert len(portal.requests_for(ADD)) == 1
    lost_for_long(app)
    brought_up_to_date(app)
    [activity] = portal.timeline.of_card("LEAD", lead)
    [entry] = entries(app)
    assert entry.activity_id == activity.id
    assert len(portal.requests_for(ADD)) == (1 if kind == "drop_after" else 2)


REFUSALS = [
    ("ACCESS_DENIED", "denied", MAX_REFUSALS),
    ("insufficient_scope", "lacking", MAX_REFUSALS),
    ("ERROR_METHOD_NOT_FOUND", "lacking", MAX_REFUSALS),
    ("WRONG_FIELD_VALUE", "refused", MAX_REFUSALS),
    ("QUERY_LIMIT_EXCEEDED", "refused", MAX_TRIES),
]


@rows_in_one_world(("code", "finding", "tries"), REFUSALS)
def test_a_portal_that_refuses_is_asked_a_few_times_and_loses_the_activity_alone(
    app: Flask, shows: Actor, portal: FakePortal, code: str, finding: str, tries: int
) -> None:
    number = f"+493090182{REFUSALS.index((code, finding, tries))}"
    lead = portal.crm.add_lead("Roof", phones=[number])
    before, activities = len(portal.requests_for(ADD)), len(portal.timeline.of_app())
    portal.faults.add("error", ADD, code=code, times=tries)
    assert shows.requests_callback(number, crm_entity={"type": "LEAD", "id": lead}).status_code == 201
    for _ in range(tries + 2):
        brought_up_to_date(app)
    assert len(portal.requests_for(ADD)) - before == tries
    assert len(portal.timeline.of_app()) == activities
    assert entries(app)[-1].ended_at is not None
    with app.app_context():
        [found] = (one for one in diagnostics.examine_portal(1) if one.check == "timeline")
    assert found.about == finding
    work(app)
    assert portal.telephony.calls[-1].number == number
    portal.telephony.calls[-1].manager_refuses()
    follow_calls(app, portal)


def test_what_a_person_does_with_the_activity_stands(app: Flask, plans: Plans, portal: FakePortal) -> None:
    done, deleted = plans(), plans("+4930901821")
    done.fields["completed"] = "Y"
    del portal.timeline.activities[deleted.id]
    with app.app_context(), writing() as session:
        for entry in session.query(TimelineEntry):
            entry.shown, entry.due_at = None, utcnow()
    brought_up_to_date(app)
    assert (done.revision, done.is_completed) == (2, True)
    assert [(entry.reason, entry.due_at) for entry in entries(app)] == [(None, None), ("deleted", None)]
    assert [one.id for one in portal.timeline.of_app()] == [done.id]


def test_two_clicks_at_once_are_one_call_and_both_are_answered(app: Flask, plans: Plans, portal: FakePortal) -> None:
    activity = plans()
    portal.events.duplicate = True
    before = activity.revision
    assert clicks(app, portal, activity, "Call now", portal.manager) == 200
    assert activity.revision > before
    [entry] = entries(app)
    assert entry.callback_id is not None
    moved = [decision.rule for decision in seen(app, entry.callback_id).decisions]
    assert moved == ["rescheduled"]
    work(app)
    assert len(portal.telephony.calls) == 1
    cancelled = plans("+4930901821")
    assert clicks(app, portal, cancelled, "Cancel", portal.manager) == 200
    assert (state_of(app, cancelled), cancelled.tag, cancelled.is_completed) == ("cancelled", "Cancelled", True)
    assert "Not done" not in cancelled.texts()


def test_a_clicker_without_rights_reads_so_in_the_activity_and_unblocks_the_button(
    app: Flask, plans: Plans, administrator: Actor, portal: FakePortal
) -> None:
    activity = plans()
    assert administrator.lets_call(people=[portal.administrator.id]).status_code == 200
    before = activity.revision
    # The second answer is as the first one, and unblocks the button all the same.
    for times in (1, 2):
        assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
        assert activity.revision == before + times
    assert activity.texts()["Not done"].startswith("Max Weber may not do this")
    assert state_of(app, activity) == "scheduled"
    # A colleague of the team who has never opened the app cannot make the call under their own access.
    assert administrator.asks("PATCH", "/settings", {"roles": {"operators": {"everybody": True}}}).status_code == 200
    stranger = portal.add_user("Lena", "Vogt")
    assert clicks(app, portal, activity, "Call now", stranger) == 200
    assert "employee #3" in activity.texts()["Not done"]
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    assert "Not done" not in activity.texts()
    assert state_of(app, activity) == "cancelled"


def test_somebody_who_was_dismissed_clicks_no_more(app: Flask, plans: Plans, portal: FakePortal) -> None:
    """The authorization server vouches for their token for an hour; the portal does not."""
    activity = plans()
    portal.manager.dismissed = True
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 403
    assert state_of(app, activity) == "scheduled"


def test_a_click_that_nobody_has_made_changes_nothing(
    app: Flask, plans: Plans, administrator: Actor, application: FakeApp, fake: FakeBitrix24, client: FlaskClient
) -> None:
    activity, portal = plans(), administrator.portal
    other = fake.add_portal("beta")
    data: dict[str, object] = {"id": "cancel", "activityId": activity.id, "entityTypeId": 1, "entityId": 1}

    def post(token: str, **changes: str) -> int:
        auth = portal.event_auth(application) | {"access_token": token, "user_id": portal.manager.id}
        fields: dict[str, object] = {"event": "ONCRMTIMELINEITEMACTION", "data": data, "auth": auth, "ts": 1}
        return client.post("/events", data=dict(http_build_query(fields)) | changes).status_code

    def token_of(member_id: str, client_id: str = application.client_id) -> str:
        return fake.registry.issue(client_id, member_id, portal.manager.id).access

    assert post("") == 403
    assert post("made-up") == 403
    assert post(token_of(other.member_id)) == 403
    assert post("made-up", **{"auth[application_token]": "made-up"}) == 403
    mine = token_of(portal.member_id)
    assert post(mine, **{"data[activityId]": str(activity.id + 1)}) == 200
    assert post(mine, **{"data[activityId]": "x"}) == 200
    assert post(mine, **{"data[id]": "delete_everything"}) == 200
    # Whose token it is counts, and not whose name stands beside it.
    boss = str(portal.administrator.id)
    assert administrator.lets_call(people=[portal.administrator.id]).status_code == 200
    assert post(mine, **{"data[userId]": boss, "auth[user_id]": boss}) == 200
    assert state_of(app, activity) == "scheduled"
    assert administrator.asks("PATCH", "/settings", {"roles": {"operators": {"everybody": True}}}).status_code == 200
    assert post(mine) == 200
    assert post(mine) == 200
    assert state_of(app, activity) == "cancelled"


def test_an_activity_of_another_tenant_is_not_ours_to_decide_about(
    app: Flask, plans: Plans, fake: FakeBitrix24, application: FakeApp, client: FlaskClient
) -> None:
    """The same number may name an activity on each portal."""
    activity = plans()
    other = fake.add_portal("beta")
    theirs = Actor(client, other, application, other.administrator)
    assert theirs.installs().status_code == 200
    token = fake.registry.issue(application.client_id, other.member_id, other.administrator.id)
    auth = other.event_auth(application) | {"access_token": token.access}
    data = {"id": "cancel", "activityId": activity.id}
    fields: dict[str, object] = {"event": "ONCRMTIMELINEITEMACTION", "data": data, "auth": auth, "ts": 1}
    [before] = entries(app)
    assert client.post("/events", data=dict(http_build_query(fields))).status_code == 200
    assert state_of(app, activity) == "scheduled"
    [after] = entries(app)
    assert (after.changes, after.notice) == (before.changes, None)


def test_an_erased_number_leaves_nothing_in_the_card(
    app: Flask, plans: Plans, administrator: Actor, portal: FakePortal
) -> None:
    planned, called = plans("+4930901821"), plans()
    clicks(app, portal, called, "Call now", portal.manager)
    work(app)
    portal.telephony.calls[0].hang_up()
    follow_calls(app, portal)
    brought_up_to_date(app)
    [own] = [one for one in portal.timeline.activities.values() if one.blocks]
    answer = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert answer.status_code == 200, answer.text
    portal.faults.add("error", "crm.activity.delete", code="QUERY_LIMIT_EXCEEDED")
    brought_up_to_date(app)
    assert called.id in portal.timeline.activities
    brought_up_to_date(app)
    assert [one.id for one in portal.timeline.of_app()] == [planned.id]
    assert own.texts() == {}
    assert len(entries(app)) == 1


def erase(administrator: Actor) -> None:
    answer = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert answer.status_code == 200, answer.text


def test_a_number_that_is_erased_while_its_callback_is_being_shown_leaves_nothing(
    app: Flask, shows: Actor, administrator: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    lead = portal.crm.add_lead("Roof", phones=[CUSTOMER])
    later = (utcnow() + timedelta(hours=2)).isoformat()
    shows.requests_callback(scheduled_at=later, crm_entity={"type": "LEAD", "id": lead})
    hanging = portal.faults.add("hang_after", ADD)
    shown = threading.Thread(target=brought_up_to_date, args=(app,))
    shown.start()
    eventually(hanging.executed.is_set)
    erase(administrator)
    portal.faults.release()
    shown.join()
    brought_up_to_date(app)
    assert portal.timeline.of_app() == []
    assert entries(app) == []


def test_an_activity_that_may_come_to_stand_there_after_the_erasure_is_waited_for(
    app: Flask, shows: Actor, administrator: Actor, portal: FakePortal
) -> None:
    lead = portal.crm.add_lead("Roof", phones=[CUSTOMER])
    later = (utcnow() + timedelta(hours=2)).isoformat()
    shows.requests_callback(scheduled_at=later, crm_entity={"type": "LEAD", "id": lead})
    portal.faults.add("drop_after", ADD)
    brought_up_to_date(app)
    erase(administrator)
    brought_up_to_date(app)
    assert portal.requests_for("crm.activity.list") == []
    assert len(entries(app)) == 1
    lost_for_long(app)
    brought_up_to_date(app)
    assert portal.timeline.of_app() == []
    assert entries(app) == []


def test_an_administrator_who_may_not_change_a_card_goes_on_serving_the_portal(
    app: Flask, plans: Plans, portal: FakePortal
) -> None:
    portal.administrator.rights.discard(CRM_ADD)
    with pytest.raises(IndexError):
        plans()
    portal.administrator.rights.add(CRM_ADD)
    brought_up_to_date(app)
    assert len(portal.timeline.of_app()) == 1

"""Nobody is forgotten: a callback that ended in vain becomes a to-do on the card and a word in the messenger, once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update

from bx24app.bitrix24.errors import Bitrix24Error
from bx24app.bitrix24.people.reminders import send_notification
from bx24app.database import reading, writing
from bx24app.models import (
    BudgetDay,
    Callback,
    Credential,
    Notification,
    NotifiedPerson,
    Portal,
    Source,
    Throttle,
    TimelineEntry,
    ToDo,
    utcnow,
)
from bx24app.services.callbacks import change
from bx24app.services.native.follow_up import news, notices, sending, stoppages, to_dos
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.notices import Notice
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import LeasedJob
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.fake_bitrix24.people import CRM_ADD
from tests.fake_bitrix24.reminders import FakeToDo
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.waiting import accept, add_form, change_line, change_portal, fill_pace

ADD, UPDATE, NOTIFY = "crm.activity.todo.add", "crm.activity.update", "im.notify.system.add"
Ends = Callable[[Callback, datetime], None]


@pytest.fixture
def lead(manager: Actor, portal: FakePortal) -> int:
    """The card of the customer, for whom the manager is responsible."""
    id = portal.crm.add_lead("Roof", "Anna", phones=[CUSTOMER])
    portal.crm.entities["LEAD"][id]["ASSIGNED_BY_ID"] = str(portal.manager.id)
    return id


@pytest.fixture
def form(app: Flask, manager: Actor, portal: FakePortal) -> int:
    """A website form of the manager's."""
    return add_form(app, person_id=portal.manager.id)


def missed(callback: Callback, now: datetime) -> None:
    callback.fail(now, "code_404", None)


def expired(callback: Callback, now: datetime) -> None:
    callback.expire(now)


def unclear(callback: Callback, now: datetime) -> None:
    callback.mark_unknown(callback.fence(now, now, "", None), now, "dial_timeout")
    callback.ask_person(now)
    callback.free_number(now)


def reached(callback: Callback, now: datetime) -> None:
    attempt = callback.fence(now, now, "", None)
    callback.start(attempt, "call.1", now)
    callback.complete(now)


def ended(app: Flask, how: Ends = missed, **fields: Any) -> UUID:
    """A callback that has come to its end; nobody has followed it up yet."""
    id = accept(app, **fields)
    with app.app_context(), writing() as session:
        how(session.get_one(Callback, id), utcnow())
    return id


def followed(app: Flask) -> None:
    """Everything that is due is done, here and now."""
    jobs = [job for job in background_jobs() if job.name in ("make_to_dos", "send_notifications", "show_in_timeline")]
    with app.app_context():
        news.follow_up_ended()
        for job in jobs:
            assert isinstance(job, LeasedJob)
            for _ in range(40):
                if not (leases := job.lease(1)):
                    break
                job.work(leases[0])


def later(app: Flask) -> None:
    """The pauses are over, and every lease has ended."""
    past = utcnow() - timedelta(seconds=1)
    with app.app_context(), writing() as session:
        for model in (ToDo, Notification, NotifiedPerson):
            session.execute(update(model).where(model.due_at.is_not(None)).values(due_at=past))
        for leased in (ToDo, NotifiedPerson):
            session.execute(update(leased).values(leased_until=None))
        session.execute(update(Throttle).values(level=0, dial_at=None, half_free_at=None, spare_at=None))


def on_card(portal: FakePortal, lead: int) -> list[FakeToDo]:
    return portal.reminders.on_card(1, lead)


def told(portal: FakePortal, user_id: int) -> list[str]:
    return [one.message for one in portal.reminders.of(user_id)]


def row(app: Flask) -> ToDo:
    with app.app_context(), reading() as session:
        return session.scalars(select(ToDo).order_by(ToDo.id.desc()).limit(1)).one()


def test_a_customer_who_was_not_reached_is_called_back_by_hand_and_the_to_do_goes_when_it_worked(
    app: Flask, lead: int, form: int, portal: FakePortal, manager: Actor, worker: Worker, eventually: Eventually
) -> None:
    fields: dict[str, Any] = {"crm_entity_type": "LEAD", "crm_entity_id": lead, "customer_name": "Anna"}
    id = ended(app, form_id=form, **fields)
    eventually(lambda: bool(on_card(portal, lead) and told(portal, portal.manager.id)))
    [to_do] = on_card(portal, lead)
    assert to_do.title == "Call back Anna, +49 30 901820"
    assert (to_do.responsible, to_do.completed) == (portal.manager.id, False)
    [notice] = portal.reminders.of(portal.manager.id)
    path = f"/marketplace/view/{manager.application.code}/?params%5Bview%5D=callback&params%5Bid%5D={id}"
    assert f"[url={path}]" in notice.message
    assert notice.message_out.endswith(portal.url + path)
    # A colleague calls, and the customer picks up.
    assert manager.requests_callback().status_code == 201
    eventually(lambda: bool(portal.telephony.calls))
    call = portal.telephony.calls[0]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    eventually(lambda: to_do.completed and not portal.reminders.of(portal.manager.id))
    assert len(on_card(portal, lead)) == len(portal.requests_for(ADD)) == 1


ENDS = [
    ("missed", missed, Source.WEBSITE, 1),
    ("missed", missed, Source.API, 1),
    ("missed", missed, Source.ROBOT, 1),
    ("expired", expired, Source.WEBSITE, 1),
    ("unclear", unclear, Source.WEBSITE, 1),
    ("reached", reached, Source.WEBSITE, 0),
    ("cancelled", lambda callback, now: callback.cancel(now), Source.WEBSITE, 0),
    ("do not call", lambda callback, now: callback.fail(now, "do_not_call"), Source.WEBSITE, 0),
    ("repeated", lambda callback, now: callback.postpone(now, now, now, "retry_code_304"), Source.WEBSITE, 0),
    ("a colleague's", missed, Source.STAFF, 0),
]


@rows_in_one_world(("name", "how", "source", "made"), ENDS)
def test_a_to_do_is_made_where_nothing_follows_by_itself(
    app: Flask, lead: int, portal: FakePortal, name: str, how: Ends, source: str, made: int
) -> None:
    portal.reminders.to_dos.clear()
    with app.app_context(), writing() as session:
        for old in session.scalars(select(Callback)):
            session.delete(old)
    ended(app, how, source=source, crm_entity_type="LEAD", crm_entity_id=lead)
    followed(app)
    assert len(on_card(portal, lead)) == made


@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_a_lost_answer_never_makes_two(app: Flask, lead: int, portal: FakePortal, kind: str) -> None:
    portal.faults.add(kind, ADD)
    ended(app, crm_entity_type="LEAD", crm_entity_id=lead)
    followed(app)
    assert len(on_card(portal, lead)) == (kind == "drop_after")
    followed(app)
    assert len(portal.requests_for(ADD)) == 1, "the platform may still be at work"
    later(app)
    followed(app)
    later(app)
    followed(app)
    [to_do] = on_card(portal, lead)
    assert row(app).activity_id == to_do.id


def test_a_person_who_says_how_it_ended_completes_it_and_one_who_deleted_it_has_done_so(
    app: Flask, lead: int, form: int, portal: FakePortal
) -> None:
    for is_deleted in (False, True):
        id = ended(app, unclear, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead)
        followed(app)
        to_do = on_card(portal, lead)[0]
        assert "needs" not in to_do.title
        if is_deleted:
            del portal.reminders.to_dos[to_do.id]
        with app.app_context():
            change.resolve(1, id, portal.manager.id, "reached")
        followed(app)
        assert to_do.completed is not is_deleted
        assert row(app).ended_at is not None
        assert row(app).reason is None
        assert told(portal, portal.manager.id) == []


def test_a_dismissed_person_a_deleted_card_and_a_refusal_each_have_a_clear_end(
    app: Flask, lead: int, form: int, portal: FakePortal, administrator: Actor
) -> None:
    gone = portal.add_user("Gone", "Long")
    portal.crm.entities["LEAD"][lead]["ASSIGNED_BY_ID"] = str(gone.id)
    gone.dismissed = True
    fields: dict[str, Any] = {"form_id": form, "crm_entity_type": "LEAD"}
    ended(app, **fields, crm_entity_id=lead)
    followed(app)
    assert on_card(portal, lead)[0].responsible == portal.manager.id
    for entity, right, reason in ((77, True, "to_do_card_gone"), (None, True, "to_do_no_card"), (lead, False, "x")):
        if not right:
            portal.administrator.rights.discard(CRM_ADD)
        ended(app, **fields, crm_entity_id=entity)
        followed(app)
        ended_for = row(app).reason
        assert ended_for == reason if right else ended_for == "bitrix24_access_denied"
    administrator.opens()
    checked = administrator.client.get("/desk/check", headers={"Authorization": f"Bearer {administrator.ticket}"})
    assert "did not take a to-do" in checked.text


HOURS = {"zone": "Europe/Berlin", "week": {"fri": [["09:00", "18:00"]], "mon": [["09:00", "18:00"]]}}
FRIDAY_NOON, FRIDAY_NIGHT = datetime(2026, 11, 27, 11, tzinfo=UTC), datetime(2026, 11, 27, 22, tzinfo=UTC)
MONDAY_OPENS = datetime(2026, 11, 30, 9, tzinfo=ZoneInfo("Europe/Berlin"))


def test_at_night_the_deadline_and_the_word_wait_for_the_opening_and_what_is_urgent_does_not(
    app: Flask, lead: int, form: int, portal: FakePortal
) -> None:
    change_portal(app, hours=HOURS)
    fields: dict[str, Any] = {"form_id": form, "crm_entity_type": "LEAD", "crm_entity_id": lead}
    with app.app_context():
        portal_row = _portal()
    with time_machine.travel(FRIDAY_NOON, tick=False):
        assert to_dos._deadline(portal_row) == FRIDAY_NOON + timedelta(hours=1)
    with time_machine.travel(FRIDAY_NIGHT, tick=False):
        assert to_dos._deadline(portal_row) == MONDAY_OPENS
        ended(app, **fields)
        with app.app_context():
            news.follow_up_ended()
            change_line(app, "reg150907", stopped_until=utcnow())
            stoppages.StoppageWalk().go_on()
    with app.app_context(), reading() as session:
        due = {one.event: one.due_at for one in session.scalars(select(Notification))}
    assert due == {"missed": MONDAY_OPENS, "line": FRIDAY_NIGHT}


def _portal() -> Portal:
    with reading() as session:
        return session.scalars(select(Portal)).one()


def test_twenty_an_hour_are_sent_and_the_rest_comes_as_one(app: Flask, form: int, portal: FakePortal) -> None:
    # Without a limit of requests, which would come first.
    change_portal(app, license_family="selfhosted")
    for number in range(23):
        ended(app, form_id=form, to_number=f"+4930901{number:03}")
    followed(app)
    assert len(told(portal, portal.manager.id)) == 20
    later(app)
    followed(app)
    assert len(told(portal, portal.manager.id)) == 20
    with app.app_context(), writing() as session:
        session.execute(update(NotifiedPerson).values(hour_at=utcnow() - timedelta(hours=1)))
    later(app)
    followed(app)
    summary, *others = told(portal, portal.manager.id)
    assert "3 more callbacks need somebody." in summary
    assert len(others) == 20
    later(app)
    followed(app)
    assert len(portal.requests_for(NOTIFY)) == 21


def test_so_many_wait_for_somebody_but_what_is_urgent_comes_besides(
    app: Flask, form: int, portal: FakePortal, administrator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what a night has brought is written in one transaction, for which everybody waits."""
    for module in (notices, sending):
        monkeypatch.setattr(module, "MOST_TO_TELL", 3)
    for number in range(5):
        ended(app, form_id=form, to_number=f"+4930901{number:03}")
    with app.app_context():
        news.follow_up_ended()
        with writing() as session:
            session.execute(update(NotifiedPerson).values(hour_at=utcnow(), sent=20))
            people = (portal.manager.id,)
            notices.tell(session, session.scalars(select(Portal)).one(), people, Notice(NoticeEvent.LINE, "line-1"))
        with reading() as session:
            waiting = session.scalars(select(Notification.event).order_by(Notification.id)).all()
    assert waiting == [NoticeEvent.MISSED] * 3 + [NoticeEvent.LINE]


def test_a_customer_who_is_reached_settles_so_many_of_their_requests(
    app: Flask, lead: int, form: int, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "DONE_WITH_IT", 3)
    for _ in range(4):
        ended(app, form_id=form)
        with app.app_context():
            news.follow_up_ended()
    ended(app, reached, form_id=form)
    with app.app_context():
        news.follow_up_ended()
        with reading() as session:
            left = session.scalars(select(Notification.callback_id)).all()
    # Of five requests with the one that reached them: the two oldest are left.
    assert len(left) == 2


MARKUP = "[url=https://evil.example]Click[/url] [user=1]Anna[/user] <b>x</b>\n"


def test_what_strangers_type_is_shown_as_it_is_and_short(app: Flask, lead: int, form: int, portal: FakePortal) -> None:
    for name in (MARKUP, "Ä" * 200):
        id = ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead, customer_name=name)
        followed(app)
        message, title = told(portal, portal.manager.id)[0], on_card(portal, lead)[0].title
        assert message.count("[") == message.count("]") == 2, "our own link alone"
        assert not set("[]<>\n") & set(title)
        assert len(title) < 120
        assert len(message) < 600
        assert str(id) in on_card(portal, lead)[0].description


def test_a_word_takes_the_place_of_the_one_before(app: Flask, form: int, portal: FakePortal) -> None:
    id = ended(app, unclear, form_id=form)
    followed(app)
    assert "Outcome unknown" in told(portal, portal.manager.id)[0]
    with app.app_context():
        change.resolve(1, id, None, "not_reached")
    followed(app)
    [message] = told(portal, portal.manager.id)
    assert "not reached" in message
    assert len(portal.requests_for(NOTIFY)) == 2


@pytest.mark.parametrize("refusal", [None, Bitrix24Error("ACCESS_DENIED", "", 403)], ids=["taken back", "refused"])
def test_a_word_that_comes_while_the_one_before_is_taken_back_is_said(
    app: Flask, form: int, portal: FakePortal, monkeypatch: pytest.MonkeyPatch, refusal: Bitrix24Error | None
) -> None:
    ended(app, unclear, form_id=form)
    followed(app)
    ended(app, reached, form_id=form)

    def meanwhile(*_: object) -> None:
        again = {"event": NoticeEvent.PERSON, "made_at": utcnow(), "due_at": utcnow(), "sent_at": None}
        with writing() as session:
            session.execute(update(Notification).values(**again))
        if refusal is not None:
            raise refusal

    with monkeypatch.context() as patch:
        patch.setattr(sending, "withdraw_notification", Mock(side_effect=meanwhile))
        followed(app)
    later(app)
    followed(app)
    assert len(portal.requests_for(NOTIFY)) == 2


@pytest.mark.parametrize("is_completed", [False, True])
def test_of_somebody_who_is_erased_no_to_do_and_no_notification_stays(
    app: Flask, lead: int, form: int, portal: FakePortal, administrator: Actor, is_completed: bool
) -> None:
    """Both hold the name and the number."""
    fields: dict[str, Any] = {"crm_entity_type": "LEAD", "crm_entity_id": lead, "customer_name": "Anna"}
    ended(app, form_id=form, **fields)
    followed(app)
    [to_do] = on_card(portal, lead)
    assert "Anna" in to_do.title
    assert len(told(portal, portal.manager.id)) == 1
    if is_completed:
        ended(app, reached, form_id=form, **fields)
        followed(app)
    erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert erased.status_code == 200
    followed(app)
    assert (on_card(portal, lead), told(portal, portal.manager.id)) == ([], [])
    with app.app_context(), reading() as session:
        assert [session.scalar(select(func.count()).select_from(model)) for model in (ToDo, Notification)] == [0, 0]
        assert session.scalar(select(func.count()).select_from(TimelineEntry)) == 0


def test_what_was_told_though_the_answer_was_lost_is_taken_back_too(
    app: Flask, lead: int, form: int, portal: FakePortal, administrator: Actor
) -> None:
    portal.faults.add("drop_after", NOTIFY)
    ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead, customer_name="Anna")
    followed(app)
    assert len(told(portal, portal.manager.id)) == 1
    assert administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER}).status_code == 200
    later(app)
    followed(app)
    assert told(portal, portal.manager.id) == []


def test_what_was_told_long_ago_is_taken_back_though_the_portal_refuses_once(
    app: Flask, lead: int, form: int, portal: FakePortal, administrator: Actor
) -> None:
    ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead, customer_name="Anna")
    followed(app)
    assert len(told(portal, portal.manager.id)) == 1
    with app.app_context(), writing() as session:
        session.execute(update(Notification).values(made_at=utcnow() - timedelta(days=7)))
    portal.faults.add("error", "im.notify.delete", code="QUERY_LIMIT_EXCEEDED", status=503)
    assert administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER}).status_code == 200
    followed(app)
    assert len(told(portal, portal.manager.id)) == 1
    later(app)
    followed(app)
    assert told(portal, portal.manager.id) == []


def test_whether_a_customer_was_reached_is_looked_for_among_the_newest_requests(
    app: Flask, form: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number may have been asked for 100,000 times, and each that expires asks this."""
    monkeypatch.setattr(news, "LOOKED_FOR_REACHED", 2)
    id = ended(app, form_id=form)
    ended(app, reached, form_id=form)
    found = []
    for _ in range(3):
        with app.app_context(), reading() as session:
            found.append(news._was_reached(session, session.get_one(Callback, id)))
        ended(app, form_id=form)
    assert found == [True, True, False]


def test_a_word_that_is_taken_back_while_it_is_said_again_goes(
    app: Flask, form: int, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(app, unclear, form_id=form)
    followed(app)
    with app.app_context(), writing() as session:
        session.execute(update(Notification).values(due_at=utcnow()))
        session.execute(update(NotifiedPerson).values(due_at=utcnow()))

    def meanwhile(*given: Any) -> bool:
        with writing() as session:
            notices.withdraw(session, 1, select(Callback.id))
        return send_notification(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sending, "send_notification", meanwhile)
        followed(app)
    later(app)
    followed(app)
    assert told(portal, portal.manager.id) == []


def test_who_is_told_is_chosen_and_everybody_may_mute_theirs(
    app: Flask, form: int, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    anna, max = portal.administrator.id, portal.manager.id
    for chosen, people in (
        ({"to": "people", "people": [anna]}, [anna]),
        ({"to": "administrators"}, [anna]),
        ({"to": "nobody"}, []),
        ({"to": "usual"}, [max]),
    ):
        portal.reminders.notifications.clear()
        answer = administrator.asks("PATCH", "/settings", {"notifications": {"missed": chosen}})
        assert json_of(answer)["notifications"]["missed"]["to"] == chosen["to"]
        ended(app, form_id=form)
        followed(app)
        assert [one.user_id for one in portal.reminders.notifications] == people
    refused = administrator.asks("PATCH", "/settings", {"notifications": {"missed": {"to": "everybody"}}})
    assert refused.status_code == 400
    # A colleague's own callback is told to the colleague, until they mute it.
    for is_muted, count in ((False, 1), (True, 0), (False, 1)):
        portal.reminders.notifications.clear()
        assert manager.asks("PUT", "/me/notifications", {"muted": is_muted}).status_code == 204
        assert json_of(manager.asks("GET", "/me/notifications")) == {"muted": is_muted}
        ended(app, source=Source.STAFF, requested_by=max)
        followed(app)
        assert len(told(portal, max)) == count


REFUSALS = [
    ("insufficient_scope", 403, 0, "bitrix24_insufficient_scope"),
    ("QUERY_LIMIT_EXCEEDED", 503, 1, None),
    ("INTERNAL_SERVER_ERROR", 500, 1, None),
]


@pytest.mark.parametrize(("code", "status", "sent", "reason"), REFUSALS)
def test_a_portal_that_refuses_loses_nothing_else(
    app: Flask, lead: int, form: int, portal: FakePortal, code: str, status: int, sent: int, reason: str | None
) -> None:
    portal.faults.add("error", NOTIFY, code=code, status=status)
    ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead)
    followed(app)
    assert told(portal, portal.manager.id) == []
    assert len(on_card(portal, lead)) == 1
    later(app)
    followed(app)
    assert len(told(portal, portal.manager.id)) == sent
    with app.app_context(), reading() as session:
        assert session.scalars(select(Notification.reason)).one() == reason


def test_without_the_scope_the_setup_check_says_so(
    app: Flask, manager: Actor, administrator: Actor, application: FakeApp
) -> None:
    application.scopes = tuple(scope for scope in application.scopes if scope != "im")
    administrator.opens()
    found = administrator.client.get("/desk/check", headers={"Authorization": f"Bearer {administrator.ticket}"})
    assert "“im”" in found.text


def test_nothing_is_asked_while_dials_need_the_pace(app: Flask, lead: int, form: int, portal: FakePortal) -> None:
    ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead)
    fill_pace(app, 50)
    before = len(portal.requests)
    followed(app)
    assert len(portal.requests) == before
    fill_pace(app, 0)
    later(app)
    followed(app)
    assert len(on_card(portal, lead)) == len(told(portal, portal.manager.id)) == 1


def test_what_keeps_a_portal_from_calling_is_told_once_each_time_it_begins(
    app: Flask, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    anna = portal.administrator.id

    def noted() -> list[str]:
        with app.app_context():
            stoppages.StoppageWalk().go_on()
        followed(app)
        return told(portal, anna)

    form = add_form(app, created_by=anna, budget_calls=1)
    with app.app_context(), writing() as session:
        session.add(BudgetDay(form_id=form, day=utcnow().date(), calls=1))
    assert len(noted()) == len(noted()) == 1
    assert "“Site” has used up" in noted()[0]
    change_line(app, "reg150907", stopped_until=utcnow())
    assert len(noted()) == len(noted()) == 2
    assert "Sales line" in noted()[0]
    change_line(app, "reg150907", stopped_until=None)
    noted()
    change_line(app, "reg150907", stopped_until=utcnow())
    noted()
    assert len(portal.requests_for(NOTIFY)) == 3


def test_the_loss_of_access_is_told_with_anybodys_and_to_those_who_stand_by(
    app: Flask, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    second = portal.add_user("Berta", "Braun", admin=True)
    standby = Actor(administrator.client, portal, administrator.application, second)
    standby.opens()
    manager.opens()

    def noted() -> None:
        with app.app_context():
            stoppages.StoppageWalk().go_on()
        followed(app)

    _lose(app, portal.administrator.id)
    noted()
    assert "Anna Schmidt" in told(portal, second.id)[0]
    assert told(portal, portal.administrator.id) == []
    _lose(app, second.id)
    change_portal(app, state="disconnected")
    noted()
    assert "not connected" in told(portal, second.id)[0]
    assert portal.requests_for(NOTIFY)[-1].user_id == portal.manager.id


def _lose(app: Flask, user_id: int) -> None:
    with app.app_context(), writing() as session:
        session.scalars(select(Credential).where(Credential.user_id == user_id)).one().die("credential_refused")


# The codes of Bitrix24 are not ISO, and a portal's server may name anything.
WORDS = {"ru": ("Открыть звонок", "Перезвонить"), "RU": ("Открыть звонок", "Перезвонить")}
ENGLISH = ("Open the callback", "Call back")


@pytest.mark.parametrize("language", [*WORDS, "ua", "vn", "tc", "la", "", "$$", "x" * 16])
def test_words_are_in_the_portals_language(app: Flask, form: int, lead: int, portal: FakePortal, language: str) -> None:
    change_portal(app, language=language)
    ended(app, form_id=form, crm_entity_type="LEAD", crm_entity_id=lead)
    followed(app)
    notice, title = WORDS.get(language, ENGLISH)
    assert notice in told(portal, portal.manager.id)[0]
    assert title in on_card(portal, lead)[0].title


def test_what_was_told_long_ago_is_deleted(app: Flask, form: int, portal: FakePortal) -> None:
    ended(app, form_id=form)
    followed(app)
    with app.app_context(), writing() as session:
        session.execute(update(Notification).values(made_at=utcnow() - timedelta(days=31)))
    with app.app_context():
        assert sending.purge_notifications() == 1

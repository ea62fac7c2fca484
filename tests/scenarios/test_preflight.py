"""The look before a dial: do-not-call, served meanwhile, outside the hours."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import event, insert, select

from bx24app.database import writing
from bx24app.models import DoNotCall, ReceivedEvent, State, utcnow
from bx24app.services.calling import do_not_call
from bx24app.services.dialling.call_report import MOST_ROWS_OF_NUMBER
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor
from tests.support.waiting import NUMBER, accept, add_form, change_portal, follow_calls, pass_time, rules, seen, work

CLOSED = {"zone": "Europe/Berlin", "week": {}}


def open_in(delta: timedelta) -> dict[str, object]:
    """Hours that begin so much later than now."""
    opens = utcnow() + delta
    end = min(opens + timedelta(hours=1), opens.replace(hour=23, minute=59))
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[opens.weekday()]
    return {"zone": "UTC", "week": {day: [[opens.strftime("%H:%M"), end.strftime("%H:%M")]]}}


def list_number(app: Flask, number: str = NUMBER) -> None:
    with app.app_context():
        digest = do_not_call.number_digest(number)
        with writing() as session:
            session.add(DoNotCall(portal_id=1, number_digest=digest, number=number))


def was_not_dialled(app: Flask, portal: FakePortal, id: UUID, state: State, reason: str) -> None:
    assert (seen(app, id).state, seen(app, id).reason) == (state, reason)
    assert seen(app, id).attempts == []
    assert portal.telephony.dials == []
    assert reason in rules(app, id)


@pytest.mark.parametrize("source", ["staff", "website", "robot"])
def test_a_number_on_the_do_not_call_list_is_never_dialled(
    app: Flask, manager: Actor, portal: FakePortal, source: str
) -> None:
    id = accept(app, source=source, requested_by=portal.manager.id if source == "staff" else None)
    list_number(app)
    work(app)
    was_not_dialled(app, portal, id, State.FAILED, "do_not_call")


def test_another_portals_list_does_not_matter(app: Flask, manager: Actor, portal: FakePortal) -> None:
    id = accept(app)
    list_number(app, "+4930901821")
    work(app)
    assert seen(app, id).state == State.STARTED


class TestServed:
    def test_by_another_callback(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        later = accept(app, due_at=utcnow() + timedelta(hours=1))
        accept(app)
        work(app)
        portal.telephony.calls[0].hang_up()
        follow_calls(app, portal)
        pass_time(app, timedelta(minutes=61))
        portal.telephony.dials.clear()
        work(app)
        was_not_dialled(app, portal, later, State.CANCELLED, "already_served")

    @pytest.mark.parametrize("minutes", [90, 30])
    def test_a_time_that_was_chosen_stands_unless_it_is_near(
        self, app: Flask, manager: Actor, portal: FakePortal, minutes: int
    ) -> None:
        at = utcnow() + timedelta(minutes=minutes)
        planned = accept(app, due_at=at, scheduled_at=at)
        # Anybody who knows the number can ask for this one.
        accept(app)
        work(app)
        portal.telephony.calls[0].hang_up()
        follow_calls(app, portal)
        portal.telephony.dials.clear()
        pass_time(app, timedelta(minutes=minutes + 1))
        work(app)
        if minutes < 60:
            was_not_dialled(app, portal, planned, State.CANCELLED, "already_served")
        else:
            assert seen(app, planned).state == State.STARTED

    @pytest.mark.parametrize("call_type", ["1", "2", "3", "4"])
    def test_by_a_call_that_is_not_ours(
        self, app: Flask, manager: Actor, application: FakeApp, portal: FakePortal, call_type: str
    ) -> None:
        id = accept(app, due_at=utcnow() + timedelta(seconds=1))
        tell_of_a_call(app, portal, application, call_type, "200", "49 30 901820")
        pass_time(app, timedelta(seconds=2))
        # Only the callback grew older: the call was later than the request.
        work(app)
        was_not_dialled(app, portal, id, State.CANCELLED, "already_served")

    @pytest.mark.parametrize(("code", "number"), [("304", "+4930901820"), ("200", "+4930901821")])
    def test_not_by_a_call_that_reached_nobody_or_somebody_else(
        self, app: Flask, manager: Actor, application: FakeApp, portal: FakePortal, code: str, number: str
    ) -> None:
        id = accept(app)
        tell_of_a_call(app, portal, application, "1", code, number)
        work(app)
        assert seen(app, id).state == State.STARTED

    def test_of_ever_so_many_calls_that_a_portal_lists_a_few_are_read(
        self, app: Flask, manager: Actor, application: FakeApp, portal: FakePortal
    ) -> None:
        """Each would be read while the callback is held, and everybody's dials wait for the same processor."""
        id = accept(app, due_at=utcnow() + timedelta(seconds=1))
        tell_of_a_call(app, portal, application, "1", "200", NUMBER)
        read: list[int] = []
        with app.app_context():
            with writing() as session:
                told = session.scalars(select(ReceivedEvent).where(ReceivedEvent.event == "HISTORY")).one()
                told.fields = {**told.fields, "code": "304"}
                same = {"portal_id": 1, "event": "HISTORY", "call_id": "c", "fields": told.fields}
                rows = [{"digest": f"{row:064}", "number_digest": told.number_digest, **same} for row in range(300)]
                session.execute(insert(ReceivedEvent), rows)
            pass_time(app, timedelta(seconds=2))
            event.listen(ReceivedEvent, "load", note := lambda row, _: read.append(row.id))
            try:
                work(app)
            finally:
                event.remove(ReceivedEvent, "load", note)
        assert 0 < len(read) <= MOST_ROWS_OF_NUMBER
        assert seen(app, id).state == State.STARTED

    def test_not_by_a_call_before_the_request(
        self, app: Flask, manager: Actor, application: FakeApp, portal: FakePortal
    ) -> None:
        tell_of_a_call(app, portal, application, "1", "200", NUMBER)
        id = accept(app)
        work(app)
        assert seen(app, id).state == State.STARTED

    def test_a_person_who_presses_call_is_not_hindered(
        self, app: Flask, manager: Actor, application: FakeApp, portal: FakePortal
    ) -> None:
        id = accept(app, source="staff", requested_by=portal.manager.id)
        tell_of_a_call(app, portal, application, "1", "200", NUMBER)
        work(app)
        assert seen(app, id).state == State.STARTED


def tell_of_a_call(
    app: Flask, portal: FakePortal, application: FakeApp, call_type: str, code: str, number: str
) -> None:
    """An ordinary call, or one of the portal's own forms, has ended."""
    data: dict[str, object] = {
        "CALL_ID": f"call.{utcnow().timestamp()}",
        "CALL_TYPE": call_type,
        "PHONE_NUMBER": number,
        "PORTAL_NUMBER": "reg1",
        "CALL_FAILED_CODE": code,
        "CALL_START_DATE": datetime.now(UTC).isoformat(),
    }
    portal.telephony.history.append({"ID": str(len(portal.telephony.history) + 1), **data})
    assert portal.send_event(application, "ONVOXIMPLANTCALLEND", data)
    follow_calls(app, portal)
    assert portal.events.deliveries[-1].status == 200


class TestHours:
    def test_outside_a_website_callback_waits_for_the_next_hours(
        self, app: Flask, manager: Actor, portal: FakePortal
    ) -> None:
        change_portal(app, hours=open_in(timedelta(hours=2)))
        id = accept(app)
        work(app)
        was_not_dialled(app, portal, id, State.SCHEDULED, "outside_hours")
        callback = seen(app, id)
        assert timedelta(hours=1, minutes=58) < callback.due_at - utcnow() <= timedelta(hours=2)
        assert callback.expires_at - callback.due_at == timedelta(minutes=60)

    def test_a_forms_hours_come_before_the_portals(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        change_portal(app, hours=CLOSED)
        id = accept(app, form_id=add_form(app, hours=open_in(timedelta(minutes=-2))))
        work(app)
        assert seen(app, id).state == State.STARTED

    def test_where_the_hours_never_begin_nothing_is_pretended(
        self, app: Flask, manager: Actor, portal: FakePortal
    ) -> None:
        change_portal(app, hours=CLOSED)
        id = accept(app)
        work(app)
        was_not_dialled(app, portal, id, State.FAILED, "outside_hours")

    def test_a_person_may_call_at_any_hour(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        change_portal(app, hours=CLOSED)
        id = accept(app, source="staff", requested_by=portal.manager.id)
        work(app)
        assert seen(app, id).state == State.STARTED

    def test_the_apps_own_repetition_of_a_persons_call_keeps_to_them(
        self, app: Flask, manager: Actor, portal: FakePortal
    ) -> None:
        change_portal(app, hours=CLOSED, retries=1)
        id = accept(app, source="staff", requested_by=portal.manager.id)
        work(app)
        portal.telephony.end(portal.telephony.calls[0], "486", "busy")
        follow_calls(app, portal)
        pass_time(app, timedelta(minutes=11))
        work(app)
        assert (seen(app, id).state, seen(app, id).reason) == (State.FAILED, "outside_hours")
        assert len(portal.telephony.dials) == 1

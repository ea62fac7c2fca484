"""What a portal tells again of a call whose number was erased."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import ReceivedEvent, utcnow
from bx24app.services.dialling import call_events
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.waiting import follow_calls, pass_time, work


def test_a_call_of_an_erased_number_does_not_come_back_with_the_next_reading_of_the_history(
    app: Flask, desk: Actor, manager: Actor, portal: FakePortal
) -> None:
    """The history is read again from twenty rows before its end, and who talked for how long stood there once more."""
    erased, other = "+4940428777", "+4940428778"
    assert manager.requests_callback(erased).status_code == 201
    work(app)
    call = portal.telephony.calls[-1]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    follow_calls(app, portal)
    assert json_of(desk.asks("POST", "/export", {"number": erased}))["counts"]["call_reports"] > 0
    assert desk.asks("POST", "/erase", {"number": erased, "confirm": erased}).status_code == 200
    assert manager.requests_callback(other).status_code == 201
    work(app)
    portal.telephony.calls[-1].hang_up()
    pass_time(app, timedelta(minutes=1))
    follow_calls(app, portal)
    assert json_of(desk.asks("POST", "/export", {"number": other}))["counts"]["call_reports"] > 0
    assert json_of(desk.asks("POST", "/export", {"number": erased}))["counts"]["call_reports"] == 0
    with app.app_context(), reading() as session:
        kept = session.scalars(select(ReceivedEvent).where(ReceivedEvent.call_id == "")).all()
        assert {(row.number_digest, row.attempt_id, str(row.fields)) for row in kept} == {(None, None, "{}")}
    with app.app_context(), writing() as session:
        session.execute(update(ReceivedEvent).values(received_at=utcnow() - timedelta(days=1, minutes=1)))
    with app.app_context():
        call_events.purge_unmatched()
        with reading() as session:
            assert session.scalars(select(ReceivedEvent.id).where(ReceivedEvent.call_id == "")).all() == []

"""What an invented event gives whoever made it up: nothing that stays, and no work without end."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Attempt, ReceivedEvent
from bx24app.services.dialling import call_events, call_history, deadlines, reconcile
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.people import SEE_STATISTICS
from tests.scenarios.test_forged_calls import END, START, FormerEmployee, an_end, forger, stored
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import accept, add_form, follow_calls, pass_time, work

__all__ = ["forger"]


@pytest.fixture
def claimed(
    app: Flask, desk: Actor, manager: Actor, visitor: Visitor, portal: FakePortal, forger: FormerEmployee
) -> str:
    """The callback of a customer, which somebody without a right to see it says to have picked up."""
    assert desk.asks("PATCH", "/settings", {"shares_callbacks": False}).status_code == 200
    id: str = json_of(visitor.asks("+4940428779", name="Private"))["reference"]
    assert work(app) == 1
    assert manager.asks("GET", f"/callbacks/{id}").status_code == 404
    forger.tells(START, portal.telephony.calls[-1].call_id, USER_ID=str(manager.user.id))
    return id


def test_who_invents_a_start_sees_nothing_once_the_call_is_over(
    app: Flask, manager: Actor, portal: FakePortal, claimed: str
) -> None:
    """Where the history named nobody they could read, and retry, it for good."""
    portal.telephony.calls[-1].hang_up()
    portal.telephony.history[-1].pop("PORTAL_USER_ID", None)
    follow_calls(app, portal)
    assert manager.asks("GET", f"/callbacks/{claimed}").status_code == 404
    assert manager.asks("POST", f"/callbacks/{claimed}/retry").status_code == 404


def test_nor_where_nobody_learns_how_it_ended(app: Flask, manager: Actor, portal: FakePortal, claimed: str) -> None:
    portal.administrator.rights.discard(SEE_STATISTICS)
    pass_time(app, timedelta(hours=4, minutes=1))
    with app.app_context():
        call_history.read_next_history()
        deadlines.apply_deadlines()
    assert manager.asks("GET", f"/callbacks/{claimed}").status_code == 404


def test_whom_the_history_has_named_stays_named_where_a_later_row_names_nobody(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    assert manager.requests_callback().status_code == 201
    assert work(app) == 1
    call = portal.telephony.calls[-1]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    follow_calls(app, portal)
    told = portal.telephony.history[-1]
    later = {name: value for name, value in told.items() if name != "PORTAL_USER_ID"}
    portal.telephony.history.append(later | {"ID": str(int(str(told["ID"])) + 1)})
    with app.app_context():
        assert call_history._read_callbacks(1) == 1
        reconcile.reconcile_pending()
    with app.app_context(), reading() as session:
        assert session.scalars(select(Attempt.answered_by)).one() == int(str(told["PORTAL_USER_ID"]))
        assert len(session.scalars(select(ReceivedEvent).where(ReceivedEvent.event == "HISTORY")).all()) > 1


def test_so_many_invented_ends_a_minute_are_looked_at(
    app: Flask, manager: Actor, portal: FakePortal, forger: FormerEmployee
) -> None:
    """Eighty a second kept a neighbour's dial waiting for a second: a row, a lock and a look into the history each."""
    accept(app, form_id=add_form(app))
    most = int(call_events.ENDS_OF_UNKNOWN_CALLS.size)
    for number in range(most + 20):
        forger.posts(END, f"invented.{number}", **an_end())
    assert stored(app) in range(most - 1, most + 2)
    # The end of a call that is the app's own is heard all the same.
    assert work(app) == 1
    before = stored(app)
    forger.posts(END, portal.telephony.calls[-1].call_id, **an_end())
    assert stored(app) == before + 1

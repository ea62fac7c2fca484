"""A callback that ends without having rung: whoever asked behind it is called, for theirs was good."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from bx24app.database import db, reading, writing
from bx24app.models import Callback, DecoyRequest, Portal, State, Throttle, WebsiteRequest, utcnow
from bx24app.services.callbacks import number_holder
from bx24app.services.dialling import abandoned, queue
from bx24app.services.dialling.queue import DialLease
from bx24app.services.runtime.slots import Resting
from bx24app.services.security import digests
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.scenarios.test_preflight import tell_of_a_call
from tests.scenarios.test_shared_callbacks import PLENTY, acts, asks, end_all_calls, form, later, states
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import accept, change_portal, follow_calls, pass_time, work
from tests.support.websites import MakeVisitor

__all__ = ["form"]

START = "voximplant.callback.start"
HOUR = timedelta(hours=1)
End = Callable[[Flask, Actor, Actor, str], None]
PutOff = Callable[[Flask, Visitor, Actor, FakePortal, str], None]


def expires_on_a_full_line(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    """A talk fills the line for longer than an employee waits by the phone."""
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        assert abandoned.expire_abandoned() == 1
    change_portal(app, line_cap=None)


def expires_when_it_is_its_turn(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    pass_time(app, timedelta(minutes=3))
    work(app)
    pass_time(app, timedelta(seconds=1))  # It has ended; whoever takes its place has the next turn.


def loses_its_person(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    manager.user.dismissed = True


def loses_their_role(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    assert desk.lets_call([desk.user.id]).status_code == 200


def is_refused(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    manager.portal.faults.add("error", START, code="ERROR_CORE", words="No such line", status=400)


def is_withdrawn_by_its_person(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    assert manager.asks("POST", f"/callbacks/{id}/cancel").status_code == 200


def is_moved_by_its_person(app: Flask, manager: Actor, desk: Actor, id: str) -> None:
    assert manager.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": later()}).status_code == 200


ENDS: list[tuple[End, State]] = [
    (expires_on_a_full_line, State.EXPIRED),
    (expires_when_it_is_its_turn, State.EXPIRED),
    (loses_its_person, State.FAILED),
    (loses_their_role, State.FAILED),
    (is_refused, State.FAILED),
    (is_withdrawn_by_its_person, State.CANCELLED),
    (is_moved_by_its_person, State.SCHEDULED),
]


@pytest.mark.parametrize(("ends", "state"), ENDS)
def test_a_visitor_who_asked_behind_a_call_of_an_employee_is_called(
    app: Flask,
    form: Visitor,
    desk: Actor,
    manager: Actor,
    portal: FakePortal,
    ends: End,
    state: State,
) -> None:
    id = json_of(manager.requests_callback(CUSTOMER))["id"]
    asked = asks(form)
    assert states(app) == {id: "queued"}
    # As a process that has begun just now.
    app.extensions.pop(digests.KEY_CACHE)
    ends(app, manager, desk, id)
    work(app)
    assert states(app) == {id: state, asked["reference"]: "started"}
    assert json_of(form.looks(asked["status_url"]))["state"] == "started"
    assert len(portal.telephony.dials) == 1
    with app.app_context(), reading() as session:
        # Its customer is looked for in the CRM like any other's.
        assert str(session.scalars(select(WebsiteRequest)).one().callback_id) == asked["reference"]


def test_whoever_asked_without_a_key_is_compared_with_nobody_who_has_none(
    app: Flask, form: Visitor, manager: Actor
) -> None:
    """Those are all that a portal has ever been asked for."""
    id, statements = json_of(manager.requests_callback(CUSTOMER))["id"], list[str]()
    asked = asks(form, idempotency_key=None)
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note := lambda *given: statements.append(given[2]))
        try:
            assert manager.asks("POST", f"/callbacks/{id}/cancel").status_code == 200
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
    assert states(app)[asked["reference"]] == "queued"
    assert [sql for sql in statements if "idempotency_key IS NULL" in sql] == []


def test_a_visitor_who_asked_behind_one_on_a_full_line_is_called_on_theirs(
    app: Flask, form: Visitor, visitor_of: MakeVisitor, portal: FakePortal
) -> None:
    """Anybody may ask for a number at a form that nobody answers."""
    mine, another = list(portal.lines)[:2]
    other = visitor_of(limits=PLENTY, line_id=another, expiry_minutes=2)
    first = asks(other)
    second = asks(form)
    pass_time(app, timedelta(minutes=3))
    work(app)
    pass_time(app, timedelta(seconds=1))  # It has ended; whoever takes its place has the next turn.
    work(app)
    assert states(app) == {first["reference"]: "expired", second["reference"]: "started"}
    assert [dial["line"] for dial in portal.telephony.dials] == [mine]


def test_one_that_is_put_off_until_a_form_opens_keeps_no_other_form_waiting(
    app: Flask, form: Visitor, visitor_of: MakeVisitor, desk: Actor
) -> None:
    first, _ = asks(form), asks(form)
    second = asks(visitor_of(limits=PLENTY))
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").lower()
    hours = {"zone": "UTC", "week": {day: [["09:00", "18:00"]]}}
    assert desk.asks("PATCH", f"/forms/{form.form_key}", {"hours": hours}).status_code == 200
    work(app)
    # Whoever asked at the same form waits for the same call: nobody is rung twice at the opening.
    assert states(app) == {first["reference"]: "scheduled", second["reference"]: "started"}


def its_form_closes(app: Flask, visitor: Visitor, desk: Actor, portal: FakePortal, id: str) -> None:
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").lower()
    hours = {"zone": "UTC", "week": {day: [["09:00", "18:00"]]}}
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"hours": hours}).status_code == 200
    work(app)


def the_team_moves_it(app: Flask, visitor: Visitor, desk: Actor, portal: FakePortal, id: str) -> None:
    assert desk.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": later()}).status_code == 200


def it_will_be_repeated(app: Flask, visitor: Visitor, desk: Actor, portal: FakePortal, id: str) -> None:
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"retries": 1, "retry_minutes": 60}).status_code == 200
    work(app)
    portal.telephony.end(portal.telephony.calls[0], "304", "Skipped call")
    follow_calls(app, portal)


@pytest.mark.parametrize("put_off", [its_form_closes, the_team_moves_it, it_will_be_repeated])
def test_whoever_waits_behind_one_that_was_put_off_waits_as_long(
    app: Flask, visitor_of: MakeVisitor, desk: Actor, portal: FakePortal, put_off: PutOff
) -> None:
    """Else whoever asked first could take the call away, by their link, once the time of the others is over."""
    visitor = visitor_of(limits=PLENTY, expiry_minutes=2)
    with time_machine.travel(datetime.now(UTC), tick=False):
        first, second = asks(visitor), asks(visitor)
        put_off(app, visitor, desk, portal, first["reference"])
        assert states(app) == {first["reference"]: "scheduled"}
        pass_time(app, timedelta(minutes=10))
        assert acts(visitor, first, "cancel")[0] == 200
        assert states(app) == {first["reference"]: "cancelled", second["reference"]: "queued"}
        work(app)
        state = "scheduled" if put_off is its_form_closes else "started"
        assert states(app) == {first["reference"]: "cancelled", second["reference"]: state}


def test_who_asks_after_a_call_that_may_have_rung_is_called(
    app: Flask, form: Visitor, manager: Actor, desk: Actor, portal: FakePortal
) -> None:
    """An employee lets a call of unknown outcome be made again, and then it is not made in time."""
    portal.faults.add("drop_before", START)
    id = json_of(manager.requests_callback(CUSTOMER))["id"]
    before = asks(form)
    work(app)
    pass_time(app, timedelta(minutes=1))
    change_portal(app, line_cap=0)
    assert manager.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"}).status_code == 200
    after = asks(form)
    expires_on_a_full_line(app, manager, desk, id)
    work(app)
    assert states(app) == {id: "expired", after["reference"]: "started"}
    assert before["reference"] not in states(app)


def test_so_many_follow_a_callback_that_did_not_ring(
    app: Flask, form: Visitor, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may ask for one number of a portal whose server refuses each call, and each moves all others."""
    monkeypatch.setattr(number_holder, "MAX_FOLLOWERS", 2)
    asked = [asks(form)["reference"] for _ in range(5)]
    for _ in asked:
        portal.faults.add("error", START, code="ERROR_CORE", words="No such line", status=400)
    for _ in asked:
        work(app)
        pass_time(app, timedelta(seconds=1))
    assert states(app) == dict.fromkeys(asked[:3], "failed")


def test_what_was_asked_after_the_call_that_served_the_first_is_called(
    app: Flask, form: Visitor, desk: Actor, application: FakeApp, portal: FakePortal
) -> None:
    """The customer may have another question."""
    first = asks(form)
    pass_time(app, timedelta(minutes=1))
    tell_of_a_call(app, portal, application, "1", "200", CUSTOMER)
    second = asks(form)
    work(app)
    pass_time(app, timedelta(seconds=1))
    work(app)
    assert states(app) == {first["reference"]: "cancelled", second["reference"]: "started"}


def test_what_was_put_on_the_list_is_called_for_nobody(
    app: Flask, form: Visitor, desk: Actor, portal: FakePortal
) -> None:
    first, _ = asks(form), asks(form)
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201
    work(app)
    assert states(app) == {first["reference"]: "failed"}
    assert portal.telephony.dials == []


def test_one_that_has_rung_rang_for_all(app: Flask, form: Visitor, portal: FakePortal) -> None:
    first, _ = asks(form), asks(form)
    work(app)
    end_all_calls(app, portal)
    pass_time(app, timedelta(hours=2))
    work(app)
    assert list(states(app)) == [first["reference"]]


@pytest.mark.parametrize("late", [False, True], ids=["shown", "late"])
def test_whoever_was_shown_that_theirs_has_expired_is_not_called(
    app: Flask, manager: Actor, form: Visitor, late: bool
) -> None:
    """Nor is one whose time is over: thousands of these would become callbacks, one after the other, for nobody."""
    id = json_of(manager.requests_callback(CUSTOMER))["id"]
    asked = asks(form)
    ended: dict[str, Any] = {"ended_as": State.EXPIRED}
    if late:
        ended = {"expires_at": utcnow() - timedelta(seconds=1)}
    with app.app_context(), writing() as session:
        session.execute(update(DecoyRequest).values(released_at=utcnow(), **ended))
    is_withdrawn_by_its_person(app, manager, manager, id)
    assert asked["reference"] not in states(app)


def test_a_request_whose_key_another_one_has_too_is_called(
    app: Flask, form: Visitor, manager: Actor, portal: FakePortal
) -> None:
    """Two posts with one key in one moment leave a decoy and a callback: neither statement sees the other's row."""
    json_of(manager.requests_callback(CUSTOMER))
    asked, other = asks(form, idempotency_key="K"), accept(app, to_number="+4930901831", due_at=utcnow() + HOUR)
    with app.app_context(), writing() as session:
        key = session.scalar(select(DecoyRequest.idempotency_key))
        session.execute(update(Callback).where(Callback.id == other).values(idempotency_key=key))
    expires_on_a_full_line(app, manager, manager, "")
    work(app)
    assert states(app)[asked["reference"]] == "started"
    assert len(portal.telephony.dials) == 1


def broken(*_: object) -> None:
    raise ValueError("as nobody foresaw")


def test_what_cannot_be_passed_on_holds_up_nobody(
    app: Flask, form: Visitor, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All callbacks that have waited too long end in one transaction, those of all portals."""
    first = json_of(manager.requests_callback(CUSTOMER))["id"]
    asks(form)
    second = accept(app, to_number="+4930901831", expires_at=utcnow() + timedelta(minutes=2))
    monkeypatch.setattr(number_holder, "make_own", broken)
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        assert abandoned.expire_abandoned() == 2
    assert [states(app)[str(id)] for id in (first, second)] == ["expired", "expired"]


def test_a_portal_whose_callbacks_cannot_be_leased_holds_up_no_other(
    app: Flask, form: Visitor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes first, again and again, for it has been served longest ago."""
    asks(form)
    take = queue._take
    others: list[int] = []

    def taken(
        session: Session, portal: Portal, *rest: int, **named: bool
    ) -> Iterator[DialLease | DecoyRequest | Callback]:
        others.append(portal.id)
        if portal.id == 1:
            raise ValueError("as nobody foresaw")
        return take(session, portal, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(queue, "_take", taken)
    monkeypatch.setattr(queue, "_failing", Resting("test", 60))

    with app.app_context(), writing() as session:
        neighbour = Portal(
            member_id="neighbour",
            domain="n",
            client_endpoint="https://n",
            installed_at=utcnow(),
            app_code="",
            app_id="",
        )
        session.add(neighbour)
        session.flush()
        session.add(Throttle(portal_id=neighbour.id, level_at=utcnow()))
        id = neighbour.id
    theirs = accept(app, portal_id=id)
    with app.app_context():
        assert [lease.callback_id for lease in queue.lease_due(4)] == [theirs]
        assert queue.lease_due(4) == []
    assert others.count(1) == 1

"""What keeps portals from calling is told once, however much there is of it, and also where nobody is told."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from bx24app.database import reading, writing
from bx24app.models import (
    BudgetDay,
    Form,
    Notification,
    Portal,
    PortalLine,
    PortalState,
    Rejection,
    ToldStoppage,
    User,
    utcnow,
)
from bx24app.services.callbacks.conditions import BUDGET_MONEY
from bx24app.services.native.follow_up import stoppages
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.stoppages import CHANGES_AT_ONCE, StoppageWalk
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import add_form, change_line, change_portal

# More than one walk looked at before, and than one transaction tells now.
MANY = 2 * CHANGES_AT_ONCE + 101
SMALL = {"portals_at_once": 2, "changes_at_once": 3}


def walked(app: Flask, walk: StoppageWalk, steps: int = 1) -> list[int]:
    """How much each of so many steps has told or forgotten."""
    with app.app_context():
        return [walk.go_on() for _ in range(steps)]


def told(app: Flask) -> set[tuple[int, str]]:
    """What counts as told, by portal and tag."""
    with app.app_context(), reading() as session:
        return {
            (portal_id, tag) for portal_id, tag in session.execute(select(ToldStoppage.portal_id, ToldStoppage.tag))
        }


def notified(app: Flask) -> list[tuple[int, str]]:
    """The notifications that people have or wait for, by portal and tag."""
    rows = select(Notification.portal_id, Notification.tag).order_by(Notification.portal_id, Notification.tag)
    with app.app_context(), reading() as session:
        return [(portal_id, tag) for portal_id, tag in session.execute(rows)]


def add_lines(app: Flask, portal_id: int, count: int) -> None:
    """Lines without money."""
    now = utcnow()
    with app.app_context(), writing() as session:
        for number in range(count):
            line = PortalLine(portal_id=portal_id, line_id=f"empty{number}", name="", is_foreign=False)
            line.stopped_until = now
            session.add(line)


def add_portal(app: Flask, name: str, lines: int) -> int:
    """A portal with an administrator whom we have seen, and lines without money."""
    now = utcnow()
    with app.app_context(), writing() as session:
        portal = Portal(
            member_id=f"{name:0<32}", domain=name, client_endpoint="", app_code="", app_id="", installed_at=now
        )
        session.add(portal)
        session.flush()
        session.add(User(portal_id=portal.id, user_id=1, name="Anna", is_administrator=True, seen_at=now))
        id = portal.id
    add_lines(app, id, lines)
    return id


def test_more_than_fits_into_a_step_is_told_once_and_nothing_of_it_is_taken_for_over(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    add_lines(app, 1, MANY)
    walk = StoppageWalk()
    assert walked(app, walk, 6) == [CHANGES_AT_ONCE, CHANGES_AT_ONCE, 101, 0, 0, 0]
    before = notified(app)
    assert len(before) == len(told(app)) == MANY
    with app.app_context(), reading() as session:
        made_at = session.scalars(select(func.max(Notification.made_at))).one()
    with app.app_context(), writing() as session:
        session.execute(update(PortalLine).where(PortalLine.line_id == "empty7").values(stopped_until=None))
    assert walked(app, walk, 2) == [1, 0]
    assert notified(app) == [row for row in before if row != (1, "line-empty7")]
    with app.app_context(), reading() as session:
        assert session.scalars(select(func.max(Notification.made_at))).one() == made_at


def test_a_walk_goes_through_all_portals_and_compares_those_it_has_come_to_alone(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    ids = [1, *(add_portal(app, name, lines) for name, lines in (("a", 2), ("b", 4), ("c", 0), ("d", 1)))]
    change_line(app, "reg150907", stopped_until=utcnow())
    walk = StoppageWalk(**SMALL)
    # Two portals with one and two, then two with four and none, then the last one.
    assert walked(app, walk, 4) == [3, 3, 1, 1]
    everything = {(ids[0], "line-reg150907")}
    everything |= {
        (ids[place], f"line-empty{number}") for place, count in ((1, 2), (2, 4), (4, 1)) for number in range(count)
    }
    assert told(app) == everything
    assert len(notified(app)) == len(everything)
    assert walked(app, walk, 6) == [0] * 6
    with app.app_context(), writing() as session:
        session.execute(update(Portal).where(Portal.id == ids[4]).values(state=PortalState.DISCONNECTED))
    assert sum(walked(app, walk, 3)) == 2
    assert told(app) - everything == {(ids[4], "access")}
    assert everything - told(app) == {(ids[4], "line-empty0")}


@pytest.mark.parametrize("choice", [{"to": "nobody"}, {"to": "people", "people": []}])
def test_what_nobody_is_told_is_looked_at_once(
    app: Flask, manager: Actor, portal: FakePortal, choice: dict[str, object]
) -> None:
    change_portal(app, notifications={"line": choice})
    add_lines(app, 1, 2)
    walk = StoppageWalk()
    assert walked(app, walk, 3) == [2, 0, 0]
    assert notified(app) == []
    # Who is told is decided when it begins.
    change_portal(app, notifications=None)
    assert walked(app, walk) == [0]
    change_line(app, "empty0", stopped_until=None)
    assert walked(app, walk) == [1]
    change_line(app, "empty0", stopped_until=utcnow())
    assert walked(app, walk, 2) == [1, 0]
    assert notified(app) == [(1, "line-empty0")]


def test_two_workers_that_have_seen_it_begin_tell_it_once(app: Flask, manager: Actor, portal: FakePortal) -> None:
    begun = stoppages.Stoppage(1, NoticeEvent.LINE, "line-empty0", {"line": "empty0"})
    begin: Callable[..., None] = stoppages._begin
    with app.app_context():
        with writing() as session:
            begin(session, begun)
            session.execute(update(Notification).values(due_at=None, sent_at=utcnow()))
        with writing() as session:
            begin(session, begun)
        with reading() as session:
            assert session.scalars(select(Notification.due_at)).all() == [None]


def test_a_form_that_sends_many_away_because_its_money_is_spent_is_told_of_once(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    form_id, now = add_form(app, created_by=portal.administrator.id, budget_money=5, budget_currency="EUR"), utcnow()
    with app.app_context(), writing() as session:
        for second in range(5):
            at = now - timedelta(milliseconds=second)
            session.add(Rejection(portal_id=1, form_id=form_id, rule=BUDGET_MONEY, inputs={}, made_at=at))
    walk = StoppageWalk()
    assert walked(app, walk, 3) == [1, 0, 0]
    [(_, tag)] = notified(app)
    assert tag.startswith(f"budget-{form_id}-")


def test_a_form_whose_money_of_a_later_day_is_spent_is_not_stopped(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    form_id, now = add_form(app, created_by=portal.administrator.id, budget_money=5, budget_currency="EUR"), utcnow()
    later, common = (now + timedelta(days=1)).date().isoformat(), {"portal_id": 1, "form_id": form_id, "made_at": now}
    with app.app_context(), writing() as session:
        session.add(Rejection(**common, rule=BUDGET_MONEY, inputs={"day": later}))
    assert walked(app, StoppageWalk(), 2) == [0, 0]
    with app.app_context(), writing() as session:
        session.add(Rejection(**common, rule=BUDGET_MONEY, inputs={"known": "5"}))
    assert walked(app, StoppageWalk()) == [1]


@pytest.mark.parametrize(("day", "moved_away", "told"), [(0, 0, 1), (0, 1, 0), (1, 0, 0), (5, 0, 0)])
def test_a_form_is_stopped_by_the_calls_that_are_due_today(
    app: Flask, manager: Actor, portal: FakePortal, day: int, moved_away: int, told: int
) -> None:
    form_id = add_form(app, created_by=portal.administrator.id, budget_calls=2)
    with app.app_context(), writing() as session:
        counted = (utcnow() + timedelta(days=day)).date()
        session.add(BudgetDay(form_id=form_id, day=counted, calls=2, moved_away=moved_away))
    assert walked(app, StoppageWalk()) == [told]


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        ({"zone": "right/Nowhere", "week": {}}, 2),
        ({"zone": "UTC", "week": {}, "holidays": "DE-NO"}, 2),
        ({"zone": "UTC", "week": {"mon": [["18:00", "09:00"]]}}, 1),
        ({"week": 7}, 1),
    ],
)
def test_hours_that_nobody_can_read_any_more_keep_no_other_form_from_being_told_of(
    app: Flask, manager: Actor, portal: FakePortal, hours: dict[str, object], told: int
) -> None:
    """A name went out of use, or the other machine of the fleet knew more of them."""
    day = utcnow().date()
    for form_id in [add_form(app, created_by=portal.administrator.id, budget_calls=2) for _ in range(2)]:
        with app.app_context(), writing() as session:
            session.add(BudgetDay(form_id=form_id, day=day, calls=2))
    with app.app_context(), writing() as session:
        first = session.scalars(select(Form).order_by(Form.id)).all()[0]
        first.hours = hours
    assert walked(app, StoppageWalk()) == [told]

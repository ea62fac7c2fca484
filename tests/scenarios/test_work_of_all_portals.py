"""Work that is done for all portals together is done in small pieces: nobody waits for all that one of them has."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch
from uuid import UUID

import pytest
from flask import Flask
from psycopg.errors import DeadlockDetected
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from bx24app.database import db, reading, writing
from bx24app.errors import DatabaseBusy
from bx24app.models import (
    CallbackNews,
    Notification,
    NotifiedPerson,
    Portal,
    PortalSettings,
    ReceivedEvent,
    State,
    ToldStoppage,
    utcnow,
)
from bx24app.services.dialling import abandoned, deadlines, reconcile
from bx24app.services.native.follow_up import choices, news, stoppages
from bx24app.services.reports import counting
from bx24app.services.runtime.slots import Resting
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, change_portal, follow_calls, pass_time, seen, work

CROWD = list(range(1000, 1000 + choices.MAX_TOLD_PEOPLE))


@contextmanager
def transactions(app: Flask, monkeypatch: pytest.MonkeyPatch, module: Any) -> Iterator[list[int]]:
    """How many statements each transaction of a module sends that may write."""
    counts: list[int] = []

    @contextmanager
    def counted() -> Iterator[Session]:
        counts.append(0)
        with writing() as session:
            yield session

    def count(*_: object) -> None:
        if counts:
            counts[-1] += 1

    monkeypatch.setattr(module, "writing", counted)
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", count)
        try:
            yield counts
        finally:
            event.remove(db.engine, "before_cursor_execute", count)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends when nothing is left, however slow this machine is."""
    monkeypatch.setattr(abandoned, "RUN_SECONDS", 600.0)


def wait_too_long(app: Flask, many: int, portal_id: int = 1) -> list[UUID]:
    """Accept so many callbacks for a line that is full."""
    change_portal(app, line_cap=0)
    until = utcnow() + timedelta(minutes=2)
    return [
        accept(app, portal_id, to_number=f"+493090{portal_id}{number:04}", expires_at=until) for number in range(many)
    ]


def test_callbacks_expire_a_few_at_a_time(
    app: Flask, manager: Actor, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_too_long(app, 42)
    pass_time(app, timedelta(minutes=3))
    with transactions(app, monkeypatch, abandoned) as sent:
        assert abandoned.expire_abandoned() == 42
        assert len(sent) == 1 + 5
        assert abandoned.expire_abandoned() == 0


def test_one_portal_has_ten_expired_and_then_it_is_the_turn_of_others(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the neighbour came last, and stood behind all that one portal had; who waits behind them is called."""
    monkeypatch.setattr(abandoned, "RUN_SECONDS", 0.0)
    neighbour = Actor(app.test_client(), other := fake.add_portal("beta"), application, other.administrator)
    neighbour.installs()
    many, theirs = wait_too_long(app, 42), wait_too_long(app, 3, portal_id=2)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        assert abandoned.expire_abandoned() == 13
        assert [seen(app, id, 2).state for id in theirs] == [State.EXPIRED] * 3
        # Those that wait longest come first.
        assert [seen(app, id).state for id in many[:11]] == [State.EXPIRED] * 10 + [State.QUEUED]
        assert [abandoned.expire_abandoned() for _ in range(5)] == [10, 10, 10, 2, 0]


def test_a_portal_whose_callbacks_cannot_expire_holds_up_no_other(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = Actor(app.test_client(), other := fake.add_portal("beta"), application, other.administrator)
    neighbour.installs()
    [bad], theirs = wait_too_long(app, 1), wait_too_long(app, 1, portal_id=2)
    pass_time(app, timedelta(minutes=3))
    tried = fail_once_for(monkeypatch, abandoned, "_expire_few", 1)
    with app.app_context():
        assert abandoned.expire_abandoned() == 1
        assert abandoned.expire_abandoned() == 0
    assert tried == [1, 2]
    assert [seen(app, theirs[0], 2).state, seen(app, bad).state] == [State.EXPIRED, State.QUEUED]


def test_many_people_are_told_by_few_statements(
    app: Flask, administrator: Actor, manager: Actor, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator.opens()
    wanted = {"missed": {"to": "people", "people": CROWD}}
    assert administrator.asks("PATCH", "/settings", {"notifications": wanted}).status_code == 200
    for number in range(24):
        accept(app, to_number=f"+49309019{number:02}", expires_at=utcnow() + timedelta(minutes=2))
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        assert abandoned.expire_abandoned() == 24
    with transactions(app, monkeypatch, news) as sent:
        assert news.follow_up_ended() == 24
        assert len(sent) == 3
        assert max(sent) < 150
        with reading() as session:
            assert session.scalar(select(func.count(Notification.id))) == 24 * len(CROWD)
            assert session.scalar(select(func.count(NotifiedPerson.id))) == len(CROWD)
            assert session.scalar(select(func.count(CallbackNews.id))) == 0


def test_no_more_people_are_chosen_than_are_told(app: Flask, administrator: Actor, manager: Actor) -> None:
    """An earlier version took 500."""
    administrator.opens()
    too_many = {"missed": {"to": "people", "people": [*CROWD, 1]}}
    refused = administrator.asks("PATCH", "/settings", {"notifications": too_many})
    assert (refused.status_code, json_of(refused)["code"]) == (400, "invalid_request")
    with app.app_context(), writing() as session:
        session.scalars(select(PortalSettings)).one().notifications = too_many
    callback_id = accept(app, expires_at=utcnow() + timedelta(minutes=2))
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        abandoned.expire_abandoned()
        news.follow_up_ended()
        with reading() as session:
            assert session.scalar(select(func.count(Notification.id))) == len(CROWD)
    assert manager.sees(str(callback_id))["state"] == State.EXPIRED
    assert administrator.asks("GET", "/settings").status_code == 200


def fail_once_for(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, bad: object) -> list[object]:
    """Let a step of a job fail for one row, as nobody foresaw; returns the rows for which it was tried."""
    does, tried = getattr(module, name), []

    def done(*given: Any) -> Any:
        row = next((one for one in given if not isinstance(one, Session)), None)
        tried.append(getattr(row, "callback_id", row))
        if tried[-1] == bad:
            raise ValueError("as nobody foresaw")
        return does(*given)

    monkeypatch.setattr(module, name, done)
    return tried


def test_a_report_that_cannot_be_applied_holds_up_no_other(
    app: Flask, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (accept(app, to_number=f"+493090190{number}") for number in range(2))
    work(app)
    for call in portal.telephony.calls:
        call.hang_up()
    with patch.object(reconcile, "reconcile_pending"):
        follow_calls(app, portal)
    with app.app_context(), reading() as session:
        bad = session.scalar(select(func.min(ReceivedEvent.id)).where(ReceivedEvent.event == "HISTORY"))
    tried = fail_once_for(monkeypatch, reconcile, "_apply_one", bad)
    with app.app_context():
        assert reconcile.reconcile_pending() == 1
        reconcile.reconcile_pending()
    assert tried.count(bad) == 1
    assert sorted(seen(app, id).state for id in (first, second)) == [State.COMPLETED, State.STARTED]


def test_news_that_cannot_be_followed_up_hold_up_no_other(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [accept(app, to_number=f"+493090190{n}", expires_at=utcnow() + timedelta(minutes=2)) for n in range(3)]
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    with app.app_context():
        abandoned.expire_abandoned()
        tried = fail_once_for(monkeypatch, news, "_follow_up", ids[0])
        assert news.follow_up_ended() == 3
        assert news.follow_up_ended() == 0
    assert sorted(tried, key=str) == sorted(ids, key=str)


def test_news_that_lost_against_another_transaction_are_followed_up_later(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends one of two that wait for each other: nothing is wrong with the row."""
    accept(app, expires_at=utcnow() + timedelta(minutes=2))
    change_portal(app, line_cap=0)
    pass_time(app, timedelta(minutes=3))
    deadlock = OperationalError("INSERT", {}, DeadlockDetected())
    with app.app_context():
        abandoned.expire_abandoned()
        followed = Mock(side_effect=[deadlock, None])
        monkeypatch.setattr(news, "_follow_up", followed)
        with pytest.raises(DatabaseBusy):
            news.follow_up_ended()
        assert news.follow_up_ended() == 1
    assert followed.call_count == 2


def test_a_deadline_that_cannot_be_applied_holds_up_no_other(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [accept(app, to_number=f"+493090190{number}") for number in range(3)]
    work(app)
    pass_time(app, timedelta(hours=5))
    tried = fail_once_for(monkeypatch, deadlines, "_apply_deadline", ids[0])
    with app.app_context():
        assert deadlines.apply_deadlines() == 2
        assert deadlines.apply_deadlines() == 0
    assert tried.count(ids[0]) == 1
    assert sorted(seen(app, id).state for id in ids) == [State.MISSED, State.MISSED, State.STARTED]


def test_a_portal_that_cannot_be_counted_holds_up_no_other(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(app)
    monkeypatch.setattr(counting, "_resting", Resting("test 0", 60))
    tried = fail_once_for(monkeypatch, counting, "_recount", 1)
    with app.app_context():
        assert counting.count_changed() == 0
        assert counting.count_changed() == 0
    assert tried == [1]


def test_a_quarter_of_an_hour_with_very_many_callbacks_is_counted_once_a_minute(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are read again for each change."""
    monkeypatch.setattr(counting, "_resting", Resting("test 1", 60))
    monkeypatch.setattr(counting, "MANY_CALLBACKS", 2)
    with app.app_context():
        for number in range(5):
            accept(app, to_number=f"+493090190{number}")
            assert bool(counting.count_changed()) == (number < 3)
        monkeypatch.setattr(counting, "_resting", Resting("test 2", 60))
        assert counting.count_changed() == 1


def test_a_stoppage_that_cannot_be_told_holds_up_no_other(
    app: Flask, administrator: Actor, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line_id in ("reg150907", "sip7"):
        with app.app_context(), writing() as session:
            portal = session.get_one(Portal, 1, with_for_update=True)
            portal.stop_line(line_id, utcnow() + timedelta(hours=1))
    began: list[str] = []
    begin = stoppages._begin

    def fails(session: Session, stoppage: stoppages.Stoppage) -> None:
        began.append(stoppage.tag)
        if len(began) == 1:
            raise ValueError("as nobody foresaw")
        begin(session, stoppage)

    monkeypatch.setattr(stoppages, "_begin", fails)
    walk = stoppages.StoppageWalk()
    with app.app_context():
        walk.go_on()
        walk.go_on()
        with reading() as session:
            told = list(session.scalars(select(ToldStoppage.tag)))
    assert len(set(began)) == len(began)
    assert told == began[1:]

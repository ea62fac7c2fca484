"""Callbacks that ended long ago are forgotten with everything that belongs to them; what is not over never is."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from bx24app.database import db, purge, reading, statements, writing
from bx24app.models import Attempt, Callback, Credential, Decision, ReceivedEvent, RestCall, utcnow
from bx24app.services import retention
from bx24app.services.portals import tokens
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, follow_calls, pass_time, work


def forget(app: Flask) -> int:
    with app.app_context():
        return retention.purge_callbacks()


def counts(app: Flask) -> list[int]:
    with app.app_context(), reading() as session:
        models = (Callback, Attempt, Decision, ReceivedEvent)
        return [session.scalars(select(func.count()).select_from(model)).one() for model in models]


def test_an_old_callback_goes_with_its_attempts_decisions_and_events(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    accept(app)
    work(app)
    portal.telephony.calls[0].hang_up()
    follow_calls(app, portal)
    pass_time(app, timedelta(days=364))
    assert forget(app) == 0
    assert all(counts(app))
    pass_time(app, timedelta(days=2))
    assert forget(app) == 1
    assert counts(app) == [0, 0, 0, 0]


@pytest.mark.parametrize("state", ["queued", "unknown"])
def test_one_that_is_not_over_stays_however_old_it_is(
    app: Flask, manager: Actor, portal: FakePortal, state: str
) -> None:
    accept(app)
    if state == "unknown":
        portal.faults.add("drop_before", "voximplant.callback.start")
        work(app)
    pass_time(app, timedelta(days=400))
    assert forget(app) == 0
    assert counts(app)[0] == 1


def test_many_are_forgotten_in_portions(app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PURGED_AT_ONCE", 2)
    for number in range(3):
        id = accept(app, to_number=f"+493090182{number}")
        assert manager.asks("POST", f"/callbacks/{id}/cancel").status_code == 200
    pass_time(app, timedelta(days=366))
    assert [forget(app), forget(app), forget(app)] == [2, 1, 0]


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_purge_commits_by_batches_and_the_next_one_goes_on(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch, oldest_first: bool
) -> None:
    monkeypatch.setattr(statements, "PURGE_BATCH", 2)
    deletes: list[str] = []
    with app.app_context():
        with writing() as session:
            for age in (9, 9, 9, 9, 9, 9, 9, 1):
                made_at = utcnow() - timedelta(days=age)
                session.add(RestCall(portal_id=1, method="m", parameters={}, duration_ms=1, made_at=made_at))
            session.execute(update(RestCall).where(RestCall.method != "m").values(made_at=utcnow() - timedelta(days=9)))
            all_rows = session.scalar(select(func.count(RestCall.id))) or 0
        event.listen(db.engine, "before_cursor_execute", lambda *given: deletes.append(given[2]))
        is_old = RestCall.made_at < utcnow() - timedelta(days=7)
        first = purge(RestCall, is_old, limit=5, oldest_first=oldest_first)
        assert (first, sum(one.startswith("DELETE") for one in deletes)) == (5, 3)
        assert purge(RestCall, is_old) == all_rows - 6
        assert purge(RestCall, is_old, oldest_first=oldest_first) == 0
        with reading() as session:
            assert len(session.scalars(select(RestCall)).all()) == 1


def test_what_is_used_while_a_purge_looks_stays(app: Flask, administrator: Actor, manager: Actor) -> None:
    def age(at: Any) -> None:
        with app.app_context(), writing() as session:
            session.execute(update(Credential).where(Credential.service_since.is_(None)).values(used_at=at))

    def use(*given: Any) -> None:
        if given[2].startswith("SELECT credential.id"):
            user = threading.Thread(target=age, args=(utcnow(),))
            user.start()
            user.join()

    age(utcnow() - timedelta(days=9))
    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", use)
        assert tokens.purge_idle() == 0
        event.remove(db.engine, "after_cursor_execute", use)
        age(utcnow() - timedelta(days=9))
        assert tokens.purge_idle() == 1

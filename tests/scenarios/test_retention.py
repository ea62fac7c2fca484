"""Callbacks that ended long ago are forgotten with everything that belongs to them; what is not over never is."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from bx24app.database import reading
from bx24app.models import Attempt, Callback, Decision, ReceivedEvent
from bx24app.services import retention
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import accept, pass_time, work


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
    portal.events.wait_until_idle()
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

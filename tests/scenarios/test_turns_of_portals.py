"""Whose turn it is to dial: portals with nothing that they may dial keep no other from theirs."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Callback, PortalSettings, State, Throttle, utcnow
from bx24app.services.dialling import queue
from bx24app.services.runtime import slow_portals, wakeup
from tests.fake_bitrix24 import FakeApp, FakeBitrix24
from tests.support.actors import Actor
from tests.support.waiting import accept

FULL = 4


def test_portals_whose_lines_are_full_keep_nobody_waiting(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    """More of them than are looked at together, who were never served, and their pause is over each time."""
    under_way = []
    for number in range(FULL):
        portal = fake.add_portal(f"full{number}")
        assert Actor(manager.client, portal, application, portal.administrator).installs().status_code == 200
        under_way.append(accept(app, portal_id=number + 2, to_number="+4930901821"))
        accept(app, portal_id=number + 2)
    now = utcnow()
    with app.app_context(), writing() as session:
        session.execute(update(Callback).where(Callback.id.in_(under_way)).values(state=State.STARTED))
        session.execute(update(PortalSettings).where(PortalSettings.portal_id > 1).values(line_cap=1))
        session.execute(update(Throttle).where(Throttle.portal_id == 1).values(claimed_at=now - timedelta(seconds=1)))
    theirs = accept(app)
    leased = []
    for look in range(1, FULL + 1):
        with time_machine.travel(now + look * queue.LONGEST_BUSY_PAUSE), app.app_context():
            leased += queue.lease_due(2)
    assert [lease.callback_id for lease in leased] == [theirs]


@pytest.fixture
def greedy(app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp) -> None:
    """The first portal, which was never served, has taken much of the worker; a neighbour has just dialled."""
    portal = fake.add_portal("beta")
    assert Actor(manager.client, portal, application, portal.administrator).installs().status_code == 200
    portal.events.wait_until_idle()
    with app.app_context():
        slow_portals._state().of(wakeup.DIAL).taken.add(1, 2 * slow_portals.MUCH_SECONDS[-1])
        with writing() as session:
            session.execute(update(Throttle).where(Throttle.portal_id == 2).values(claimed_at=utcnow()))


@pytest.mark.usefixtures("greedy")
def test_a_portal_that_takes_much_of_the_worker_dials_behind_the_others(app: Flask) -> None:
    """Dozens of portals whose dials take two seconds each would go before each call of a neighbour."""
    first = accept(app, due_at=utcnow() - timedelta(minutes=1))
    theirs = [accept(app, portal_id=2, to_number=f"+493090182{number}") for number in range(2)]
    with app.app_context():
        assert [lease.callback_id for lease in queue.lease_due(1)] == theirs[:1]
        assert {lease.callback_id for lease in queue.lease_due(4)} == {theirs[1], first}

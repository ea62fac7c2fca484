"""Every REST request that a portal receives is a row of the REST log and counts against its pace, each once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update

from bx24app.database import reading, writing
from bx24app.models import Portal, RestCall, Throttle, utcnow
from bx24app.services import diagnostics
from bx24app.services.dialling import call_history
from bx24app.services.portals import bindings, payment
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor, post_frame
from tests.support.waiting import accept, work

START = "voximplant.callback.start"


@pytest.fixture(autouse=True)
def _stopped_clock() -> Iterator[None]:
    """Nothing drains from the portal's bucket: its level is the number of requests."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


def balance(app: Flask, portal: FakePortal) -> tuple[int, int, float]:
    """What the portal received, what is logged, and what was counted."""
    received = len(portal.requests) + portal.redirects
    with app.app_context(), reading() as session:
        rows = session.scalars(select(func.count()).select_from(RestCall)).one()
        level = session.scalar(select(Throttle.level)) or 0.0
    return received, rows, level


def assert_balanced(app: Flask, portal: FakePortal, received: int) -> None:
    assert balance(app, portal) == (received, received, received)


def test_an_installation_counts_its_question_and_its_bindings(
    app: Flask, administrator: Actor, portal: FakePortal
) -> None:
    assert administrator.installs().status_code == 200
    portal.events.wait_until_idle()
    # The last one asks who may bring the application token of ONAPPINSTALL.
    assert [recorded.path for recorded in portal.requests] == ["batch"] * 3 + ["profile"]
    assert_balanced(app, portal, 4)
    assert administrator.installs().status_code == 200
    portal.events.wait_until_idle()
    assert_balanced(app, portal, 6)  # Everything is bound already.


def test_an_installation_that_is_refused_counts_where_the_portal_is_known(
    app: Flask, administrator: Actor, portal: FakePortal, application: FakeApp
) -> None:
    stranger = Actor(administrator.client, portal, application, portal.manager)
    post = portal.install(application)
    post_frame(stranger.client, "/install", portal.launch(application, portal.manager))
    assert balance(app, portal) == (1, 0, 0)
    assert post_frame(administrator.client, "/install", post).status_code == 200
    portal.finish_installation(application)
    portal.events.wait_until_idle()
    received, rows, level = balance(app, portal)
    assert (rows, level) == (received - 1, received - 1)
    refused = post_frame(stranger.client, "/install", portal.launch(application, portal.manager))
    assert refused.status_code == 403
    assert balance(app, portal) == (received + 1, rows + 1, level + 1)


def test_a_launch_counts_once_and_both_tries_after_a_move(app: Flask, manager: Actor, portal: FakePortal) -> None:
    received = balance(app, portal)[0]
    assert_balanced(app, portal, received)
    assert manager.opens().status_code == 200
    assert_balanced(app, portal, received + 1)
    portal.rename()
    assert manager.opens().status_code == 200
    assert portal.redirects == 1
    assert_balanced(app, portal, received + 3)
    with app.app_context(), reading() as session:
        [first, second] = session.scalars(select(RestCall).order_by(RestCall.id.desc()).limit(2)).all()[::-1]
    assert (first.error, second.error, second.status) == ("moved", None, 200)


def dial(app: Flask) -> None:
    assert work(app) == 1


def read_history(app: Flask) -> None:
    with app.app_context():
        call_history.read_next_history()


def examine(app: Flask) -> None:
    with app.app_context():
        diagnostics.examine_portal(1)


def bind(app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(bound_at=utcnow() - timedelta(days=2)))
    with app.app_context():
        assert bindings.rebind_due() == 1


def ask_payment(app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(payment_hinted_at=utcnow()))
    with app.app_context():
        assert payment.check_payments() == 1


@pytest.mark.parametrize("is_expired", [False, True], ids=["", "expired token"])
@pytest.mark.parametrize("job", [read_history, examine, bind, ask_payment])
def test_every_job_counts_what_it_asks(
    app: Flask, manager: Actor, portal: FakePortal, job: Callable[[Flask], None], is_expired: bool
) -> None:
    accept(app)
    dial(app)
    received = balance(app, portal)[0]
    assert_balanced(app, portal, received)
    if is_expired:
        portal.cloud.registry.expire_access(portal.member_id)
    job(app)
    asked = balance(app, portal)[0]
    assert asked >= received + 1 + is_expired
    assert_balanced(app, portal, asked)


@pytest.mark.parametrize("fault", ["", "error", "html_502", "malformed_result", "drop_after"])
def test_a_dial_is_counted_when_it_is_leased_and_never_again(
    app: Flask, manager: Actor, portal: FakePortal, fault: str
) -> None:
    received = balance(app, portal)[0]
    if fault:
        portal.faults.add(fault, START, **({"code": "ERROR_CORE"} if fault == "error" else {}))
    accept(app)
    dial(app)
    assert_balanced(app, portal, received + 1)
    with app.app_context(), reading() as session:
        row = session.scalars(select(RestCall).where(RestCall.method == START)).one()
    assert (row.error is None) == (fault == "")


def test_an_answer_that_cannot_be_used_is_logged_as_such(app: Flask, manager: Actor, portal: FakePortal) -> None:
    accept(app)
    dial(app)
    received = balance(app, portal)[0]
    portal.faults.add("malformed_result", "voximplant.statistic.get")
    read_history(app)
    assert_balanced(app, portal, received + 1)
    with app.app_context(), reading() as session:
        row = session.scalars(select(RestCall).order_by(RestCall.id.desc()).limit(1)).one()
    assert (row.method, row.error) == ("voximplant.statistic.get", "unreadable")


def test_lists_count_too(app: Flask, manager: Actor, portal: FakePortal) -> None:
    received = balance(app, portal)[0]
    assert manager.asks("GET", "/lines?refresh=1").status_code == 200
    assert_balanced(app, portal, received + 1)

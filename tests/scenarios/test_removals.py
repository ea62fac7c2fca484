"""A removal that an event tells: nothing can be reached at once, and data go on proof, not on anybody's word."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, DoNotCall, Form, Portal, PortalState, utcnow
from bx24app.services.portals import uninstall
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor

REMOVAL = "ONAPPUNINSTALL"


def row(app: Flask) -> Portal:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal)).one()


def change(app: Flask, **values: object) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(values))


def confirm(app: Flask) -> int:
    with app.app_context():
        return uninstall.confirm_removals()


def callbacks(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return len(session.scalars(select(Callback.id)).all())


def forge(portal: FakePortal, application: FakeApp, *, ts: datetime | None = None) -> int:
    """Send a removal that nobody has made, with the token that every employee's page holds."""
    if ts is not None:
        portal.cloud.clock.advance((ts - utcnow()).total_seconds())
    portal.send_event(application, REMOVAL, {"CLEAN": 1})
    portal.events.wait_until_idle()
    status = portal.events.deliveries[-1].status
    assert status is not None
    return status


@pytest.fixture
def asked(visitor: Visitor) -> str:
    """A website's request; returns the customer's link."""
    return str(json_of(visitor.asks())["status_url"])


def test_everything_is_closed_at_once_and_comes_back_where_bitrix24_vouches(
    app: Flask, desk: Actor, visitor: Visitor, asked: str, portal: FakePortal, application: FakeApp
) -> None:
    key = json_of(desk.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "Shop"}))["secret"]
    bearer = {"Authorization": f"Bearer {key}"}
    assert desk.client.get("/api/v1/callbacks", headers=bearer).status_code == 200
    assert forge(portal, application) == 200
    assert desk.client.get("/api/v1/callbacks", headers=bearer).status_code == 401
    assert desk.asks("GET", "/callbacks").status_code == 401
    assert visitor.looks(asked).status_code == 404
    assert visitor.asks(number="+4930901999").status_code == 403
    assert confirm(app) == 1
    assert desk.client.get("/api/v1/callbacks", headers=bearer).status_code == 200
    assert desk.asks("GET", "/callbacks").status_code == 200
    assert json_of(visitor.looks(asked))["state"] == "queued"
    assert row(app).state == PortalState.INSTALLED


@pytest.mark.parametrize(
    ("fault", "code"), [("error", "QUERY_LIMIT_EXCEEDED"), ("html_502", ""), ("error", "PAYMENT_REQUIRED")]
)
def test_an_answer_that_is_none_deletes_nothing_and_it_is_asked_again(
    app: Flask,
    fake: FakeBitrix24,
    manager: Actor,
    portal: FakePortal,
    application: FakeApp,
    fault: str,
    code: str,
) -> None:
    manager.requests_callback()
    fake.auth_server.faults.add(fault, "app.info", times=1, **({"code": code, "status": 503} if code else {}))
    # Other people's tokens would be asked next.
    with app.app_context(), writing() as session:
        session.execute(update(Credential).where(Credential.service_since.is_(None)).values(state="dead"))
    fake.auth_server.faults.add("html_502", "oauth/token", times=2)
    forge(portal, application)
    assert confirm(app) == 1
    assert (row(app).state, callbacks(app)) == (PortalState.UNINSTALLED, 1)
    assert confirm(app) == 0
    change(app, removal_due_at=utcnow())
    assert confirm(app) == 1
    assert (row(app).state, callbacks(app)) == (PortalState.INSTALLED, 1)


def test_an_unpaid_portal_comes_back_when_it_is_paid(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    manager.requests_callback()
    portal.paid = False
    manager.asks("GET", "/lines?refresh=1")
    assert row(app).state == PortalState.UNPAID
    portal.cloud.registry.expire_access(portal.member_id)
    forge(portal, application)
    assert confirm(app) == 1
    assert (row(app).state, callbacks(app)) == (PortalState.UNINSTALLED, 1)
    portal.paid = True
    change(app, removal_due_at=utcnow())
    assert confirm(app) == 1
    assert (row(app).state, callbacks(app)) == (PortalState.INSTALLED, 1)


@pytest.mark.parametrize("clean", [True, False])
def test_a_disconnected_portal_loses_its_data_only_after_the_doubt_of_three_days(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, application: FakeApp, clean: bool
) -> None:
    manager.requests_callback()
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(state="dead", service_since=None))
        session.execute(update(Portal).values(state=PortalState.DISCONNECTED))
    # Dead for good: their refresh tokens are not known any more.
    for token in portal.cloud.registry.tokens:
        token.refresh_spent = True
    portal.send_event(application, REMOVAL, {"CLEAN": int(clean)})
    portal.events.wait_until_idle()
    assert confirm(app) == 1
    with app.app_context():
        assert uninstall.purge_uninstalled() == 0
    assert (row(app).state, callbacks(app)) == (PortalState.UNINSTALLED, 1)
    change(app, uninstalled_at=utcnow() - timedelta(days=3, hours=1))
    with app.app_context():
        assert uninstall.purge_uninstalled() == 1
        assert uninstall.purge_uninstalled() == 0
    assert callbacks(app) == 0
    with app.app_context(), reading() as session:
        assert len(session.scalars(select(Portal)).all()) == (0 if clean else 1)


@pytest.mark.parametrize("said", [(0, 1), (1, 0), (1, 0, 1)])
def test_settings_that_an_administrator_keeps_are_deleted_by_nobody_elses_event(
    app: Flask, desk: Actor, visitor: Visitor, portal: FakePortal, application: FakeApp, said: tuple[int, ...]
) -> None:
    """A former employee may send one before the genuine one, or after it; and which one it is nobody can tell."""
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201
    change(app, removal_due_at=utcnow() + timedelta(minutes=5))
    for clean in said:
        portal.send_event(application, REMOVAL, {"CLEAN": clean})
        portal.events.wait_until_idle()
    portal.events.pause()
    portal.uninstall(application)
    change(app, removal_due_at=utcnow())
    assert confirm(app) == 1
    assert row(app).state == PortalState.UNINSTALLED
    with app.app_context(), reading() as session:
        assert len(session.scalars(select(Form)).all()) == 1
        assert len(session.scalars(select(DoNotCall)).all()) == 1


def test_an_administrator_who_opens_the_app_brings_a_doubted_portal_back(
    app: Flask, fake: FakeBitrix24, manager: Actor, administrator: Actor, portal: FakePortal, application: FakeApp
) -> None:
    manager.requests_callback()
    forge(portal, application)
    assert administrator.opens().status_code == 200
    assert (row(app).state, row(app).removal_told_at, callbacks(app)) == (PortalState.INSTALLED, None, 1)
    assert confirm(app) == 0


def test_a_removal_of_the_future_is_refused(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    assert forge(portal, application, ts=utcnow() + timedelta(hours=1)) == 403
    assert (row(app).state, row(app).removal_told_at) == (PortalState.INSTALLED, None)


def test_the_next_forged_removal_closes_nothing_before_bitrix24_is_asked(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    forge(portal, application)
    assert confirm(app) == 1
    forge(portal, application)
    assert manager.asks("GET", "/callbacks").status_code == 200
    assert confirm(app) == 0
    change(app, removal_due_at=utcnow())
    assert confirm(app) == 1
    assert manager.asks("GET", "/callbacks").status_code == 200


@pytest.mark.parametrize("clean", [True, False])
def test_a_told_removal_is_carried_out_though_a_request_was_refused_before(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, clean: bool
) -> None:
    manager.requests_callback()
    portal.uninstall(application, clean=clean)
    portal.events.wait_until_idle()
    with app.app_context():
        # As when a job has read the portal's state just before the event came.
        change(app, state=PortalState.INSTALLED)
    manager.asks("GET", "/lines?refresh=1")
    assert row(app).state == PortalState.UNINSTALLED
    assert confirm(app) == 1
    assert callbacks(app) == 0
    with app.app_context(), reading() as session:
        assert len(session.scalars(select(Portal)).all()) == (0 if clean else 1)


def test_a_removal_concluded_first_and_told_afterwards_is_carried_out_at_once(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    manager.requests_callback()
    portal.events.pause()
    portal.uninstall(application)
    manager.asks("GET", "/lines?refresh=1")
    assert row(app).state == PortalState.UNINSTALLED
    portal.events.resume()
    portal.events.wait_until_idle()
    assert confirm(app) == 1
    assert callbacks(app) == 0


def test_a_key_reads_nothing_after_a_removal_whose_event_was_lost(
    app: Flask, desk: Actor, visitor: Visitor, asked: str, portal: FakePortal, application: FakeApp
) -> None:
    key = json_of(desk.asks("POST", "/api-keys", {"form_key": visitor.form_key, "name": "Shop"}))["secret"]
    portal.events.pause()
    portal.uninstall(application)
    desk.asks("GET", "/lines?refresh=1")
    assert row(app).state == PortalState.UNINSTALLED
    answer = desk.client.get("/api/v1/callbacks", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert visitor.looks(asked).status_code == 404

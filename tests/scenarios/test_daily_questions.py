"""Portals whose address has lapsed: the authorization server is asked daily, and only its word counts."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from bx24app.bitrix24.authorization import AppInfo
from bx24app.bitrix24.errors import ApplicationRemoved
from bx24app.database import reading, writing
from bx24app.models import Credential, Portal, PortalState, utcnow
from bx24app.services.portals import api, token_renewal
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import Actor
from tests.support.sites import canary

DAY = timedelta(days=1)


def the_portal(app: Flask) -> Portal:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal).order_by(Portal.id)).first() or Portal()


def let_pass(app: Flask, period: timedelta) -> None:
    with app.app_context(), writing() as session:
        for portal in session.scalars(select(Portal)):
            if portal.address_due_at is not None:
                portal.address_due_at -= period


def check(app: Flask) -> int:
    with app.app_context():
        return api.check_portals()


def test_a_portal_is_asked_about_once_a_day(app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal) -> None:
    asked = len(fake.auth_server.server.requests)
    assert check(app) == 0, "the installation has just told"
    let_pass(app, DAY - timedelta(minutes=5))
    assert check(app) == 0
    let_pass(app, timedelta(minutes=6))
    portal.requests.clear()
    assert (check(app), check(app)) == (1, 0)
    assert len(fake.auth_server.server.requests) == asked + 1
    assert portal.requests == [], "whoever is at the portal's address is not asked"
    let_pass(app, DAY)
    assert check(app) == 1


def test_who_buys_a_lapsed_domain_gets_no_token(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    """The portal has moved, and told only the authorization server."""
    with canary() as bird:
        with app.app_context(), writing() as session:
            session.execute(update(Portal).values(domain=bird.host, client_endpoint=f"http://{bird.host}/rest/"))
        let_pass(app, DAY)
        assert check(app) == 1
        assert the_portal(app).client_endpoint == portal.client_endpoint
        assert manager.asks("GET", "/lines?refresh=1").status_code == 200


def test_an_answer_that_others_have_overtaken_changes_nothing(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was on its way, an administrator has installed the app again, or the portal has moved."""

    def installed_again(_: int) -> AppInfo:
        assert administrator.installs().status_code == 200
        raise ApplicationRemoved("NOT_FOUND", "")

    told = token_renewal.ask_app_info

    def moved(credential_id: int) -> AppInfo:
        answer = told(credential_id)
        with writing() as session:
            session.execute(update(Portal).values(client_endpoint="https://new.example.com/rest/"))
        return answer

    for overtaken in (installed_again, moved):
        monkeypatch.setattr(token_renewal, "ask_app_info", overtaken)
        let_pass(app, DAY)
        assert check(app) == 1
        assert the_portal(app).state == PortalState.INSTALLED
    assert the_portal(app).client_endpoint == "https://new.example.com/rest/"


def test_a_portal_that_is_gone_by_the_answer_is_not_looked_for(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: int) -> AppInfo:
        with writing() as session:
            session.execute(delete(Portal))
        raise ApplicationRemoved("NOT_FOUND", "")

    monkeypatch.setattr(token_renewal, "ask_app_info", gone)
    let_pass(app, DAY)
    assert check(app) == 1


def test_an_access_token_that_has_expired_is_renewed_first(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    fake.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - DAY))
    let_pass(app, DAY)
    assert check(app) == 1
    assert fake.auth_server.renewals == 1
    assert the_portal(app).state == PortalState.INSTALLED


def test_an_address_that_we_may_not_talk_to_disconnects_the_portal(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    fake.auth_server.endpoints[portal.member_id] = "ftp://somewhere.example/rest/"
    let_pass(app, DAY)
    assert check(app) == 1
    assert the_portal(app).state == PortalState.DISCONNECTED
    fake.auth_server.endpoints.clear()
    administrator = Actor(manager.client, portal, manager.application, portal.administrator)
    assert administrator.opens().status_code == 200
    assert the_portal(app).state == PortalState.INSTALLED


def test_a_portal_without_the_app_is_closed(app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal) -> None:
    fake.auth_server.faults.add("error", "app.info", code="NOT_INSTALLED", status=403)
    let_pass(app, DAY)
    assert check(app) == 1
    assert the_portal(app).state == PortalState.UNINSTALLED


@pytest.mark.parametrize("fault", ["html_502", "drop_before"])
def test_an_authorization_server_that_says_nothing_is_asked_again_in_an_hour(
    app: Flask, manager: Actor, fake: FakeBitrix24, fault: str
) -> None:
    fake.auth_server.faults.add(fault, "app.info", times=2)
    let_pass(app, DAY)
    assert (check(app), check(app)) == (1, 0)
    assert the_portal(app).state == PortalState.INSTALLED
    let_pass(app, timedelta(minutes=61))
    assert check(app) == 1


def test_the_answer_about_another_portal_moves_nothing(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    before = the_portal(app).client_endpoint
    with app.app_context():
        access = token_renewal.service_access(1)
    token = fake.registry.find(access.access_token, "access")
    assert token is not None
    token.member_id = fake.add_portal("beta").member_id
    let_pass(app, DAY)
    check(app)
    assert the_portal(app).client_endpoint == before


def test_many_portals_are_asked_a_few_at_a_time(app: Flask, manager: Actor) -> None:
    now = utcnow()
    with app.app_context(), writing() as session:
        session.add_all(
            Portal(
                member_id=f"m{number}",
                domain="x.example",
                client_endpoint="https://x.example/rest/",
                app_code="a",
                app_id="1",
                installed_at=now,
            )
            for number in range(25)
        )
    assert [check(app) for _ in range(4)] == [10, 10, 5, 0], "without access there is nothing to ask with"

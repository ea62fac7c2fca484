"""Whose access is used: the person's, the serving administrator's, the next one's, nobody's."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.errors import NotPermitted, PortalDisconnected
from bx24app.models import Callback, Credential, Portal, PortalState, Source, utcnow
from bx24app.services.dialling import dial, queue
from bx24app.services.portals import token_renewal, tokens
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.waiting import follow_calls

LINES = "voximplant.line.get"
START = "voximplant.callback.start"


@pytest.fixture
def deputies(manager: Actor, portal: FakePortal, application: FakeApp) -> list[Actor]:
    """Four more administrators who have opened the app, one after the other."""
    people = [portal.add_user(name, "Deputy", admin=True) for name in ("Berta", "Carl", "Dora", "Emil")]
    found = [Actor(manager.client, portal, application, user) for user in people]
    for deputy in found:
        assert deputy.opens().status_code == 200
    return found


def stored(app: Flask, user_id: int) -> Credential | None:
    with app.app_context(), reading() as session:
        return session.scalar(select(Credential).where(Credential.user_id == user_id))


def state(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.state)).one()


def forget_expiry(app: Flask, portal: FakePortal) -> None:
    """Every access token is past its hour, and we know it."""
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))


def asks_lines(actor: Actor) -> dict[str, Any]:
    return json_of(actor.asks("GET", "/lines?refresh=1"))


def process(app: Flask) -> None:
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dial.dial(claim)


def test_tokens_are_kept_once_per_person(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    """Two copies of one pair would void each other: the one that is renewed first makes the other's useless."""
    administrator.installs()
    portal.events.wait_until_idle()
    for _ in range(2):
        forget_expiry(app, portal)
        assert asks_lines(administrator)["problem"] is None
        shown = json_of(administrator.requests_callback())
        process(app)
        assert administrator.sees(shown["id"])["state"] == "started"
        portal.telephony.calls[-1].hang_up()
        follow_calls(app, portal)
    assert state(app) == PortalState.INSTALLED


class TestStandingBy:
    def test_three_administrators_stand_by(self, app: Flask, deputies: list[Actor], portal: FakePortal) -> None:
        with app.app_context():
            found = tokens.serving_administrators(1)
        assert found == [portal.administrator.id, *(deputy.user.id for deputy in deputies[:3])]

    def test_they_are_told(self, deputies: list[Actor], administrator: Actor, manager: Actor) -> None:
        def told(actor: Actor) -> str:
            actor.opens()
            headers = {"Authorization": f"Bearer {actor.ticket}"}
            return actor.client.get("/desk/view/settings/check", headers=headers).text

        assert "The app is connected through you." in told(administrator)
        assert "Connected through Anna Schmidt. If that access ends, yours takes over." in told(deputies[0])
        assert "yours takes over" not in told(deputies[3])
        assert "yours takes over" not in told(manager)

    def test_the_next_takes_over_from_a_dismissed_one(
        self, app: Flask, deputies: list[Actor], portal: FakePortal
    ) -> None:
        portal.administrator.dismissed = True
        deputies[0].user.dismissed = True
        assert asks_lines(deputies[2])["problem"] is None
        assert portal.requests_for(LINES)[-1].user_id == deputies[1].user.id
        assert state(app) == PortalState.INSTALLED

    def test_the_next_takes_over_when_a_renewal_is_refused(
        self, app: Flask, deputies: list[Actor], portal: FakePortal, fake: FakeBitrix24
    ) -> None:
        forget_expiry(app, portal)
        fake.auth_server.faults.add("error", "oauth/token", code="invalid_grant", status=400)
        assert asks_lines(deputies[2])["problem"] is None
        assert portal.requests_for(LINES)[-1].user_id == deputies[0].user.id

    def test_one_who_lost_the_right_stands_back(self, app: Flask, deputies: list[Actor], portal: FakePortal) -> None:
        portal.administrator.rights.clear()
        assert asks_lines(deputies[2])["problem"] is None
        with app.app_context():
            assert tokens.serving_administrators(1)[-1] == portal.administrator.id

    def test_a_demoted_one_serves_no_longer_once_they_open_the_app(
        self, app: Flask, deputies: list[Actor], administrator: Actor, portal: FakePortal
    ) -> None:
        portal.administrator.admin = False
        administrator.opens()
        with app.app_context():
            assert portal.administrator.id not in tokens.serving_administrators(1)

    def test_with_nobody_left_the_portal_is_disconnected_and_anybody_is_told_the_way_back(
        self, app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.administrator.dismissed = True
        manager.asks("GET", "/lines?refresh=1")
        assert state(app) == PortalState.DISCONNECTED
        page = manager.opens().text
        assert "The app is not connected with this Bitrix24 any more" in page
        assert "An administrator has to open the app once" in page
        assert json_of(manager.requests_callback())["code"] == "portal_disconnected"
        successor = Actor(manager.client, portal, application, portal.add_user("Nora", "New", admin=True))
        assert "not connected" not in successor.opens().text
        assert state(app) == PortalState.INSTALLED
        assert manager.requests_callback().status_code == 201

    def test_a_website_callback_goes_on_under_the_next(
        self, app: Flask, deputies: list[Actor], portal: FakePortal
    ) -> None:
        shown = json_of(deputies[2].requests_callback())
        with app.app_context(), writing() as session:
            session.execute(update(Callback).values(source=Source.WEBSITE, requested_by=None))
        portal.administrator.dismissed = True
        process(app)
        assert deputies[2].sees(shown["id"])["state"] == "queued"
        process(app)
        assert deputies[2].sees(shown["id"])["state"] == "started"
        outcomes = [attempt["outcome"] for attempt in deputies[2].sees(shown["id"])["attempts"]]
        assert outcomes == ["not_executed", "started"]
        assert len(portal.telephony.dials) == 1


class TestAPersonsCallback:
    def test_it_is_dialled_under_their_own_access(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        manager.requests_callback()
        process(app)
        assert portal.requests_for(START)[-1].user_id == manager.user.id

    def test_their_access_is_kept_until_it_has_ended(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        shown = json_of(manager.requests_callback(scheduled_at=(utcnow() + timedelta(days=2)).isoformat()))
        with app.app_context(), writing() as session:
            session.execute(update(Credential).values(used_at=utcnow() - timedelta(hours=3)))
        with app.app_context():
            assert tokens.purge_idle() == 0
        manager.asks("POST", f"/callbacks/{shown['id']}/cancel")
        with app.app_context():
            assert tokens.purge_idle() == 1
        assert stored(app, manager.user.id) is None
        assert stored(app, portal.administrator.id) is not None

    @pytest.mark.parametrize("stands_in", [False, True])
    @pytest.mark.parametrize("how", ["at the dial", "at the renewal", "forgotten", "system user"])
    def test_dead_when_due_it_is_not_permitted_unless_the_app_stands_in(
        self,
        app: Flask,
        administrator: Actor,
        manager: Actor,
        portal: FakePortal,
        fake: FakeBitrix24,
        how: str,
        stands_in: bool,
    ) -> None:
        administrator.opens()
        assert administrator.asks("PATCH", "/settings", {"stands_in": stands_in}).status_code == 200
        shown = json_of(manager.requests_callback())
        manager.renews_ticket()  # The portal still names them after they asked for it.
        if how == "at the dial":
            manager.user.dismissed = True
        elif how == "at the renewal":
            forget_expiry(app, portal)
            with app.app_context():
                token_renewal.service_access(1)
            fake.auth_server.faults.add("error", "oauth/token", code="invalid_grant", status=400)
        elif how == "system user":
            portal.move_to_system_user(manager.user)
            forget_expiry(app, portal)
        else:
            with app.app_context(), writing() as session:
                session.delete(session.scalars(select(Credential).where(Credential.user_id == manager.user.id)).one())
        process(app)
        if stands_in and how == "at the dial":
            process(app)
        seen = administrator.sees(shown["id"])
        if stands_in:
            assert seen["state"] == "started"
            assert portal.requests_for(START)[-1].user_id == portal.administrator.id
        else:
            assert (seen["state"], seen["reason"]) == ("failed", "not_permitted")
            assert portal.telephony.dials == []
        assert state(app) == PortalState.INSTALLED


def test_a_system_user_goes_on_serving_the_portal(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    successor = portal.move_to_system_user(portal.administrator)
    forget_expiry(app, portal)
    assert asks_lines(manager)["problem"] is None
    assert portal.requests_for(LINES)[-1].user_id == successor.id
    row = stored(app, portal.administrator.id)
    assert row is not None
    assert (row.acting_as, row.service_since is not None) == (successor.id, True)
    with app.app_context(), pytest.raises(NotPermitted):
        token_renewal.person_access(1, portal.administrator.id)


class TestKeepingAlive:
    def test_tokens_idle_for_months_are_renewed_once(self, app: Flask, manager: Actor, fake: FakeBitrix24) -> None:
        with app.app_context():
            assert token_renewal.renew_idle() == 0
            with writing() as session:
                session.execute(update(Credential).values(used_at=utcnow() - timedelta(days=121)))
            assert token_renewal.renew_idle() == 2  # The administrator's and the manager's.
            assert token_renewal.renew_idle() == 0
        assert fake.auth_server.renewals == 2

    def test_one_whose_180_days_are_over_is_buried(
        self, app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
    ) -> None:
        fake.clock.advance(181 * 24 * 3600)
        with app.app_context():
            with writing() as session:
                session.execute(update(Credential).values(used_at=utcnow() - timedelta(days=181)))
            token_renewal.renew_idle()
            with pytest.raises(PortalDisconnected):
                token_renewal.service_access(1)
        assert state(app) == PortalState.DISCONNECTED

    def test_nobody_is_renewed_without_need(
        self, app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal
    ) -> None:
        for _ in range(3):
            manager.opens()
            assert asks_lines(manager)["problem"] is None
        assert fake.auth_server.renewals == 0

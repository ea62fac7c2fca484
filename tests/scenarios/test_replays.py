"""What was genuine once, or elsewhere: replayed posts and events, and tokens that belong to another portal."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Credential, Portal, utcnow
from bx24app.services.dialling import dial, queue
from bx24app.services.portals import uninstall
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_launch import PAGES, TICKET, fitting
from tests.support.actors import Actor, json_of, post_frame
from tests.support.fuzzing import counts
from tests.support.sites import Canary, canary
from tests.support.waiting import follow_calls


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listening:
        yield listening


def row(app: Flask) -> dict[str, Any]:
    with app.app_context(), reading() as session:
        portal = session.scalars(select(Portal)).one()
        return {name: getattr(portal, name) for name in ("client_endpoint", "application_token_digest", "state")}


class TestFramePosts:
    @pytest.mark.parametrize("path", PAGES)
    def test_one_of_more_than_an_hour_ago_opens_nothing(
        self, app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, path: str
    ) -> None:
        post = fitting(administrator.launches(), path)
        assert post_frame(manager.client, path, post).status_code == 200
        before = counts(app)
        portal.cloud.registry.expire_access(portal.member_id)
        response = post_frame(manager.client, path, post)
        assert (response.status_code, TICKET in response.text) == (403, False)
        assert counts(app)["credential"] == before["credential"]

    @pytest.mark.parametrize("path", PAGES)
    def test_one_of_before_the_removal_opens_nothing(
        self, app: Flask, administrator: Actor, manager: Actor, application: FakeApp, portal: FakePortal, path: str
    ) -> None:
        post = fitting(administrator.launches(), path)
        portal.uninstall(application)
        portal.events.wait_until_idle()
        with app.app_context():
            uninstall.confirm_removals()
        response = post_frame(manager.client, path, post)
        assert (response.status_code, TICKET in response.text) == (403, False)
        assert counts(app)["portal"] == 0

    def test_one_within_its_hour_adds_nothing(self, app: Flask, manager: Actor) -> None:
        post = manager.launches()
        post_frame(manager.client, "/", post)
        before = counts(app)
        assert post_frame(manager.client, "/", post).status_code == 200
        after = counts(app)
        assert {name: after[name] - count for name, count in before.items() if after[name] != count} == {"rest_call": 1}


class TestEvents:
    def test_the_events_of_a_call_change_nothing_the_second_time(
        self, app: Flask, manager: Actor, client: FlaskClient, portal: FakePortal
    ) -> None:
        id = json_of(manager.requests_callback())["id"]
        with app.app_context():
            claim = next(iter(queue.lease_due()), None)
            assert claim is not None
            dial.dial(claim)
        [call] = portal.telephony.calls
        for step in (call.manager_answers, call.customer_answers, call.hang_up):
            step()
        follow_calls(app, portal)
        seen, before = manager.sees(id), counts(app)
        assert seen["state"] == "completed"
        told = [delivery for delivery in portal.events.deliveries if delivery.event.startswith("ONVOXIMPLANT")]
        assert len(told) == 3
        for delivery in (*reversed(told), *told):
            assert client.post("/events", data=dict(delivery.pairs)).status_code == 200
        assert manager.sees(id) == seen
        assert counts(app) == before

    def test_an_old_announcement_brings_no_old_token_back(
        self, app: Flask, manager: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp
    ) -> None:
        old = dict(next(d.pairs for d in portal.events.deliveries if d.event == "ONAPPINSTALL"))
        portal.update(application)
        portal.events.wait_until_idle()
        before = row(app)
        portal.cloud.registry.expire_access(portal.member_id)
        assert client.post("/events", data=old).status_code == 403
        assert row(app) == before


class TestForeignTokens:
    def expire(self, app: Flask, portal: FakePortal) -> None:
        portal.cloud.registry.expire_access(portal.member_id)
        with app.app_context(), writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))

    def test_renewed_tokens_of_another_portal_are_not_kept(
        self, app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal
    ) -> None:
        """They would take this portal's callbacks, and its tokens, to the other one."""
        other = fake.add_portal("beta")
        other.install(manager.application)
        self.expire(app, portal)
        for token in fake.registry.tokens:
            token.member_id = other.member_id
        before = row(app)
        refused = manager.asks("GET", "/lines?refresh=1")
        assert (refused.status_code, json_of(refused)["code"]) == (409, "portal_disconnected")
        assert other.requests == []
        assert row(app)["client_endpoint"] == before["client_endpoint"]
        with app.app_context(), reading() as session:
            assert "dead" in session.scalars(select(Credential.state)).all()
        assert row(app)["state"] == "disconnected"

    def test_a_move_that_the_authorization_server_tells_of_another_portal_is_not_followed(
        self, app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal, bird: Canary
    ) -> None:
        other = fake.add_portal("beta")
        other.install(manager.application)
        before = row(app)
        portal.faults.add("moved", "voximplant.line.get", host=bird.host)
        for token in fake.registry.tokens:
            token.member_id = other.member_id
        assert manager.asks("GET", "/lines?refresh=1").status_code == 409
        assert row(app)["client_endpoint"] == before["client_endpoint"]
        assert other.requests == []

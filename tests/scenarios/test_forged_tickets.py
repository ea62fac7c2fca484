"""Forgeries: whatever somebody pretends, nothing opens, nothing is stored, and nothing reaches their server."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import Signer, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode
from sqlalchemy import select, update

from bx24app.bitrix24.connections import authorization_server
from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, Portal, ReceivedEvent, Rejection, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal
from bx24app.services.security import tickets
from bx24app.services.websites import challenge
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.scenarios.test_launch import PAGES, changed, fitting
from tests.support.actors import Actor, json_of, post_frame
from tests.support.sites import Canary, canary
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listening:
        yield listening


def endpoint(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.client_endpoint)).one()


def expire(app: Flask, portal: FakePortal) -> None:
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))


class TestAddresses:
    @pytest.mark.parametrize("path", PAGES)
    def test_addresses_in_a_post_are_asked_nothing(self, manager: Actor, path: str, bird: Canary) -> None:
        forged = {
            "DOMAIN": bird.host,
            "SERVER_ENDPOINT": f"{bird.url}/rest/",
            "client_endpoint": f"{bird.url}/rest/",
            "PLACEMENT_OPTIONS": json.dumps({"ID": "1", "URI": f"{bird.url}/x"}),
        }
        launch = fitting(manager.launches(), path)
        post_frame(manager.client, path, changed(launch, **forged))
        unknown = changed(launch, member_id="f" * 32, **forged)
        assert post_frame(manager.client, path, unknown).status_code == 403

    @pytest.mark.parametrize("event", ["ONAPPINSTALL", "ONAPPUPDATE", "ONVOXIMPLANTCALLINIT", "ONAPPPAYMENT"])
    def test_addresses_in_an_event_are_asked_nothing(
        self, app: Flask, client: FlaskClient, manager: Actor, application: FakeApp, event: str, bird: Canary
    ) -> None:
        portal = manager.portal
        token = portal.cloud.registry.issue(application.client_id, portal.member_id, 1)
        auth = {
            "member_id": portal.member_id,
            "application_token": portal.bindings_of(application.client_id).application_token,
            "access_token": token.access,
            "refresh_token": token.refresh,
            "domain": bird.host,
            "server_endpoint": f"{bird.url}/rest/",
            "client_endpoint": f"{bird.url}/rest/",
        }
        data = {"CALL_ID": "x", "CALL_TYPE": "4", "PHONE_NUMBER": "1", "ACCOUNT_SEARCH_ID": "reg1"}
        fields = http_build_query({"event": event, "data": data, "ts": "1795470751", "auth": auth})
        assert client.post("/events", data=dict(fields)).status_code == 200
        assert endpoint(app) == portal.client_endpoint

    def test_a_portal_that_redirects_elsewhere_is_not_followed(
        self, app: Flask, manager: Actor, portal: FakePortal, bird: Canary
    ) -> None:
        for method in ("batch", "voximplant.line.get"):
            portal.faults.add("moved", method, host=bird.host)
        manager.opens()
        manager.asks("GET", "/lines?refresh=1")
        assert endpoint(app) == portal.client_endpoint

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("path", ["oauth/token", "app.info"])
    def test_an_authorization_server_that_redirects_is_not_followed(
        self,
        app: Flask,
        manager: Actor,
        fake: FakeBitrix24,
        portal: FakePortal,
        path: str,
        status: int,
        bird: Canary,
    ) -> None:
        fake.auth_server.faults.add("moved", path, host=bird.host, status=status, times=9)
        expire(app, portal)
        ask = (lambda: authorization_server.app_info("x")) if path == "app.info" else token_renewal.renew_idle
        with app.app_context():
            with writing() as session:
                session.execute(update(Credential).values(used_at=utcnow() - timedelta(days=150)))
            with suppress(ExchangeError):
                ask()
        assert len(fake.auth_server.server.requests) > 1
        with app.app_context(), reading() as session:
            assert session.scalars(select(Credential.state)).first() == "alive"

    def test_our_own_address_comes_from_the_settings(
        self, environ: dict[str, str], administrator: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        post = portal.install(application)
        response = administrator.client.post("/install", query_string=post.query, data=post.form, headers=evil)
        assert response.status_code == 200
        assert "evil.example" not in response.text + str(response.headers)
        bound = portal.bindings_of(application.client_id)
        handlers = {row["handler"] for row in (*bound.events, *bound.placements)}
        assert handlers
        assert all(handler.startswith(environ["BX24APP_PUBLIC_URL"]) for handler in handlers)


def another_letter(letter: str) -> str:
    """Return one of another value: the last bits of a text's last letter stand for nothing."""
    return "A" if letter not in "ABCD" else "z"


class TestTickets:
    @pytest.fixture
    def ticket(self, app: Flask, manager: Actor) -> tickets.Ticket:
        with app.app_context():
            return tickets.read_ticket(manager.ticket)

    def test_every_altered_letter_spoils_it(self, manager: Actor) -> None:
        whole = manager.ticket
        for place in range(0, len(whole), 7):
            letter = another_letter(whole[place])
            manager.ticket = whole[:place] + letter + whole[place + 1 :]
            assert manager.asks("GET", "/lines").status_code == 401
        manager.ticket = whole
        assert manager.asks("GET", "/lines").status_code == 200

    def test_one_signed_by_somebody_else(self, manager: Actor, ticket: tickets.Ticket) -> None:
        forged = replace(ticket, user_id=manager.portal.administrator.id)
        manager.ticket = URLSafeTimedSerializer("y" * 40, salt=tickets.TICKET_SALT).dumps(asdict(forged))
        assert manager.asks("GET", "/settings").status_code == 401

    def test_one_signed_by_us_for_something_else(
        self, environ: dict[str, str], manager: Actor, ticket: tickets.Ticket
    ) -> None:
        key = environ["BX24APP_SECRET_KEY"]
        manager.ticket = URLSafeTimedSerializer(key, salt="bx24app.link").dumps(asdict(ticket))
        assert manager.asks("GET", "/lines").status_code == 401

    def test_one_of_more_than_an_hour_ago(
        self, app: Flask, manager: Actor, ticket: tickets.Ticket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        with app.app_context():
            monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now - 3590)
            fresh, _ = tickets.issue_ticket(ticket)
            monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now - 3610)
            old, _ = tickets.issue_ticket(ticket)
        monkeypatch.undo()
        manager.ticket = fresh
        assert manager.asks("GET", "/lines").status_code == 200
        manager.ticket = old
        answer = manager.asks("GET", "/lines")
        assert (answer.status_code, json_of(answer)["code"]) == (401, "ticket_expired")

    def test_one_of_a_portal_that_is_gone(self, app: Flask, manager: Actor, ticket: tickets.Ticket) -> None:
        with app.app_context():
            manager.ticket, _ = tickets.issue_ticket(replace(ticket, portal_id=ticket.portal_id + 99))
        for method, path in (("GET", "/lines"), ("GET", "/callbacks"), ("GET", "/callbacks/" + str(uuid4()))):
            assert manager.asks(method, path).status_code == 401
        assert manager.requests_callback().status_code == 401

    def test_a_managers_is_no_administrators(self, app: Flask, manager: Actor) -> None:
        for method, path in (("GET", "/settings"), ("PATCH", "/settings")):
            answer = manager.asks(method, path, {} if method == "PATCH" else None)
            assert (answer.status_code, json_of(answer)["code"]) == (403, "not_permitted")

    def test_one_does_not_outlive_the_rights_of_its_holder(self, administrator: Actor) -> None:
        administrator.installs()
        administrator.opens()
        earlier = administrator.ticket
        assert administrator.asks("GET", "/settings").status_code == 200
        administrator.user.admin = False
        administrator.opens()
        administrator.ticket = earlier
        assert administrator.asks("GET", "/settings").status_code == 403
        assert administrator.asks("GET", "/lines").status_code == 200

    def test_nothing_works_by_cookie(self, administrator: Actor, manager: Actor) -> None:
        page = manager.opens()
        assert "Set-Cookie" not in page.headers
        manager.client.set_cookie("ticket", manager.ticket)
        manager.client.set_cookie("Authorization", f"Bearer {manager.ticket}")
        assert manager.client.get("/api/v1/lines").status_code == 401
        assert manager.client.get(f"/api/v1/lines?ticket={manager.ticket}").status_code == 401


class TestEvents:
    def test_a_stale_token_is_refused(
        self, app: Flask, manager: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp
    ) -> None:
        old = portal.bindings_of(application.client_id).application_token
        portal.update(application)
        portal.events.wait_until_idle()
        portal.send_event(application, "ONVOXIMPLANTCALLINIT", {"CALL_ID": "x"}, application_token=old)
        portal.send_event(application, "ONAPPUNINSTALL", {"CLEAN": 1}, application_token=old)
        portal.events.wait_until_idle()
        assert [delivery.status for delivery in portal.events.deliveries[-2:]] == [403, 403]

    def test_without_a_stored_token_none_matches(
        self, app: Flask, administrator: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.sends_application_token = False
        portal.events.pause()
        administrator.installs()
        for token in ("", "None", "null"):
            auth = {"member_id": portal.member_id, "application_token": token}
            fields = http_build_query({"event": "ONAPPUNINSTALL", "data": {}, "ts": "1795470751", "auth": auth})
            assert client.post("/events", data=dict(fields)).status_code == 403

    def test_a_replay_changes_nothing(
        self, app: Flask, manager: Actor, client: FlaskClient, portal: FakePortal
    ) -> None:
        manager.requests_callback(wait=0)
        portal.telephony.dial("reg150907", "+4930901820", "x", "y", portal.manager).hang_up()
        portal.events.wait_until_idle()
        replayed = dict(portal.events.deliveries[-1].pairs)
        with app.app_context(), reading() as session:
            before = len(session.scalars(select(ReceivedEvent)).all())
        assert before == 1
        for _ in range(3):
            assert client.post("/events", data=replayed).status_code == 200
        with app.app_context(), reading() as session:
            assert len(session.scalars(select(ReceivedEvent)).all()) == before


class TestWebsites:
    def test_a_link_signed_for_something_else_is_none(
        self, app: Flask, environ: dict[str, str], visitor: Visitor
    ) -> None:
        answer = visitor.asks()
        with app.app_context(), reading() as session:
            id = session.scalars(select(Callback.id)).one()
        for salt in (challenge.FORM_SALT, tickets.TICKET_SALT):
            other = Signer(environ["BX24APP_SECRET_KEY"], salt=salt).sign(base64_encode(id.bytes)).decode()
            assert visitor.client.get(f"/c/{other}").status_code == 404
            assert visitor.client.post(f"/c/{other}/cancel").status_code == 404
        assert json_of(visitor.looks(json_of(answer)["status_url"]))["state"] == "queued"

    def test_a_token_is_of_one_form_and_sends_one_request(self, app: Flask, visitor_of: MakeVisitor) -> None:
        first, second = visitor_of(name="One"), visitor_of(name="Two")
        token = first.opens()
        assert second.asks(token=token).status_code == 400
        for place in range(0, len(token), 9):
            letter = another_letter(token[place])
            assert first.asks(token=token[:place] + letter + token[place + 1 :]).status_code == 400
        assert first.asks(token=first.opens(seconds_ago=2 * 3600 + 5)).status_code == 400
        assert first.asks(token=token).status_code == 202
        assert first.asks("+4930901821", token=token).status_code == 400
        with app.app_context(), reading() as session:
            rules = list(session.scalars(select(Rejection.rule).order_by(Rejection.id)))
        assert (set(rules[:-1]), rules[-1]) == ({"proof"}, "proof_unspent")

    def test_a_forwarded_address_escapes_no_limit(self, app: Flask, visitor_of: MakeVisitor) -> None:
        plenty = {"number_day": 100, "form_hour": 100, "form_day": 100}
        visitor = visitor_of(limits={"address_hour": 2, **plenty})
        statuses = []
        for place in range(4):
            forged = f"198.51.100.{place}"
            visitor.headers = {"X-Forwarded-For": forged, "X-Real-IP": forged, "Forwarded": f"for={forged}"}
            statuses.append(visitor.asks(f"+493090182{place}").status_code)
        assert statuses == [202, 202, 429, 429]

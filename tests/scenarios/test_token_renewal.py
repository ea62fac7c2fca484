"""Renewing tokens: once, however many need it at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from bx24app.bitrix24.errors import CredentialRefused
from bx24app.crypto import keyring
from bx24app.database import reading, writing
from bx24app.errors import PortalDisconnected
from bx24app.models import Credential, Portal, PortalState, Throttle, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import throttle, token_renewal, tokens
from bx24app.services.portals.tokens import Access
from bx24app.services.runtime.local_limit import LocalLimit
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import Actor

LINES = "voximplant.line.get"


@pytest.fixture(autouse=True)
def unbounded_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are the questions that these tests ask."""
    monkeypatch.setattr(throttle, "ASKED_BY_PEOPLE", LocalLimit("asked_by_people", 1000))
    monkeypatch.setattr(Throttle, "is_third_full", lambda *_: False)


@pytest.fixture
def expired(app: Flask, manager: Actor, portal: FakePortal) -> int:
    """The portal's own credential, with an access token past its hour."""
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context():
        id = tokens.service_credential_id(1)
        with writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
    return id


def in_context(app: Flask, work: Callable[[], Access]) -> Access:
    with app.app_context():
        return work()


def test_twenty_at_once_renew_once(app: Flask, fake: FakeBitrix24, expired: int) -> None:
    barrier = threading.Barrier(20)

    def access() -> Access:
        barrier.wait()
        return token_renewal.open_access(expired)

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: in_context(app, access), range(20)))
    assert fake.auth_server.renewals == 1
    assert len({access.access_token for access in found}) == 1


def test_an_expired_token_is_noticed_by_the_portals_word_too(
    app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal
) -> None:
    portal.cloud.registry.expire_access(portal.member_id)
    assert manager.asks("GET", "/lines?refresh=1").status_code == 200
    assert fake.auth_server.renewals == 1


def test_a_portal_that_calls_every_token_expired_is_believed_a_few_times(
    fake: FakeBitrix24, manager: Actor, portal: FakePortal
) -> None:
    """Renewals count against the client id of all portals."""
    portal.faults.add("error", LINES, code="expired_token", times=100)
    codes = [manager.asks("GET", "/lines?refresh=1").status_code for _ in range(8)]
    assert codes[-1] == 503
    assert fake.auth_server.renewals == 3


def test_a_token_past_its_time_is_renewed_whatever_a_portal_has_said(
    app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal
) -> None:
    portal.faults.add("error", LINES, code="expired_token", times=11)
    for _ in range(8):
        manager.asks("GET", "/lines?refresh=1")
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
    assert manager.asks("GET", "/lines?refresh=1").status_code == 200
    assert fake.auth_server.renewals == 4


def test_a_portal_that_always_says_that_it_has_moved_is_looked_for_once_a_minute(
    fake: FakeBitrix24, manager: Actor, portal: FakePortal
) -> None:
    portal.faults.add("moved", LINES, host=portal.domain, times=100)
    before = len(fake.auth_server.server.requests)
    codes = [manager.asks("GET", "/lines?refresh=1").status_code for _ in range(5)]
    assert codes[-1] == 503
    assert len(fake.auth_server.server.requests) == before + 1


def test_a_lost_lease_is_taken_over(app: Flask, fake: FakeBitrix24, expired: int) -> None:
    with app.app_context():
        with writing() as session:
            session.execute(update(Credential).values(leased_until=utcnow() + timedelta(seconds=0.3)))
        assert token_renewal.open_access(expired).access_token
    assert fake.auth_server.renewals == 1


def test_a_late_answer_does_not_overwrite_newer_tokens(app: Flask, fake: FakeBitrix24, expired: int) -> None:
    hanging = fake.auth_server.faults.add("hang_after", "oauth/token", seconds=10)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(in_context, app, lambda: token_renewal.open_access(expired))
        assert hanging.received.wait(5)
        with app.app_context(), writing() as session:
            # Meanwhile the lease is over and an administrator has installed the app again.
            credential = session.get_one(Credential, expired, with_for_update=True)
            portal = session.get_one(Portal, credential.portal_id)
            credential.keep_tokens(keyring, portal.member_id, "newer", "newest", utcnow() + timedelta(hours=1))
        hanging.released.set()
        assert late.result(10).access_token == "newer"


def test_a_refused_refresh_token_buries_the_credential(app: Flask, fake: FakeBitrix24, expired: int) -> None:
    for token in fake.registry.tokens:
        token.refresh_spent = True
    with app.app_context():
        with pytest.raises(CredentialRefused):
            token_renewal.open_access(expired)
        with pytest.raises(PortalDisconnected):
            token_renewal.open_access(expired)
        with reading() as session:
            assert session.get_one(Portal, 1).state == PortalState.DISCONNECTED


def test_an_unpaid_app_is_told_apart_and_works_again_once_paid(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, expired: int
) -> None:
    portal.paid = False
    with app.app_context():
        with pytest.raises(ExchangeError):
            token_renewal.open_access(expired)
        with reading() as session:
            assert session.get_one(Portal, 1).state == PortalState.UNPAID
    assert manager.requests_callback().status_code == 409
    portal.paid = True
    administrator.opens()
    assert manager.requests_callback().status_code == 201


def test_the_documented_way_is_used_where_a_posted_body_is_not_read(
    app: Flask, fake: FakeBitrix24, expired: int
) -> None:
    fake.auth_server.faults.add("error", "oauth/token", code="invalid_request", status=400)
    with app.app_context():
        assert token_renewal.open_access(expired).access_token
    verbs = [request.verb for request in fake.auth_server.server.requests if request.path == "oauth/token"]
    assert verbs == ["POST", "GET"]


def test_an_authorization_server_without_an_answer_leaves_the_credential_alive(
    app: Flask, fake: FakeBitrix24, expired: int
) -> None:
    fake.auth_server.faults.add("html_502", "oauth/token")
    with app.app_context():
        with pytest.raises(ExchangeError):
            token_renewal.open_access(expired)
        assert token_renewal.open_access(expired).access_token

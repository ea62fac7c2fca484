"""A portal in the company's own network, over TLS and under the real address policy."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app import create_app
from bx24app.database import db, reading, writing
from bx24app.models import Credential, Portal, utcnow
from bx24app.services import diagnostics
from bx24app.services.diagnostics import Level
from bx24app.services.dialling import dial, queue
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of, post_frame
from tests.support.registration import SCOPES
from tests.support.sites import canary

PUBLIC_URL = "https://127.0.0.99:9"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBitrix24]:
    """A cloud with TLS, whose certificates this process trusts."""
    with FakeBitrix24(tls=True) as cloud:
        certificate = tmp_path / "ca.pem"
        assert cloud.ca is not None
        cloud.ca.cert_pem.write_to_path(str(certificate))
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
        yield cloud


@pytest.fixture
def environ(fake: FakeBitrix24, database_url: str) -> dict[str, str]:
    return {
        **plain_environ(),
        "BX24APP_DATABASE_URL": database_url,
        "BX24APP_AUTH_SERVER": fake.auth_server.url,
        "BX24APP_PUBLIC_URL": PUBLIC_URL,
        "BX24APP_ALLOW_INSECURE_PORTALS": "false",
        "BX24APP_PRIVATE_PORTALS": "10.20.0.0/16, 127.0.0.2/32",
    }


@pytest.fixture
def app(environ: dict[str, str], fake: FakeBitrix24) -> Iterator[Flask]:
    application = create_app(environ)
    yield application
    fake.stop()
    with application.app_context():
        db.engine.dispose()


@pytest.fixture
def application(fake: FakeBitrix24, environ: dict[str, str]) -> FakeApp:
    return fake.register_app(
        environ["BX24APP_CLIENT_ID"],
        environ["BX24APP_CLIENT_SECRET"],
        "callback_desk.app",
        f"{PUBLIC_URL}/install",
        f"{PUBLIC_URL}/",
        SCOPES,
    )


@pytest.fixture
def installed(administrator: Actor, portal: FakePortal) -> Actor:
    assert portal.client_endpoint.startswith("https://127.0.0.2:")
    response = administrator.installs()
    assert response.status_code == 200, response.text
    return administrator


def endpoint(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.client_endpoint)).one()


def test_it_installs_opens_lists_and_dials(app: Flask, installed: Actor, portal: FakePortal) -> None:
    page = installed.opens()
    assert page.status_code == 200
    assert f"frame-ancestors {portal.url}" in page.headers["Content-Security-Policy"]
    assert len(json_of(installed.asks("GET", "/lines?refresh=1"))["lines"]) == 2
    id = json_of(installed.requests_callback())["id"]
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dial.dial(claim)
    assert installed.sees(id)["state"] == "started"
    assert len(portal.telephony.dials) == 1


def test_a_portal_in_a_network_that_is_not_allowed_is_not_asked(
    app: Flask, installed: Actor, fake: FakeBitrix24
) -> None:
    elsewhere = fake.add_portal("beta")
    assert elsewhere.server.host == "127.0.0.3"
    stranger = Actor(app.test_client(), elsewhere, installed.application, elsewhere.administrator)
    response = stranger.installs()
    assert response.status_code == 503
    assert "Bitrix24 does not answer" in response.text
    assert elsewhere.requests == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    app: Flask, application: FakeApp, installed: Actor, portal: FakePortal
) -> None:
    stranger = FakeBitrix24(tls=True)
    untrusted = stranger.add_portal("alpha", "127.0.0.2")
    with stranger, app.app_context():
        with writing() as session:
            session.execute(update(Portal).values(client_endpoint=untrusted.client_endpoint))
        assert installed.asks("GET", "/lines?refresh=1").status_code == 503
    assert untrusted.requests == []


FORBIDDEN = ["http://{host}/rest/", "https://127.0.0.3/rest/", "https://10.1.2.3/rest/", "https://[::1]/rest/"]
FORBIDDEN += ["https://user@{host}/rest/", "ftp://{host}/rest/", "https://169.254.169.254/rest/", "https://[/rest/"]


@pytest.mark.parametrize("told", FORBIDDEN)
def test_an_address_that_a_portal_may_not_have_is_not_taken(
    app: Flask,
    installed: Actor,
    portal: FakePortal,
    fake: FakeBitrix24,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The authorization server names it: with new tokens, after a redirect, and at an opening."""
    truth = portal.client_endpoint
    with canary() as bird:
        fake.auth_server.endpoints[portal.member_id] = told.format(host=bird.host)
        fake.registry.expire_access(portal.member_id)
        with app.app_context(), writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
        assert len(json_of(installed.asks("GET", "/lines?refresh=1"))["lines"]) == 2
        assert fake.auth_server.renewals == 1
        portal.faults.add("moved", "voximplant.line.get", host=bird.host)
        assert installed.asks("GET", "/lines?refresh=1").status_code == 503
        portal.faults.add("html_502", "batch")
        assert installed.opens().status_code == 200
        assert endpoint(app) == truth
    assert caplog.text.count("address_not_taken") == 3


def test_another_address_of_an_allowed_network_is_taken(
    app: Flask, installed: Actor, portal: FakePortal, fake: FakeBitrix24
) -> None:
    portal.rename()
    assert installed.asks("GET", "/lines?refresh=1").status_code == 200
    assert endpoint(app) == portal.client_endpoint


def test_a_new_installation_at_a_forbidden_address_is_refused(
    app: Flask, administrator: Actor, portal: FakePortal, fake: FakeBitrix24
) -> None:
    with canary() as bird:
        fake.auth_server.endpoints[portal.member_id] = f"http://{bird.host}/rest/"
        portal.install(administrator.application)
        response = post_frame(administrator.client, "/install", portal.install(administrator.application))
        assert response.status_code == 503
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal)).all() == []


def test_the_network_of_one_portal_is_not_open_to_another(
    app: Flask, environ: dict[str, str], installed: Actor, portal: FakePortal, fake: FakeBitrix24
) -> None:
    """Another tenant, whose own portal lives in public, names an address inside the first one's network."""
    network = f"{portal.member_id}=127.0.0.0/8"
    other = create_app(environ | {"BX24APP_PRIVATE_PORTALS": network})
    elsewhere = fake.add_portal("beta")
    try:
        owner = Actor(other.test_client(), portal, installed.application, portal.administrator)
        assert owner.opens().status_code == 200
        assert owner.asks("GET", "/lines?refresh=1").status_code == 200
        stranger = Actor(other.test_client(), elsewhere, installed.application, elsewhere.administrator)
        # Its own address, and the very address of the first one, to which a connection is open by now.
        assert stranger.installs().status_code == 503
        fake.auth_server.endpoints[elsewhere.member_id] = portal.client_endpoint
        asked = len(portal.requests)
        assert stranger.installs().status_code == 503
        assert elsewhere.requests == []
        assert len(portal.requests) == asked
    finally:
        with other.app_context():
            db.engine.dispose()


def test_the_doctor_names_networks_that_are_open_to_every_portal(app: Flask, environ: dict[str, str]) -> None:
    with app.app_context():
        [found] = [one for one in diagnostics.examine_installation() if one.check == "networks"]
    assert (found.level, found.facts["networks"]) == (Level.WARNING, "10.20.0.0/16, 127.0.0.2/32")
    named = create_app(environ | {"BX24APP_PRIVATE_PORTALS": "some=10.20.0.0/16, some = 127.0.0.2/32,b=fd00::/8"})
    with named.app_context():
        assert "networks" not in {one.check for one in diagnostics.examine_installation()}
        db.engine.dispose()

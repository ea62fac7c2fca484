"""The official Python SDK, unpatched and over TLS, works against the fake: it is not only our client that does."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from b24pysdk import BitrixApp, BitrixToken, Client
from b24pysdk.errors import BitrixAPIError
from b24pysdk.errors.oauth import BitrixOAuthInvalidGrant

from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal

DOMAIN = "alpha.bitrix24.com"


@pytest.fixture
def cloud() -> Iterator[FakeBitrix24]:
    with FakeBitrix24(tls=True) as running:
        yield running


@pytest.fixture
def registered(cloud: FakeBitrix24) -> FakeApp:
    return cloud.register_app(
        "app.1", "secret", "sdk.app", "https://a.b/i", "https://a.b/", ("telephony", "call", "crm")
    )


@pytest.fixture
def portal(cloud: FakeBitrix24, registered: FakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePortal:
    """A portal under its public name: names and the port 443 lead to loopback in this process only."""
    portal = cloud.add_portal("alpha")
    portal.install(registered)
    portal.finish_installation(registered)
    places = {
        DOMAIN: (portal.server.host, portal.server.port),
        "oauth.bitrix24.tech": (cloud.auth_server.server.host, cloud.auth_server.server.port),
    }
    genuine = socket.getaddrinfo

    def resolve(host: str, port: int, *args: int, **more: int) -> list[object]:
        name, number = places.get(host, (host, port))
        ipaddress.ip_address(name)  # Nothing else is resolved: no test asks a name server.
        return list(genuine(name, number, *args, **more))

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    certificate = tmp_path / "ca.pem"
    assert cloud.ca is not None
    cloud.ca.cert_pem.write_to_path(str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return portal


@pytest.fixture
def token(portal: FakePortal, registered: FakeApp) -> BitrixToken:
    issued = portal.cloud.registry.issue(registered.client_id, portal.member_id, portal.administrator.id)
    return BitrixToken(
        domain=DOMAIN,
        auth_token=issued.access,
        refresh_token=issued.refresh,
        bitrix_app=BitrixApp(client_id=registered.client_id, client_secret=registered.client_secret),
    )


def test_it_calls_a_method(token: BitrixToken, portal: FakePortal) -> None:
    answer = token.call_method("voximplant.line.get")
    assert answer["result"] == {id: line.name for id, line in portal.lines.items()}


def test_it_starts_a_callback(token: BitrixToken, portal: FakePortal) -> None:
    parameters = {"FROM_LINE": "reg150907", "TO_NUMBER": "+4930901820", "TEXT_TO_PRONOUNCE": "Hello"}
    answer = token.call_method("voximplant.callback.start", parameters)
    assert answer["result"]["CALL_ID"] == portal.telephony.calls[0].call_id


def test_it_calls_a_batch(token: BitrixToken, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("A lead", "Clara", ["+4930901820"])
    answer = token.call_batch({"me": ("profile", {}), "lead": ("crm.lead.get", {"ID": lead})})
    assert answer["result"]["result"]["me"]["NAME"] == portal.administrator.name
    assert answer["result"]["result"]["lead"]["TITLE"] == "A lead"
    assert answer["result"]["result_error"] == []


def test_it_reads_an_error(token: BitrixToken) -> None:
    with pytest.raises(BitrixAPIError) as caught:
        token.call_method(
            "voximplant.callback.start", {"FROM_LINE": "reg0", "TO_NUMBER": "1", "TEXT_TO_PRONOUNCE": "x"}
        )
    assert "Could not find line reg0" in str(caught.value.error_description)


def test_it_renews_an_expired_token(token: BitrixToken, portal: FakePortal) -> None:
    portal.cloud.registry.expire_access(portal.member_id)
    old = token.auth_token
    assert token.call_method("profile")["result"]["ID"] == str(portal.administrator.id)
    assert token.auth_token != old


def test_it_learns_that_a_refresh_token_works_once(token: BitrixToken) -> None:
    spent = token.refresh_token
    token.refresh_oauth_token()
    app = token.bitrix_app
    assert app is not None
    with pytest.raises(BitrixOAuthInvalidGrant):
        app.refresh_oauth_token(refresh_token=spent)


def test_its_high_level_client_works(token: BitrixToken, portal: FakePortal) -> None:
    contact = portal.crm.add_contact("Marta", "Keller", ["+41446681800"])
    assert Client(token).crm.contact.get(bitrix_id=contact).response.result["LAST_NAME"] == "Keller"

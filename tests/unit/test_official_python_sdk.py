"""The official Python SDK, unpatched and over TLS, works against the fake: it is not only our client that does."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from b24pysdk import BitrixApp, BitrixToken, Client
from b24pysdk.credentials import OAuthWorkflowData
from b24pysdk.errors import BitrixAPIError
from b24pysdk.errors.oauth import BitrixOAuthInvalidGrant

from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import Delivery, http_build_query

DOMAIN = "alpha.bitrix24.com"


@pytest.fixture
def cloud() -> Iterator[FakeBitrix24]:
    with FakeBitrix24(tls=True) as running:
        yield running


@pytest.fixture
def registered(cloud: FakeBitrix24) -> FakeApp:
    return cloud.register_app(
        "app.1", "secret", "sdk.app", "https://a.b/i", "https://a.b/", ("telephony", "call", "crm", "bizproc")
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


def test_it_shows_an_activity_in_a_card_within_the_limits(token: BitrixToken, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("Roof", phones=["+4930901820"])
    activities = Client(token).crm.activity

    def layout(**parts: object) -> dict[str, object]:
        block = {"type": "text", "properties": {"value": "Hello"}}
        return {
            "icon": {"code": "call"},
            "header": {"title": "Callback"},
            "body": {"logo": {"code": "call"}, "blocks": {"a": block}},
        } | parts

    def refused(**parts: object) -> str:
        with pytest.raises(BitrixAPIError) as caught:
            _ = activities.configurable.add(1, lead, {"originId": "7"}, layout(**parts)).response
        return str(caught.value.error)

    def header(**more: object) -> dict[str, object]:
        return {"title": "Callback", **more}

    tag = {"type": "success", "title": "x"}
    button = {"title": "x", "type": "primary", "action": {"type": "restEvent", "id": "x"}}
    item = {"title": "x", "action": {"type": "restEvent", "id": "x"}}
    block = {"type": "text", "properties": {"value": "x"}}
    assert refused(header=header(tags={str(n): tag for n in range(3)})) == "TOO_MANY_ITEMS"
    assert refused(footer={"buttons": {str(n): button for n in range(3)}}) == "TOO_MANY_ITEMS"
    assert refused(footer={"menu": {"items": {str(n): item for n in range(11)}}}) == "TOO_MANY_ITEMS"
    assert refused(body={"logo": {"code": "x"}, "blocks": {str(n): block for n in range(21)}}) == "TOO_MANY_ITEMS"
    assert refused(header=header(tags={"a": tag | {"type": "lavender"}})) == "ENUM_FIELD"
    assert refused(header=header(subtitle="x")) == "FIELD_IS_REDUNDANT"
    assert refused(header={"title": {"ru": "x"}}) == "WRONG_LANG"
    assert refused(header=header(tags={"a b": tag})) == "KEY_CONTAIN_WRONG_SYMBOLS"
    assert refused(icon={}) == "FIELD_IS_REQUIRED"
    added = activities.configurable.add(1, lead, {"originId": "7"}, layout()).response.result
    assert added is not None
    [activity] = portal.timeline.of_card("LEAD", lead)
    assert added["activity"]["id"] == activity.id
    # Its own method for this sends no layout, which is needed.
    changed = {"id": activity.id, "fields": {"completed": "Y"}, "layout": layout()}
    token.call_method("crm.activity.configurable.update", changed)
    assert (activity.is_completed, activity.revision) == (True, 2)


def test_it_registers_automation_rules(token: BitrixToken, portal: FakePortal, registered: FakeApp) -> None:
    rules = Client(token).bizproc.robot
    properties = {"number": {"Name": "Number", "Type": "string"}}
    added = rules.add("wait", "https://a.b/robot", "Start", use_subscription=True, return_properties=properties)
    assert added.response.result is True
    assert rules.update("wait", {"NAME": {"en": "Start a callback"}}).response.result is True
    assert rules.list().response.result == ["wait"]
    known = portal.bindings_of(registered.client_id).rules["wait"]
    assert (known["NAME"], known["USE_SUBSCRIPTION"]) == ({"en": "Start a callback"}, "Y")
    for refused in (
        rules.add("wait", "https://a.b/robot", "Start"),
        rules.add("wait two", "https://a.b/robot", "Start"),
        rules.add("other", "https://other.b/robot", "Start"),
        rules.update("other", {"NAME": "Start"}),
    ):
        with pytest.raises(BitrixAPIError):
            refused.call()
    assert rules.delete("wait").response.result is True
    assert rules.list().response.result == []


def test_it_reads_the_post_of_a_rule_and_answers_it(
    token: BitrixToken, portal: FakePortal, registered: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    bizproc = Client(token).bizproc
    known = {"state": {"Name": "State", "Type": "string"}}
    added = bizproc.robot.add("wait", "https://a.b/robot", "Start", use_subscription=True, return_properties=known)
    assert added.response.result is True
    monkeypatch.setattr(
        portal.events, "put", lambda url, event, fields: Delivery(url, event, http_build_query({**fields, "ts": 1}))
    )
    step = portal.automation.run(registered, "wait", "DEAL_17", properties={"number": "+4930901820"})
    read = OAuthWorkflowData.from_dict(dict(step.delivery.pairs))
    assert (read.code, read.event_token, read.use_subscription) == ("wait", step.token, True)
    assert read.properties == {"number": "+4930901820"}
    assert read.auth.member_id == portal.member_id
    assert bizproc.activity.log(step.token, "Ringing").response.result is True
    assert step.is_waiting
    assert bizproc.event.send(step.token, {"state": "completed", "odd": 1}, log_message="Done").response.result is True
    # One that has ended answers alike; one with another signature does not.
    assert bizproc.event.send(step.token, {"state": "missed"}).response.result is True
    assert (step.results, step.log) == ([{"state": "completed"}], ["Ringing", "Done"])
    for refused in (bizproc.event.send(f"{step.token}0", {}), bizproc.activity.log(step.token, "")):
        with pytest.raises(BitrixAPIError):
            refused.call()

"""Where webhooks never go, what odd sites cannot do, and who administers webhooks."""

import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Form, WebhookDelivery, utcnow
from bx24app.services.webhooks import sender
from bx24app.services.webhooks.sender import SignedRequest
from tests.conftest import OtherApp
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.sites import Listener, Site, a_site, status
from tests.support.tables import rows_in_one_world
from tests.support.webhook_steps import KEY, added, asked, form, listed, site, told_all

__all__ = ["form", "site"]  # Fixtures.


@pytest.fixture
def guarded(other_app: OtherApp, app: Flask) -> Iterator[Flask]:
    """The app as in production: public addresses over https only."""
    settings = {"ALLOW_INSECURE_PORTALS": "false", "PUBLIC_URL": "https://desk.example.com"}
    # Networks that an operator permits for portals are not meant for sites.
    application = other_app(**settings, AUTH_SERVER="https://oauth.bitrix.info", PRIVATE_PORTALS="127.0.0.0/8")
    with application.app_context():
        yield application


def letter(url: str) -> SignedRequest:
    return SignedRequest(url, uuid4(), b"{}", ("whsec_x",))


@rows_in_one_world(
    "url",
    [
        "http://site.example.com/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3/",
        "https://192.168.0.1:8080/x",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0.0.0.0/",
        "https://user:password@site.example.com/",
        "https:///hook",
        "ftp://site.example.com/",
        "site.example.com/hook",
        "https://site.example.com:99999/",
        "https://site example.com/",
        "https://[::1",
        "https://site.example.com/" + "x" * 2000,
    ],
)
def test_addresses_that_are_not_public_are_refused_when_saved(
    guarded: Flask, app: Flask, administrator: Actor, form: int, url: str
) -> None:
    body = {"form_key": KEY, "url": url}
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    answer = guarded.test_client().post("/api/v1/webhooks", json=body, headers=headers)
    assert answer.status_code == 400
    assert json_of(answer)["code"] == "invalid_request"


def test_a_public_address_is_accepted_in_production(guarded: Flask, administrator: Actor, form: int) -> None:
    body = {"form_key": KEY, "url": "https://site.example.com:8443/hook?a=b#c"}
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    answer = guarded.test_client().post("/api/v1/webhooks", json=body, headers=headers)
    assert (answer.status_code, json_of(answer)["url"]) == (201, "https://site.example.com:8443/hook?a=b")


@pytest.mark.parametrize("host", ["rebinding.example.com", "127.0.0.1", "0x7f000001", "2130706433", "localhost"])
def test_an_address_that_turns_out_to_be_private_is_never_connected_to(
    guarded: Flask, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The name was public when it was saved; its name server now says loopback."""
    listener = Listener()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    receipt = sender.send_once(letter(f"https://{host}:{listener.port}/hook"))
    listener.close()
    assert (receipt.status, receipt.error) == (None, "address_forbidden")
    assert listener.connections == 0


def test_no_proxy_of_the_environment_and_no_credentials_of_the_machine_are_used(
    app: Flask, administrator: Actor, form: int, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    added(administrator, site)
    asked(app, form)
    told_all(app)
    assert len(site.told) == 1
    assert "Authorization" not in site.told[0].headers


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"not http at all\r\n\r\n", "reset"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nhalf", "http_500 half"),
        (b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x00\x01\x02\x03", "http_500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + b" " * 20_000_000, None),
        (b"HTTP/1.1 503 X\r\nContent-Length: 20000000\r\n\r\n" + b"y" * 20_000_000, "http_503 " + "y" * 191),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "reset"),
        (b"", "reset"),
    ],
)
def test_odd_answers_harm_nobody(app: Flask, answer: bytes, error: str | None) -> None:
    listener = Listener(answer)
    with app.app_context():
        receipt = sender.send_once(letter(f"http://127.0.0.1:{listener.port}/hook"))
    listener.close()
    assert receipt.error == error


def test_a_site_that_is_not_there_is_unreachable(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with app.app_context():
        assert sender.send_once(letter(f"http://127.0.0.1:{port}/")).error == "unreachable"


def test_only_administrators_of_the_portal_see_and_change_its_webhooks(
    app: Flask,
    administrator: Actor,
    manager: Actor,
    form: int,
    site: Site,
    fake: Any,
) -> None:
    webhook = added(administrator, site)
    administrator.asks("POST", f"/webhooks/{webhook['id']}/test")
    beta: FakePortal = fake.add_portal("beta")
    stranger = Actor(administrator.client, beta, administrator.application, beta.administrator)
    assert stranger.installs().status_code == 200
    asks: list[tuple[str, str, object]] = [
        ("POST", "/webhooks", {"form_key": KEY, "url": site.url}),
        ("GET", f"/webhooks/{webhook['id']}", None),
        ("PATCH", f"/webhooks/{webhook['id']}", {"is_on": False}),
        ("POST", f"/webhooks/{webhook['id']}/rotate", None),
        ("POST", f"/webhooks/{webhook['id']}/test", None),
        ("GET", f"/webhooks/{webhook['id']}/deliveries", None),
        ("POST", "/webhooks/deliveries/1/redeliver", None),
        ("DELETE", f"/webhooks/{webhook['id']}", None),
    ]
    for method, path, body in asks:
        assert stranger.asks(method, path, body).status_code == 404
        assert manager.asks(method, path, body).status_code == 403
        assert administrator.client.open(f"/api/v1{path}", method=method, json=body).status_code == 401
    assert json_of(stranger.asks("GET", "/webhooks")) == {"webhooks": []}
    assert [one["id"] for one in json_of(administrator.asks("GET", f"/webhooks?form_key={KEY}"))["webhooks"]] == [1]
    assert json_of(administrator.asks("GET", "/webhooks?form_key=other")) == {"webhooks": []}
    assert len(listed(administrator, webhook)) == 1
    assert administrator.asks("DELETE", f"/webhooks/{webhook['id']}").status_code == 204
    assert administrator.asks("GET", f"/webhooks/{webhook['id']}").status_code == 404
    with app.app_context(), reading() as session:
        assert session.scalars(select(WebhookDelivery.id)).all() == []


def test_a_test_and_a_repetition_are_delivered_at_once_even_in_a_pause(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    webhook = added(administrator, site)
    site.answers.append(status(500))
    asked(app, form)
    told_all(app)
    sent = json_of(administrator.asks("POST", f"/webhooks/{webhook['id']}/test"))
    assert (sent["type"], sent["state"], sent["callback_id"]) == ("ping", "pending", None)
    told_all(app)
    assert site.told[1].json == {
        "event_id": sent["event_id"],
        "made_at": site.told[1].json["made_at"],
        "type": "ping",
        "webhook_id": webhook["id"],
    }
    again = json_of(administrator.asks("POST", "/webhooks/deliveries/1/redeliver"))
    assert again["state"] == "waiting"
    told_all(app)
    assert site.told[2].json["event_id"] == site.told[0].json["event_id"]
    assert {one["state"] for one in listed(administrator, webhook)} == {"delivered"}


def test_a_form_has_five_webhooks_at_most_and_a_removed_one_gets_none(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    for _ in range(5):
        added(administrator, site)
    body = {"form_key": KEY, "url": site.url}
    assert administrator.asks("POST", "/webhooks", body).status_code == 422
    with app.app_context(), writing() as session:
        session.execute(update(Form).values(removed_at=utcnow()))
    assert administrator.asks("POST", "/webhooks", body).status_code == 404


def test_a_new_address_gets_what_is_pending(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    webhook = added(administrator, site)
    site.answers.append(status(500))
    asked(app, form)
    told_all(app)
    with a_site() as moved:
        administrator.asks("PATCH", f"/webhooks/{webhook['id']}", {"url": moved.url})
        with app.app_context(), writing() as session:
            session.execute(update(WebhookDelivery).values(due_at=utcnow()))
        told_all(app)
        assert moved.states() == ["queued"]

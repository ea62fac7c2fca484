"""Redirects of those whom we ask: none is followed, nothing of them is read, however they are written."""

import gzip
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import pytest
from flask import Flask

from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.client import PortalClients
from bx24app.bitrix24.errors import Moved
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.services.webhooks.sender import SignedRequest, send_once
from tests.support.raw_answers import saying

MEGABYTE = 2**20
# It grows a thousandfold each time that it is unpacked.
BOMB = gzip.compress(gzip.compress(bytes(256 * MEGABYTE)))
ELSEWHERE = b"https://elsewhere.example.com/"


def answering(head: bytes, body: bytes = b"") -> AbstractContextManager[str]:
    return saying(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (head, len(body), body))


def asks_portal(url: str) -> str:
    with pytest.raises(Moved) as moved:
        PortalClients(AddressPolicy(allow_insecure=True)).client(url, "t").invoke("profile")
    return moved.value.host


def dials(url: str) -> str:
    clients = PortalClients(AddressPolicy(allow_insecure=True))
    with pytest.raises(Moved) as moved, clients.dialler(url, "t") as client:
        client.invoke("voximplant.callback.start")
    return moved.value.host


def asks_about_token(url: str) -> str:
    with pytest.raises(UnreadableAnswer):
        AuthorizationServer(url, "id", "secret").app_info("t")
    return ""


def renews(url: str) -> str:
    with pytest.raises(UnreadableAnswer):
        AuthorizationServer(url, "id", "secret").renew("t")
    return ""


def tells_webhook(url: str) -> str:
    result = send_once(SignedRequest(url, uuid4(), b"{}", ("whsec_x",)))
    assert result.error == "redirect"
    return ""


ASKING = [asks_portal, dials, asks_about_token, renews, tells_webhook]


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize("asks", [asks_portal, dials, asks_about_token, tells_webhook])
@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 Other", b"307 Temporary", b"308 Permanent"])
def test_what_a_redirect_has_to_say_is_not_unpacked(app: Flask, asks: Callable[[str], str], status: bytes) -> None:
    head = status + b"\r\nLocation: %b\r\nContent-Encoding: gzip, gzip" % ELSEWHERE
    with answering(head, BOMB) as url, app.app_context():
        tracemalloc.start()
        try:
            asks(url)
            assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("asks", ASKING)
@pytest.mark.parametrize(
    "location",
    [
        ELSEWHERE,
        b"http://[",
        b"//[::1",
        "http://a℀b/".encode(),
        b"http://\xff",
        b"",
        b"\x80\x00",
        b"http://a:99999999/",
    ],
)
def test_a_redirect_is_one_however_it_is_written(app: Flask, asks: Callable[[str], str], location: bytes) -> None:
    with answering(b"302 Found\r\nLocation: %b" % location) as url, app.app_context():
        told = asks(url)
    if asks in {asks_portal, dials} and location == ELSEWHERE:
        assert told == "elsewhere.example.com"

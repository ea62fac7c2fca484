"""Answers that are small to send and costly to read: the library's reading of them ends early, or never begins."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from uuid import uuid4

import pytest
import requests
from flask import Flask

from bx24app.bitrix24 import answers
from bx24app.bitrix24.answers import LARGE_BYTES
from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.client import DIAL_ANSWER_BYTES, PortalClients
from bx24app.outgoing.adapter import GuardedAdapter, guard
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.deadline import LINES_BYTES
from bx24app.outgoing.errors import ConnectionReset, UnreadableAnswer
from bx24app.services.webhooks.sender import SignedRequest, send_once
from tests.support.raw_answers import saying

POLICY = AddressPolicy(allow_insecure=True)
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
BODY = json.dumps({"result": {}}).encode()
LENGTH = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LONG = b"a" * 65_000
LAST = b"0\r\n\r\n"


def chunks(body: bytes, size: int) -> bytes:
    return b"".join(
        b"%x\r\n%b\r\n" % (len(body[start : start + size]), body[start : start + size])
        for start in range(0, len(body), size)
    )


def deflated(before: bytes) -> bytes:
    """The body in the format of zlib, with blocks before it."""
    blocks = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"\x78\x9c" + before + blocks.compress(BODY) + blocks.flush() + zlib.adler32(BODY).to_bytes(4, "big")


# All of them are whole answers: whoever reads without a bound finds nothing wrong.
COSTLY = {
    "many cookies": OK + b"Set-Cookie: a=b;%b\r\n" % (b"a;" * 30_000) * 85 + LENGTH,
    "a cookie's date": OK + b"Set-Cookie: a=b; expires=1 a %b!\r\n" % (b"1" * 60_000) * 85 + LENGTH,
    "many heads": OK + b"X-Long: %b\r\n" % LONG * 85 + LENGTH,
    "a folded head": OK + b"Date: a\r\n" + b" %b\r\n" % LONG * 85 + LENGTH,
    "heads before the head": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000 + OK + LENGTH,
    "chunks of a byte": OK + CHUNKED + chunks(BODY + b" " * 100_000, 1) + LAST,
    "long names of chunks": OK + CHUNKED + b"%x;%b\r\n%b\r\n" % (len(BODY), LONG * 20, BODY) + LAST,
    "what follows the last chunk": OK + CHUNKED + chunks(BODY, 100) + b"0\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    "empty gzip": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"") * 450_000 + gzip.compress(BODY),
    "empty deflate": OK + b"Content-Encoding: deflate\r\n\r\n" + deflated(b"\0\0\0\xff\xff" * 1_800_000),
    "a bomb": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY + b" " * 9_000_000),
}
HONEST = {
    "cookies": OK + b"Set-Cookie: BITRIX_SM_GUEST_ID=1; path=/; HttpOnly\r\nSet-Cookie2: a=b\r\n" + LENGTH,
    "a long head": OK + b"Content-Security-Policy: default-src %b\r\n" % (b"https://a.example " * 1500) + LENGTH,
    "small chunks": OK + CHUNKED + chunks(BODY + b" " * 7_900_000, 1024) + LAST,
    "compressed, which nobody asked for": OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY),
}


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def asks_portal(url: str) -> None:
    PortalClients(POLICY).client(url, "t").invoke("profile")


def dials(url: str) -> None:
    with PortalClients(POLICY).dialler(url, "t") as client:
        client.invoke("voximplant.callback.start")


def asks_about_token(url: str) -> None:
    AuthorizationServer(url, "id", "secret").app_info("t")


def named(cases: dict[str, bytes]) -> Iterable[object]:
    return [pytest.param(answer, id=name) for name, answer in cases.items()]


@pytest.mark.parametrize("answer", named(COSTLY))
@pytest.mark.parametrize("ask", [asks_portal, dials, asks_about_token])
def test_what_is_costly_to_read_is_not_read(ask: Callable[[str], None], answer: bytes) -> None:
    with saying(answer) as url, pytest.raises((ConnectionReset, UnreadableAnswer)):
        ask(url)


@pytest.mark.parametrize("answer", named(HONEST))
def test_what_others_send_in_good_faith_is_read(answer: bytes) -> None:
    with saying(answer) as url:
        asks_portal(url)
        if len(answer) < DIAL_ANSWER_BYTES:
            dials(url)


@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: gzip\r\n"])
def test_of_the_answer_to_a_dial_little_is_read(coding: bytes) -> None:
    """Thirty-two of 8 MB at one moment took a gigabyte."""
    large = BODY + b" " * DIAL_ANSWER_BYTES
    answer = OK + coding + b"\r\n" + (gzip.compress(large) if coding else large)
    with saying(answer) as url:
        asks_portal(url)
        with pytest.raises(UnreadableAnswer):
            dials(url)


def test_few_large_answers_are_read_at_once() -> None:
    """One sign beyond U+FFFF makes 33 MB of 8."""
    large = BODY + b" " * LARGE_BYTES
    with saying(OK + b"\r\n" + large) as url, ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            answers._large_answers.acquire()
        reading = pool.submit(asks_portal, url)
        assert wait([reading], timeout=1).not_done
        for _ in range(2):
            answers._large_answers.release()
        reading.result(timeout=10)


@pytest.mark.parametrize("name", ["many cookies", "a folded head", "heads before the head"])
def test_a_webhook_with_such_an_answer_has_failed(app: Flask, name: str) -> None:
    with saying(COSTLY[name]) as url, app.app_context():
        assert send_once(SignedRequest(url, uuid4(), b"{}", ("whsec_x",))).error is not None


def test_cookies_of_one_answer_are_not_sent_with_the_next_request() -> None:
    session = requests.Session()
    guard(session, GuardedAdapter(POLICY, 20))
    with saying(HONEST["cookies"]) as url:
        assert "Set-Cookie" not in session.get(url, timeout=5).headers
    assert list(session.cookies) == []


def test_nothing_compressed_is_asked_for() -> None:
    session = requests.Session()
    guard(session, GuardedAdapter(POLICY, 20))
    sent = session.prepare_request(requests.Request("POST", "https://portal.example/"))
    assert sent.headers["Accept-Encoding"] == "identity"


def test_a_line_is_not_gathered_beyond_what_all_may_have() -> None:
    answer = OK + CHUNKED + b"1" * (LINES_BYTES * 200)
    with saying(answer) as url, pytest.raises(ConnectionReset):
        asks_portal(url)


@pytest.mark.parametrize("size", [b"-1", b"-ffffffff", b" -2", b"-0_1"])
@pytest.mark.parametrize("ask", [asks_portal, dials, asks_about_token])
def test_a_chunk_of_less_than_nothing_is_not_all_that_will_ever_come(ask: Callable[[str], None], size: bytes) -> None:
    with saying(OK + CHUNKED + size + b"\r\n" + b"a" * (32 * 1024 * 1024)) as url:
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionReset):
                ask(url)
            assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        finally:
            tracemalloc.stop()

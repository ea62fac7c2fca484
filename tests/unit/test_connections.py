"""Connections: to whom they are made, and what is proven about a request that failed."""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.bitrix24.client import PortalClients
from bx24app.outgoing.adapter import MAX_ADDRESSES
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.errors import AddressForbidden, ExchangeError, NotSent, NoUsableAnswer, UnreadableAnswer
from tests.support.sites import Listener, canary

PUBLIC = AddressPolicy()
INSECURE = AddressPolicy(allow_insecure=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def plain_http_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize(
    "url",
    [
        "http://portal.bitrix24.com/rest/",
        "ftp://portal.bitrix24.com/rest/",
        "https:///rest/",
        "https://user@portal.bitrix24.com/rest/",
        "https://user:pass@portal.bitrix24.com/rest/",
        "file:///etc/passwd",
        "https://a b;script-src *'/rest/",
        "https://portal.bitrix24.com:99999/rest/",
        "",
    ],
)
def test_addresses_that_are_no_portals_are_refused_by_their_looks(url: str) -> None:
    with pytest.raises(AddressForbidden):
        PortalClients(PUBLIC).client(url, "t")


def test_a_name_that_resolves_to_a_private_address_is_never_connected_to(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(AddressForbidden):
        PortalClients(PUBLIC).client(f"https://rebinding.example.com:{listener.port}/rest/", "t").invoke("profile")
    assert listener.connections == 0


def test_of_a_name_with_thousands_of_addresses_a_few_are_tried(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    tried: list[str] = []
    policy = AddressPolicy(allow_insecure=True)

    def permits(_: AddressPolicy, address: str) -> bool:
        tried.append(address)
        return False

    monkeypatch.setattr(AddressPolicy, "permits", permits)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port))] * 4000
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(AddressForbidden):
        PortalClients(policy).client(f"http://many.example.com:{listener.port}/rest/", "t").invoke("profile")
    assert len(tried) == MAX_ADDRESSES


def test_the_name_is_resolved_once_for_check_and_connection(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    """Answers that change between check and connection: the second one would be private."""
    answers = iter(["127.0.0.1", "10.0.0.1"])
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def resolve(host: str, port: int, *_: int, **__: int) -> list[object]:
        if host != "x.example.com":
            return list(genuine(host, port))  # The checked address itself.
        address = next(answers)
        asked.append(address)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    only_loopback = AddressPolicy((ipaddress.ip_network("127.0.0.0/8"),))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ExchangeError):
        PortalClients(only_loopback).client(f"https://x.example.com:{listener.port}/", "t").invoke("profile")
    assert asked == ["127.0.0.1"]
    assert listener.connections == 1


def test_a_refused_connection_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotSent):
        PortalClients(INSECURE).client(f"http://127.0.0.1:{port}/rest/", "t").invoke("profile")


def test_an_unknown_name_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotSent):
        PortalClients(INSECURE).client("http://nowhere.example.com/rest/", "t").invoke("profile")


def test_a_failed_handshake_was_not_sent(listener: Listener) -> None:
    with pytest.raises(NotSent):
        PortalClients(INSECURE).client(f"https://127.0.0.1:{listener.port}/rest/", "t").invoke("profile")


def test_a_connection_that_breaks_after_sending_may_have_been_executed(listener: Listener) -> None:
    with pytest.raises(NoUsableAnswer) as caught:
        PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t").invoke("profile")
    assert caught.value.code == "reset"
    assert listener.connections == 1


def test_an_answer_that_falls_silent_half_way_is_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as open_ones:

        def answer_half() -> None:
            connection = open_ones.enter_context(server.accept()[0])
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        threading.Thread(target=answer_half, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/rest/"
        with PortalClients(INSECURE, (1.0, 0.2)).dialler(url, "t") as client, pytest.raises(NoUsableAnswer) as caught:
            client.invoke("profile")
    assert caught.value.code == "timeout"


def test_a_connection_is_used_again_after_an_exchange_that_was_nearly_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left of one exchange is no time-out of the next one on the same connection."""
    monkeypatch.setattr("bx24app.bitrix24.client.EXCHANGE_SECONDS", 0.6)
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n", b'{"result":"a"}'
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as open_ones:

        def answer_twice() -> None:
            connection = open_ones.enter_context(server.accept()[0])
            connection.recv(65536)
            connection.sendall(head)
            for byte in body:
                time.sleep(0.03)
                connection.sendall(bytes([byte]))
            connection.recv(65536)
            time.sleep(0.45)
            connection.sendall(head + body)

        threading.Thread(target=answer_twice, daemon=True).start()
        client = PortalClients(INSECURE).client(f"http://127.0.0.1:{server.getsockname()[1]}/rest/", "t")
        assert [client.invoke("profile"), client.invoke("profile")] == ["a", "a"]


def test_bytes_that_are_taken_slowly_have_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bx24app.bitrix24.client.EXCHANGE_SECONDS", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as open_ones:

        def take_slowly() -> None:
            connection = open_ones.enter_context(server.accept()[0])
            with contextlib.suppress(OSError):
                while connection.recv(4096):
                    time.sleep(0.1)

        threading.Thread(target=take_slowly, daemon=True).start()
        client = PortalClients(INSECURE).client(f"http://127.0.0.1:{server.getsockname()[1]}/rest/", "t")
        began = time.monotonic()
        with pytest.raises(NoUsableAnswer):
            client.invoke("profile", {"long": "x" * 20_000_000})
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "unreadable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "unreadable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "unreadable"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "unreadable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe{}", "unreadable"),
        (b"not http at all\r\n\r\n", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000, "unreadable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"9" * 5000, "unreadable"),
    ],
)
def test_an_answer_that_says_nothing_is_told_apart(answer: bytes, code: str) -> None:
    listener = Listener(answer)
    with pytest.raises(NoUsableAnswer) as caught:
        PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t").invoke("profile")
    listener.close()
    assert caught.value.code == code


def test_what_no_database_keeps_is_taken_out_of_an_answer() -> None:
    body = rb'{"result": {"a\u0000": ["b\ud800", {"c": "\u0000\ud83d\ude00"}]}}'
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    result = PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t").invoke("profile")
    listener.close()
    assert result == {"a": ["b", {"c": "\N{GRINNING FACE}"}]}


def test_an_endless_answer_is_cut_off() -> None:
    body = b'{"result": "' + b"x" * 20_000_000 + b'"}'
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(NoUsableAnswer):
        PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t").invoke("profile")
    listener.close()


@pytest.mark.parametrize("part", ["[],", '"a":1,', "{},", "0,"])
def test_an_answer_of_many_small_things_is_not_read(part: str) -> None:
    """Each of them takes sixty bytes and more of memory, and nobody else of the process does anything meanwhile."""
    shape = '{"result": {%s"b": 1}}' if ":" in part else '{"result": [%s0]}'
    body = (shape % (part * 400_000)).encode()
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client = PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t")
    with pytest.raises(UnreadableAnswer):
        client.invoke("profile")
    listener.close()


def test_an_answer_may_begin_with_a_mark() -> None:
    body = b'\xef\xbb\xbf{"result": 1}'
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert PortalClients(INSECURE).client(f"http://127.0.0.1:{listener.port}/rest/", "t").invoke("profile") == 1
    listener.close()


def test_a_proxy_of_the_environment_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"result": {"a":1}}'
    listener = Listener(answer)
    with canary() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        monkeypatch.setenv("no_proxy", "")
        url = f"http://127.0.0.1:{listener.port}"
        assert PortalClients(INSECURE).client(f"{url}/rest/", "t").invoke("profile") == {"a": 1}
        for ask in (AuthorizationServer(url, "app.1", "s").app_info, AuthorizationServer(url, "app.1", "s").renew):
            with pytest.raises(NoUsableAnswer):
                ask("t")
    assert listener.connections == 3
    listener.close()

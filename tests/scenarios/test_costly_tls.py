"""Other sides that speak TLS and say nothing in it, or say it slowly."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import certifi
import pytest
import requests
import trustme

from bx24app.outgoing.adapter import GuardedAdapter, exchanging, guard
from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.deadline import MAX_SMALL_READS
from bx24app.outgoing.errors import ConnectionReset, NotSent, ReadTimeout
from bx24app.outgoing.tls import BYTES_BESIDE_DATA, MeteredSocket, metered_context
from tests.support.raw_answers import serving

SECONDS = 2.0
TICKET_BYTES = 200  # at least
SENT = b"{}"
BODY = json.dumps({"result": {}}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
Serve = Callable[[socket.socket, ssl.SSLContext], None]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def server(
    authority: trustme.CA,
    serve: Serve,
    tickets: int = 2,
    name: str = "127.0.0.1",
    set_up: Callable[[ssl.SSLContext], object] = bool,
) -> Iterator[str]:
    """A server over TLS that serves one connection after the other; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.num_tickets = tickets
    set_up(context)

    with serving(lambda connection: serve(connection, context)) as port:
        yield f"https://127.0.0.1:{port}/"


def saying(*parts: bytes, times: int = 1) -> Serve:
    """Serve answers of parts, each in a record of its own, on one connection."""

    def serve(connection: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            for _ in range(times):
                request = b""
                while not request.endswith(SENT):
                    request += secure.recv(65536)
                for part in parts:
                    secure.sendall(part)

    return serve


def asked(connection: socket.socket, context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """Read a request, and write into memory from now on."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure, request = context.wrap_bio(incoming, outgoing, server_side=True), bytearray()

    def go_on(step: Callable[[], object]) -> None:
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
            else:
                return

    go_on(secure.do_handshake)
    while not request.endswith(SENT):
        go_on(lambda: request.extend(secure.read(65536)))
    return secure, outgoing


def dripping(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Give an answer in records of which each byte comes by itself."""
    secure, outgoing = asked(connection, context)
    secure.write(ANSWER)
    for byte in outgoing.read():
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def session(authority: trustme.CA, path: str) -> requests.Session:
    made = requests.Session()
    guard(made, GuardedAdapter(AddressPolicy(allow_insecure=True), SECONDS))
    authority.cert_pem.write_to_path(path)
    made.verify = path
    return made


@pytest.fixture
def ask(authority: trustme.CA, tmp_path: Path) -> Iterator[Callable[[str], bytes]]:
    with session(authority, f"{tmp_path}/ca.pem") as asking:

        def ask(url: str) -> bytes:
            with exchanging(), asking.post(url, data=SENT, timeout=SECONDS, stream=True) as response:
                return response.content

        yield ask


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_over_tls_is_read_also_on_a_connection_that_is_used_again(
    authority: trustme.CA, ask: Callable[[str], bytes], times: int
) -> None:
    with server(authority, saying(ANSWER, times=times)) as url:
        assert [ask(url) for _ in range(times)] == [BODY] * times


def test_a_connection_that_the_other_side_has_ended_is_made_anew(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    with server(authority, saying(ANSWER)) as url:
        assert [ask(url) for _ in range(3)] == [BODY] * 3


def test_small_records_and_a_large_answer_are_read(authority: trustme.CA, ask: Callable[[str], bytes]) -> None:
    large = b" " * 4_000_000
    chunks = [b"%x\r\n" % len(large), large, b"\r\n", *[b"1\r\n", b"x", b"\r\n"] * 300, b"0\r\n\r\n"]
    with server(authority, saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *chunks)) as url:
        assert ask(url) == large + b"x" * 300


def test_records_of_a_few_bytes_each_are_not_read_without_end(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    records = [b"x" * 90] * (MAX_SMALL_READS + 10)
    head = HEAD + b"Content-Length: %d\r\n\r\n" % (90 * len(records))
    with server(authority, saying(head, *records)) as url, pytest.raises(ConnectionReset):
        ask(url)


def test_what_has_come_is_read_though_the_other_side_has_gone() -> None:
    """The library writes nothing, after each read: to a connection that has ended even that fails."""
    ours, theirs = socket.socketpair()
    with MeteredSocket(ours) as metered:
        theirs.sendall(b"answer")
        theirs.close()
        metered.sendall(b"")
        assert metered.recv(100) == b"answer"
        with pytest.raises(OSError, match="pipe"):
            metered.sendall(b"question")


def ending(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Answer, and end TLS with the same bytes; the connection itself stays."""
    secure, outgoing = asked(connection, context)
    secure.write(ANSWER)
    with suppress(ssl.SSLWantReadError):
        secure.unwrap()
    connection.sendall(outgoing.read())
    ended.append(connection.dup())


ended: list[socket.socket] = []


def test_a_connection_whose_end_came_with_the_answer_is_not_used_again(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    with server(authority, ending) as url:
        assert [ask(url) for _ in range(3)] == [BODY] * 3
    while ended:
        ended.pop().close()


def test_an_answer_that_ends_with_its_connection_is_read(authority: trustme.CA, ask: Callable[[str], bytes]) -> None:
    with server(authority, saying(HEAD + b"Connection: close\r\n\r\n", BODY)) as url:
        assert ask(url) == BODY


def test_tickets_without_end_are_not_read(authority: trustme.CA, ask: Callable[[str], bytes]) -> None:
    with (
        server(authority, saying(ANSWER), tickets=3 * BYTES_BESIDE_DATA // TICKET_BYTES) as url,
        pytest.raises(ConnectionReset),
    ):
        ask(url)


def test_an_answer_that_drips_below_tls_ends_with_the_exchange(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    began = time.monotonic()
    with server(authority, dripping) as url:
        with pytest.raises(ReadTimeout):
            ask(url)
        assert time.monotonic() - began < SECONDS * 2


def test_a_certificate_of_another_name_or_of_nobody_is_refused(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    with server(authority, saying(ANSWER), name="portal.example") as url, pytest.raises(NotSent):
        ask(url)
    with server(trustme.CA(), saying(ANSWER)) as url, pytest.raises(NotSent):
        ask(url)


def only_tls_1_2(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def only_tls_1_3(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def another_curve(context: ssl.SSLContext) -> None:
    only_tls_1_2(context)
    context.set_ecdh_curve("secp384r1")


def finite_field(context: ssl.SSLContext) -> None:
    only_tls_1_3(context)
    context.set_ecdh_curve("ffdhe8192")


@pytest.mark.parametrize("set_up", [only_tls_1_2, only_tls_1_3, another_curve])
def test_servers_of_either_version_are_spoken_to(
    authority: trustme.CA, ask: Callable[[str], bytes], set_up: Callable[[ssl.SSLContext], None]
) -> None:
    with server(authority, saying(ANSWER), set_up=set_up) as url:
        assert ask(url) == BODY


def test_no_other_side_chooses_how_much_a_handshake_computes(
    authority: trustme.CA, ask: Callable[[str], bytes]
) -> None:
    with server(authority, saying(ANSWER), set_up=finite_field) as url, pytest.raises(NotSent):
        ask(url)
    for context in (metered_context(certifi.where()), metered_context(certifi.where(), is_old=True)):
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert {cipher["name"].split("_")[0].split("-")[0] for cipher in context.get_ciphers()} == {"TLS", "ECDHE"}

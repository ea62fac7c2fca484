"""The web process as documented (``gunicorn app:app``): whoever sends or reads slowly stops nobody."""

import contextlib
import socket
import sys
import time
from collections.abc import Iterator

import pytest
import requests
from flask import Flask

from buffering_worker import ARRIVING_SECONDS, MAX_BODY_BYTES, MAX_CHUNK_HEAD_BYTES, MAX_CHUNKS
from bx24app.services.calling import do_not_call
from bx24app.web import MAX_REQUEST_BYTES
from tests.support.actors import Actor
from tests.support.processes import free_port, kill, start, wait_until_up

SENDERS = 50
READERS = 40
# Whoever has to wait for one of them waits longer, however busy the machine is.
QUICK = ARRIVING_SECONDS / 2
# Each is a request of which more has to come.
HALVES = {
    "nothing": b"",
    "a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: a",
    "a body": b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\na=",
    "a chunked body": b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n",
}


CHUNKED = b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_HEAD = LARGE.replace(b"GET", b"HEAD")
EXPORT = "/api/v1/do-not-call/export"


@pytest.fixture
def web(app: Flask, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """One process with the documented command; its settings are those that are shipped."""
    port = free_port()
    process = start((sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app"), environ)
    try:
        wait_until_up(f"http://127.0.0.1:{port}")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        with contextlib.suppress(Exception):
            process.wait(5)
        kill(process)


def longest(url: str, asked: int = 5) -> float:
    """How long the slowest of some requests took."""
    took = []
    for _ in range(asked):
        began = time.monotonic()
        assert requests.get(url, timeout=QUICK * 5).status_code == 200
        took.append(time.monotonic() - began)
    return max(took)


def test_slow_senders_of_heads_and_bodies_stop_nobody(web: tuple[str, int]) -> None:
    url = f"http://{web[0]}:{web[1]}/healthz"
    for half in HALVES.values():
        with contextlib.ExitStack() as open_ones:
            for _ in range(SENDERS):
                open_ones.enter_context(socket.create_connection(web, 5)).sendall(half)
            assert longest(url) < QUICK


@contextlib.contextmanager
def readers(web: tuple[str, int], asked: bytes, number: int = READERS) -> Iterator[list[socket.socket]]:
    """Clients that ask, and that have room for next to nothing."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(stack.enter_context(socket.socket()))
            opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            opened[-1].settimeout(20)
            opened[-1].connect(web)
            opened[-1].sendall(asked)
        yield opened


def fill_list(url: str, headers: dict[str, str]) -> None:
    """Make the list so long that its export is larger than what the system keeps of an answer."""
    for part in range(5):
        lines = [f"+49 30 {2_000_000 + 1000 * part + number}; {chr(0x1F600) * 100}" for number in range(500)]
        posted = "\n".join(lines).encode()
        assert requests.post(f"{url}/api/v1/do-not-call/import", data=posted, headers=headers, timeout=60).ok


def export_once_it_is_free(url: str, headers: dict[str, str]) -> requests.Response:
    """Ask as a program does: one list of a portal is made at a time, and a busy one says when to come again."""
    ends_at = time.monotonic() + 30
    while True:
        answer = requests.get(url + EXPORT, headers=headers, timeout=60)
        if answer.status_code != 429 or time.monotonic() > ends_at:
            return answer
        time.sleep(int(answer.headers["Retry-After"]))


@pytest.mark.long
def test_readers_that_take_a_little_of_many_answers_stop_nobody(web: tuple[str, int]) -> None:
    with readers(web, LARGE * 60) as clients:
        for _ in range(3):
            assert longest(f"http://{web[0]}:{web[1]}/healthz", 2) < QUICK
            for client in clients:
                client.recv(1024)


@pytest.mark.long
def test_readers_that_read_nothing_and_come_again_stop_nobody(web: tuple[str, int]) -> None:
    last_one = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for asked in (LARGE * 60, last_one):
        for _ in range(2):
            with readers(web, asked):
                assert longest(f"http://{web[0]}:{web[1]}/healthz") < QUICK


@pytest.mark.long
def test_readers_of_one_large_answer_stop_nobody_and_others_get_all_of_it(web: tuple[str, int], desk: Actor) -> None:
    url, headers = f"http://{web[0]}:{web[1]}", {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/csv"}
    fill_list(url, headers)
    asked = f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n\r\n".encode()
    with readers(web, asked):
        whole = export_once_it_is_free(url, headers)
        assert longest(f"{url}/healthz") < QUICK
    assert (whole.status_code, len(whole.content)) == (200, int(whole.headers["Content-Length"]))
    assert len(whole.content) > 1_000_000
    assert len(whole.text.splitlines()) == 2501


def test_a_client_that_reads_gets_all_answers_in_their_order(web: tuple[str, int]) -> None:
    with socket.create_connection(web, 20) as connection:
        connection.sendall(LARGE * 30)
        time.sleep(0.5)
        assert [_status(connection) for _ in range(30)] == [200] * 30
        connection.sendall(LARGE_HEAD)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_the_longest_part_of_a_list_is_taken_in_and_a_larger_one_is_refused(web: tuple[str, int], desk: Actor) -> None:
    url = f"http://{web[0]}:{web[1]}/api/v1/do-not-call/import"
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/plain; charset=utf-8"}
    lines = [f"+4930{90000000 + number}; {'x' * 35}" for number in range(do_not_call.MAX_IMPORT)]
    longest = "\n".join(lines).encode()
    assert 240 * 1024 < len(longest) <= MAX_REQUEST_BYTES == MAX_BODY_BYTES
    answer = requests.post(url, data=longest, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["added"]) == (200, len(lines))
    assert requests.post(url, data=longest.ljust(MAX_BODY_BYTES + 1), headers=headers, timeout=60).status_code == 413


@pytest.mark.long
def test_what_is_too_large_or_too_slow_is_closed(web: tuple[str, int]) -> None:
    endless = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000
    refused = {
        endless: b"HTTP/1.1 431",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n": b"HTTP/1.1 413",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n": b"HTTP/1.1 413",
        CHUNKED + b"1\r\nx\r\n" * (MAX_CHUNKS + 1) + b"0\r\n\r\n": b"HTTP/1.1 413",
        CHUNKED + b"1;" + b"x" * MAX_CHUNK_HEAD_BYTES: b"HTTP/1.1 413",
        CHUNKED + b"1\r\nx\r\n0\r\n" + b"X-Long: x\r\n" * 4000: b"HTTP/1.1 413",
        HALVES["a body"]: b"HTTP/1.1 408",
    }
    for sent, answer in refused.items():
        with socket.create_connection(web, 20) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith(answer)


def test_a_request_that_comes_in_pieces_is_answered_and_its_connection_used_again(web: tuple[str, int]) -> None:
    # Longer than one read, and short enough to be thrown away where the app does not read it.
    body = b"x" * 60_000
    heads = (
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        CHUNKED + b"1\r\nx\r\n" * MAX_CHUNKS + b"0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    )
    with socket.create_connection(web, 20) as connection:
        for whole, status in zip(heads, (400, 400, 400, 200, 400), strict=True):
            half = len(whole) // 2
            connection.sendall(whole[:half])
            time.sleep(0.1)
            connection.sendall(whole[half:])
            assert _status(connection) == status
        # Two at once, one behind the other.
        connection.sendall(heads[3] * 2)
        assert [_status(connection), _status(connection)] == [200, 200]


def _status(connection: socket.socket) -> int:
    """Read one answer as a whole; a permission to go on is none."""
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = connection.recv(1)
            assert received, "the connection was closed"
            head += received
        status = int(head.split()[1])
        if status == 100:
            continue
        lengths = [
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        left = lengths[0] if lengths else 0
        while left:
            left -= len(connection.recv(left))
        return status

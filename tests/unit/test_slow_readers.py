"""What a client does not take at once is kept within bounds, in size, number and time."""

import socket
import struct
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from select import select
from selectors import DefaultSelector
from unittest.mock import Mock

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn, ThreadWorker

import buffering_socket
import buffering_worker
from buffering_socket import BufferingSocket
from buffering_worker import BufferingWorker

ANSWER = bytes(range(256)) * 8000


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pair(opened: ExitStack) -> tuple[BufferingSocket, socket.socket]:
    """Our end, and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    return opened.enter_context(BufferingSocket(ours)), opened.enter_context(theirs)


def answered(worker: BufferingWorker, opened: ExitStack) -> tuple[TConn, socket.socket]:
    """A connection whose thread has written a large answer."""
    ours, theirs = pair(opened)
    connection = TConn(Config(), ours, ("", 0), ("", 0))
    ours.sendall(ANSWER)
    done: Future[bool] = Future()
    done.set_result(False)
    worker.nr_conns += 1
    worker.finish_request(connection, done)
    return connection, theirs


@pytest.fixture
def worker(opened: ExitStack) -> BufferingWorker:
    """A worker that has not begun to serve."""
    made: BufferingWorker = object.__new__(BufferingWorker)
    made.poller, made.nr_conns, made.pending_conns = opened.enter_context(DefaultSelector()), 0, deque()
    made._arriving, made._leaving = {}, {}
    return made


def test_nobody_waits_and_all_of_it_comes(opened: ExitStack) -> None:
    ours, theirs = pair(opened)
    ours.sendall(ANSWER[:1000])
    ours.sendall(ANSWER[1000:])
    assert ours.unsent > buffering_socket.KEPT_IN_MEMORY
    received = b""
    while len(received) < len(ANSWER):
        received += theirs.recv(65536)
        ours.send_kept()
    assert (received, ours.unsent) == (ANSWER, 0)


def test_an_answer_that_is_too_large_is_not_kept(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffering_socket, "MAX_KEPT_BYTES", 1_000_000)
    with pytest.raises(OSError, match="larger than"):
        pair(opened)[0].sendall(ANSWER)


@pytest.mark.parametrize(("name", "bound"), [("MAX_LEAVING", 2), ("MAX_KEPT_BYTES", len(ANSWER) * 2)])
def test_when_too_much_is_leaving_the_first_is_closed(
    worker: BufferingWorker, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    monkeypatch.setattr(buffering_worker, name, bound)
    connections = [answered(worker, opened)[0] for _ in range(3)]
    assert [connection.sock.fileno() < 0 for connection in connections] == [True, False, False]
    assert worker.nr_conns == 2


@pytest.mark.parametrize(
    ("method", "then", "is_served"),
    [
        ("GET", "leaves", False),
        ("HEAD", "leaves", False),
        ("GET", "resets", False),
        ("GET", "waits", True),
        ("GET", "asks again", True),
        ("POST", "leaves", True),
    ],
)
def test_what_only_asks_is_not_made_for_whoever_has_gone(
    worker: BufferingWorker, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, method: str, then: str, is_served: bool
) -> None:
    """Who leaves once a website's request is sent has sent it."""
    monkeypatch.setattr(ThreadWorker, "handle_request", lambda *_: True)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ours = opened.enter_context(BufferingSocket(server.accept()[0]))
        if then == "asks again":
            client.sendall(b"GET / HTTP/1.1")
        if then == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then in {"leaves", "resets"}:
            client.close()
        select([ours], [], [], 0.0 if then == "waits" else 5)
        request = Mock(method=method, body=Mock(read=lambda: b""))
        assert worker.handle_request(request, TConn(Config(), ours, ("", 0), ("", 0))) is is_served


def test_an_answer_has_an_end(worker: BufferingWorker, opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffering_worker, "LEAVING_SECONDS", -1000.0)
    connection, _ = answered(worker, opened)
    worker.murder_pending()
    assert connection.sock.fileno() < 0
    assert worker.nr_conns == 0

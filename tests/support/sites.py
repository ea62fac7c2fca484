"""Servers of others on loopback: a company's site that is told things, one that must not be asked, a bare socket."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Told:
    """One request that reached the site."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def signature(self) -> str:
        return self.headers["X-Callback-Desk-Signature"]


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: str = "", **headers: str) -> Answer:
    """Answer with a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body.encode())))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


@dataclass
class Site:
    """What it was told; ``answers`` are used up in their order, then it says 204."""

    url: str
    told: list[Told] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hangs(self, handler: BaseHTTPRequestHandler) -> None:
        """An answer: say nothing until the test is over."""
        self.released.wait(30)

    def drips(self, handler: BaseHTTPRequestHandler) -> None:
        """An answer: byte by byte, never to end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.released.wait(0.05):
            handler.wfile.write(b"x")

    def hesitates(self, handler: BaseHTTPRequestHandler) -> None:
        """The usual answer: 204, after a moment in which another request would be seen.

        It has ended before its answer leaves, for whoever has that may send the next request at once.
        """
        time.sleep(0.005)
        self._end()
        status(204)(handler)

    def _end(self) -> None:
        with self._lock:
            self._at_once -= 1

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Note a request and answer it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._lock:
            self.told.append(Told(handler.path, dict(handler.headers.items()), body))
            answer = self.answers.pop(0) if self.answers else self.hesitates
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        with suppress(OSError):  # The other side has hung up.
            answer(handler)
        if answer != self.hesitates:
            self._end()

    def states(self, callback_id: object = None) -> list[str]:
        """The states that it was told, in the order they came."""
        callbacks = [told.json["callback"] for told in self.told if "callback" in told.json]
        return [one["state"] for one in callbacks if callback_id in (None, one["id"])]


@contextmanager
def a_site() -> Iterator[Site]:
    """A site for the length of a test."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            site.take(self)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_address[1]}/hook")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name="site").start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        server.server_close()


class Canary:
    """A server that nobody may talk to, on a loopback address of its own; ``heard`` is what anybody sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.200", 0))
        self.host = "{}:{}".format(*self._listener.getsockname())
        self.url = f"http://{self.host}"
        self.connections = 0
        self.heard = b""
        self._thread = threading.Thread(target=self._listen, daemon=True, name="canary")
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.connections += 1
                connection.settimeout(1)
                try:
                    self.heard += connection.recv(65536)
                    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"result": {}}'[:-1])
                except OSError:
                    pass

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=2)


@contextmanager
def canary() -> Iterator[Canary]:
    """A canary for the length of a test, which must have heard nothing at its end."""
    bird = Canary()
    try:
        yield bird
        assert (bird.connections, bird.heard) == (0, b"")
    finally:
        bird.close()


class Listener:
    """A bare socket that counts connections and does what a test says with each."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.connections = 0
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            # The client may hang up while it is being answered.
            with connection, suppress(OSError):
                if self._answer is not None:
                    connection.recv(65536)
                    connection.sendall(self._answer)
                    # What the client has still to say is heard: unheard, it would reset the connection.
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(2)
                    while connection.recv(65536):
                        pass

    def close(self) -> None:
        self._socket.close()

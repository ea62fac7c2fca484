"""A company's site that webhooks are told to, on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Note a request and answer it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._lock:
            self.told.append(Told(handler.path, dict(handler.headers.items()), body))
            answer = self.answers.pop(0) if self.answers else status(204)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer(handler)
        except OSError:
            pass  # The other side has hung up.
        finally:
            with self._lock:
                self._at_once -= 1

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

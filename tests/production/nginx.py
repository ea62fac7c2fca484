"""nginx with the site that is shipped, in front of something that tells what came through."""

import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import trustme

from tests.production.container import DEPLOY, substituted
from tests.production.machine import SYSTEM
from tests.support.processes import free_port

NGINX = shutil.which("nginx", path=SYSTEM)
COMPANY, HOME = "127.0.0.1", "127.0.0.2"


class _Upstream(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 1000

    def __init__(self, path: str) -> None:
        self.seen: list[str] = []
        self.goes_on = threading.Event()
        super().__init__(path, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Upstream

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(f"{self.command} {self.path}")
        if self.path == "/waits":
            self.server.goes_on.wait(30)
        if self.path == "/dies":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_GET  # noqa: N815 - so they are called

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return ""


@dataclass
class Site:
    """nginx and what stands behind it."""

    upstream: _Upstream
    tls: ssl.SSLContext
    http: int
    https: int
    log: Path
    headers: dict[str, str] = field(default_factory=dict)
    visitors: int = 0

    def connect(self, address: str = COMPANY) -> HTTPSConnection:
        return HTTPSConnection("localhost", self.https, timeout=10, context=self.tls, source_address=(address, 0))

    def ask(self, method: str, path: str, body: bytes = b"", address: str = COMPANY, **headers: str) -> int:
        """The status of an answer; what the app would have seen is kept in ``headers``."""
        with closing(self.connect(address)) as connection:
            connection.request(method, path, body, headers={name.replace("_", "-"): v for name, v in headers.items()})
            answer = connection.getresponse()
            said, status = answer.read(), int(answer.status)
            if status == 200:
                self.headers = json.loads(said)
            return status

    def flood(self, method: str, path: str, count: int, address: str = COMPANY) -> Counter[int]:
        """How many of these requests in a row got each status; they share a connection."""
        statuses = Counter[int]()
        with closing(self.connect(address)) as connection:
            for _ in range(count):
                connection.request(method, path)
                answer = connection.getresponse()
                answer.read()
                statuses[answer.status] += 1
        return statuses


@contextmanager
def serving(folder: Path, conf: str) -> Iterator[Site]:
    """Run nginx with a whole ``nginx.conf`` that includes ``{folder}/site``, and what stands behind it."""
    ca, tls, ports = trustme.CA(), ssl.create_default_context(), (free_port(), free_port())
    ca.configure_trust(tls)
    certificate = ca.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "pem")
    values = {
        "DOMAIN": "localhost",
        "PUBLIC_URL": f"https://localhost:{ports[1]}",
        "LISTEN_HTTP": f"127.0.0.1:{ports[0]}",
        "LISTEN_HTTPS": f"127.0.0.1:{ports[1]}",
        "UPSTREAM": f"unix:{folder}/app.sock",
        "ACCESS_LOG": str(folder / "callback-desk.log"),
        "ERROR_LOG": str(folder / "callback-desk.error.log"),
        "CERTIFICATE": str(folder / "pem"),
        "CERTIFICATE_KEY": str(folder / "pem"),
    }
    (folder / "site").write_text(substituted((DEPLOY / "nginx.conf").read_text(), values))
    (folder / "conf").write_text(conf)
    upstream = _Upstream(str(folder / "app.sock"))
    threading.Thread(target=upstream.serve_forever, args=(0.02,), daemon=True).start()
    # With as few files as systemd gives a service.
    command = ["prlimit", "--nofile=1024:", str(NGINX), "-c", str(folder / "conf")]
    nginx = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    made = Site(upstream, tls, *ports, folder / "callback-desk.log")
    try:
        eventually(lambda: made.ask("GET", "/healthz") == 200)
        yield made
    finally:
        nginx.terminate()
        nginx.wait(10)
        upstream.shutdown()
        upstream.server_close()


def as_user(folder: Path) -> str:
    """The line that lets nginx's processes read a folder of root's."""
    return "user root;" if Path("/root").owner() == folder.owner() else ""


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for ten seconds at the most."""
    deadline = time.monotonic() + 10
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)

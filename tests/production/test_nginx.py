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
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme

from tests.production.container import DEPLOY, substituted
from tests.production.machine import SYSTEM
from tests.support.processes import free_port

NGINX = shutil.which("nginx", path=SYSTEM)
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: run .ci/servers")
BEHIND = """daemon off; pid {folder}/pid; error_log {folder}/log; {as_user}
events {{}}
http {{ {temporary} access_log off; set_real_ip_from 127.0.0.0/8; real_ip_header Test-Address; include {folder}/site; }}
"""
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
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
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    as_user = "user root;" if Path("/root").owner() == Path(folder).owner() else ""
    (folder / "conf").write_text(BEHIND.format(folder=folder, as_user=as_user, temporary=temporary))
    upstream = _Upstream(str(folder / "app.sock"))
    threading.Thread(target=upstream.serve_forever, args=(0.02,), daemon=True).start()
    nginx = subprocess.Popen([str(NGINX), "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    made = Site(upstream, tls, *ports, folder / "callback-desk.log")
    _eventually(lambda: made.ask("GET", "/healthz") == 200)
    yield made
    nginx.terminate()
    nginx.wait(10)
    upstream.shutdown()
    upstream.server_close()


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_app_reads_the_address_that_nginx_saw_and_none_that_was_sent(site: Site) -> None:
    assert site.ask("GET", "/", X_Forwarded_For="203.0.113.9", X_Request_ID="made-up-by-a-visitor") == 200
    assert site.headers["X-Forwarded-For"] == COMPANY
    assert site.headers["X-Forwarded-Proto"] == "https"
    assert site.headers["X-Forwarded-Host"] == site.headers["Host"] == f"localhost:{site.https}"
    assert len(site.headers["X-Request-ID"]) == 32
    assert site.ask("GET", "/", address=HOME) == 200
    assert site.headers["X-Forwarded-For"] == HOME


@pytest.mark.parametrize(
    ("method", "path", "count", "refused"),
    [
        ("POST", "/w/form/callbacks", 60, range(25, 31)),
        ("GET", "/w/form", 60, range(1)),
        ("GET", "/w/form", 250, range(20, 150)),
        ("HEAD", "/w/form/slots", 250, range(20, 150)),
        ("GET", "/c/link", 250, range(20, 150)),
        ("GET", "/w/form/widget.js", 250, range(1)),
        ("POST", "/", 200, range(20, 101)),
        ("POST", "/install", 200, range(20, 201)),
        ("POST", "/placement", 200, range(20, 201)),
        ("GET", "/placement", 200, range(1)),
        ("POST", "/events", 1200, range(1)),
        ("POST", "/robot", 1200, range(1)),
        ("POST", "/api/v1/numbers/read", 300, range(1)),
    ],
)
def test_an_address_is_limited_where_strangers_come_in_and_another_one_is_not(
    site: Site, method: str, path: str, count: int, refused: range
) -> None:
    site.visitors += 1
    answers = site.flood(method, path, count, f"127.0.1.{site.visitors}")
    assert answers[429] in refused, answers
    assert answers[200] + answers[429] == count
    assert site.flood(method, path, 1, HOME) == {200: 1}


def test_the_addresses_of_an_ipv6_network_are_limited_together(site: Site) -> None:
    def asked_from(network: str) -> Counter[int]:
        # Line feeds, NULs and bytes that are no UTF-8 are addresses, too.
        ends = [f"{number:x}:a0a:0:ffff" for number in range(60)]
        return Counter(site.ask("POST", "/w/form/callbacks", Test_Address=f"{network}:{end}") for end in ends)

    assert asked_from("2001:db8:a0a:1")[429] in range(25, 31)
    assert asked_from("2001:db8:a0a:2")[429] in range(25, 31)


def test_ipv4_addresses_that_are_written_as_ipv6_are_limited_each_for_itself(site: Site) -> None:
    def asked_from(address: str) -> Counter[int]:
        return Counter(site.ask("POST", "/w/form/callbacks", Test_Address=address) for _ in range(60))

    # Line feeds, NULs and bytes that are no UTF-8 are addresses, too.
    assert asked_from("::ffff:203.10.0.255")[429] in range(25, 31)
    assert asked_from("::ffff:203.10.0.254")[429] in range(25, 31)


def test_a_request_comes_through_as_a_whole_or_not_at_all(site: Site) -> None:
    with closing(site.connect()) as connection:
        connection.putrequest("POST", "/api/v1/slow")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x" * 999)
        time.sleep(0.3)
        assert "POST /api/v1/slow" not in site.upstream.seen
        connection.send(b"x")
        assert connection.getresponse().status == 200
    assert site.ask("POST", "/api/v1/large", b"x" * 262145) == 413
    assert "POST /api/v1/large" not in site.upstream.seen


def test_what_was_perhaps_done_is_not_asked_again(site: Site) -> None:
    assert site.ask("POST", "/dies") == 502
    assert site.upstream.seen.count("POST /dies") == 1


def test_whoever_asks_and_leaves_keeps_a_place_until_the_app_has_answered(site: Site) -> None:
    stranger, places = "127.0.3.1", 200
    for _ in range(places):
        with closing(site.connect(stranger)) as connection:
            connection.request("GET", "/waits")
    _eventually(lambda: site.upstream.seen.count("GET /waits") == places)
    assert site.ask("GET", "/", address=stranger) == 429
    assert site.ask("GET", "/", address=HOME) == 200
    site.upstream.goes_on.set()
    _eventually(lambda: site.ask("GET", "/", address=stranger) == 200)


def test_http_leads_to_https_but_for_the_proof_of_the_domain(site: Site) -> None:
    for path, status in (("/w/form?page=1", 308), ("/.well-known/acme-challenge/none", 404)):
        with closing(HTTPConnection("127.0.0.1", site.http, timeout=10)) as connection:
            connection.request("GET", path, headers={"Host": "localhost"})
            answer = connection.getresponse()
            assert answer.status == status
            if status == 308:
                assert answer.headers["Location"] == f"https://localhost:{site.https}{path}"


def test_the_log_has_no_query_no_link_of_a_customer_and_no_look_of_a_monitor(site: Site) -> None:
    assert site.ask("GET", "/desk/callbacks?q=4930901820") == 200
    assert site.ask("GET", "/c/signed-link-of-a-customer") == 200
    assert site.ask("GET", "/readyz") == 200
    assert site.ask("POST", "/c/signed-link-of-a-customer/cancel") == 200
    said = site.log.read_text() + site.log.with_suffix(".error.log").read_text()
    assert "GET /desk/callbacks 200" in said
    assert "GET /c/ 200" in said
    assert not [hidden for hidden in ("4930901820", "signed-link", "readyz") if hidden in said]


LONG = [("POST", "/w/" + "a" * 7000), ("POST", "/w/" + "%0A" * 2000), ("A" * 7000, "/w/")]


@pytest.mark.parametrize(("method", "path"), LONG)
def test_a_stranger_writes_little_into_the_log(site: Site, method: str, path: str) -> None:
    stranger = f"127.1.{len(method) % 200}.{len(path) % 200}"
    before, count = site.log.stat().st_size, 300
    refused = site.flood(method, path, count, stranger)[429]
    lines = site.log.read_bytes()[before:].decode().splitlines()
    assert max(map(len, lines)) < 500
    assert refused > count / 2 or method != "POST"
    assert sum(" 429 " in line for line in lines) <= refused / 5
    assert len(lines) >= count - refused - 1

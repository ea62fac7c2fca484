"""The operator's Sentry is told where something went wrong, and nothing of anybody; whatever it does, nothing stops."""

import gzip
import json
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import text

from bx24app import create_app
from bx24app.database import reading
from bx24app.settings import SettingsError
from bx24app.worker import jobs
from bx24app.worker.scheduler import Job
from tests.conftest import Eventually, OtherApp, plain_environ, working
from tests.fake_bitrix24 import FakePortal
from tests.support.remembered import remember
from tests.support.waiting import NUMBER

KEY = secrets.token_hex(16)
DIGITS = NUMBER[1:]
ROUTE = "/w/<key:form_key>/callbacks"


@dataclass
class Sentry:
    """What it was sent: headers and bodies as they came, and the reports in them."""

    url: str
    sent: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    hangs: threading.Event | None = None

    @property
    def dsn(self) -> str:
        return self.url.replace("http://", f"http://{KEY}@") + "/7"

    def of(self, event: str) -> dict[str, Any]:
        return next(report for report in self.reports if report["message"] == event)

    def has(self, event: str) -> bool:
        return any(report["message"] == event for report in self.reports)


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if running.hangs is not None:
                running.hangs.wait(30)
            written = gzip.decompress(body).decode()
            running.sent.append(f"{self.path}\n{self.headers}\n{written}")
            lines = [json.loads(line) for line in written.splitlines()]
            running.reports.extend(line for line in lines if "message" in line)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Sentry(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name="sentry").start()
    yield running
    if running.hangs is not None:
        running.hangs.set()
    server.shutdown()
    server.server_close()


def let_break(app: Flask, secret: str) -> None:
    """Let the intake of websites break, with a secret wherever a mistake may have one."""

    def view(**_: str) -> str:
        held, number = f"{secret}-variable", NUMBER
        try:
            raise KeyError(f"{secret}-cause {number} {request.get_data()!r}")
        except KeyError as cause:
            raise RuntimeError(f"{secret}-words {held}") from cause

    rules = app.url_map.iter_rules()
    [name] = [rule.endpoint for rule in rules if rule.rule == ROUTE and "POST" in (rule.methods or ())]
    app.view_functions[name] = view


def fail(app: Flask, secret: str) -> None:
    """A request that fails, with a secret wherever a request may have one."""
    client = app.test_client()
    client.set_cookie("session", f"{secret}-cookie")
    answer = client.post(
        f"/w/unknownform1/callbacks?q={secret}-query&number={DIGITS}",
        data={"number": NUMBER, "note": f"{secret}-body"},
        headers={"Authorization": f"Bearer {secret}-header", "Referer": f"https://x.example/{secret}-referer"},
    )
    assert answer.status_code == 500


def test_a_report_says_where_and_nothing_of_anybody(
    app: Flask, other_app: OtherApp, sentry: Sentry, portal: FakePortal, eventually: Eventually
) -> None:
    secret = remember(f"canary-{secrets.token_urlsafe(30)}")
    watched = other_app(SENTRY_DSN=sentry.dsn)
    let_break(watched, secret)
    fail(watched, secret)
    eventually(lambda: sentry.has("failed"))
    report = sentry.of("failed")
    assert set(report["tags"]) == {"request_id", "route"}
    assert report["tags"]["route"] == ROUTE
    cause, error = report["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "RuntimeError")
    assert error["stacktrace"]["frames"][-1]["function"] == "view"
    assert {name for frame in error["stacktrace"]["frames"] for name in frame} <= {
        *("abs_path", "filename", "function", "lineno", "module", "in_app"),
    }
    assert not {"request", "user", "breadcrumbs", "extra", "modules", "contexts", "server_name"} & set(report)
    everything = "\n".join(sentry.sent)
    assert f"sentry_key={KEY}" in everything
    for told in (secret, DIGITS, DIGITS[-6:], portal.member_id, socket.gethostname(), *sys.argv[1:2]):
        assert told not in everything, told


def test_a_job_and_the_database_are_reported_without_values(
    app: Flask, other_app: OtherApp, sentry: Sentry, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    secret = remember(f"canary-{secrets.token_urlsafe(30)}")
    watched = other_app(SENTRY_DSN=sentry.dsn)

    def purge() -> int:
        with reading() as session:
            session.execute(text("SELECT :secret FROM nowhere"), {"secret": f"{secret} {NUMBER}"})
        return 0

    monkeypatch.setattr(jobs, "_PURGES", (Job("purge_deliveries", 60.0, purge),))
    with working(watched):
        eventually(lambda: sentry.has("job_failed"))
    report = sentry.of("job_failed")
    assert report["tags"] == {"job": "purge_deliveries"}
    assert "nowhere" in report["exception"]["values"][-1]["value"]
    everything = "\n".join(sentry.sent)
    assert secret not in everything
    assert DIGITS not in everything


@pytest.mark.parametrize("how", ["hangs", "is gone"])
def test_nothing_waits_for_a_sentry_that_does_not_answer(
    app: Flask, other_app: OtherApp, sentry: Sentry, how: str
) -> None:
    secret = remember(f"canary-{secrets.token_urlsafe(30)}")
    sentry.hangs = threading.Event()
    dsn = sentry.dsn if how == "hangs" else f"http://{KEY}@127.0.0.1:1/7"
    watched = other_app(SENTRY_DSN=dsn)
    let_break(watched, secret)
    fail(watched, secret)
    began = time.monotonic()
    # More than are kept for it.
    for _ in range(150):
        fail(watched, secret)
    assert time.monotonic() - began < 20
    assert watched.test_client().get("/healthz").status_code == 200


def test_without_the_package_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(SettingsError, match="BX24APP_SENTRY_DSN is set, but sentry-sdk is not installed"):
        create_app({**plain_environ(), "BX24APP_SENTRY_DSN": "https://abc@sentry.example.com/7"})


@pytest.mark.parametrize(
    "wrong",
    ["sentry.example.com/7", "https://sentry.example.com/7", "https://k3y@sentry.example.com/", "ftp://k3y@x/7"],
)
def test_what_is_no_dsn_stops_the_start_and_is_not_repeated(wrong: str) -> None:
    with pytest.raises(SettingsError) as refused:
        create_app({**plain_environ(), "BX24APP_SENTRY_DSN": wrong})
    assert re.search("BX24APP_SENTRY_DSN.*needs an address", str(refused.value))
    assert "k3y" not in str(refused.value)

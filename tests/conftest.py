"""What every test may ask for: both databases, the fake Bitrix24, the app, and people who use it."""

import base64
import gc
import secrets
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from bx24app import create_app
from bx24app.database import db
from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support import browser, database, leaks
from tests.support.actors import Actor
from tests.support.compiled import compile_once, compiled_once
from tests.support.decided_by_database import is_decided_by_database
from tests.support.fuzzing import SEED

# Hooks: a test that leaks a secret fails.
from tests.support.leaks import (
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_sessionfinish,
    pytest_testnodedown,
)
from tests.support.registration import register
from tests.support.remembered import MADE, remember
from tests.support.serving import Serving

__all__ = ["pytest_runtest_makereport", "pytest_runtest_setup", "pytest_sessionfinish", "pytest_testnodedown"]

# Fixtures of processes and of website forms stand with those who use them.
pytest_plugins = [
    "tests.support.operator",
    "tests.support.rule_steps",
    "tests.support.timeline_steps",
    "tests.support.websites",
]
PATIENCE_SECONDS = 40
UNIT = Path(__file__).parent / "unit"
LOOPBACK = ("127.", "::1", "localhost")


def pytest_configure() -> None:
    compile_once()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Leave to ``make check`` what has a short case, and out of both what differs from it in two ways at once.

    The ways are: on PostgreSQL what no database decides (two for a page, and for every second story), a narrow page, a
    case between the first and the last one of a story (there also the last one), and what is marked ``long`` itself.
    """
    ways, cases = Counter[pytest.Function](), defaultdict[tuple[str, bool, bool, object], list[pytest.Function]](list)
    for item in items:
        params = item.callspec.params if "callspec" in vars(item) else {}
        on_postgresql = "postgresql" in (params.get("database_url"), params.get("database"))
        is_long = item.get_closest_marker("long") is not None
        is_alike = on_postgresql and not is_decided_by_database(item.path)
        story = item.nodeid.partition("[")[0]
        if is_alike:
            # What pages are made of is asked of PostgreSQL without a browser too.
            ways[item] += 2 if "chromium" in item.fixturenames or crc32(story.encode()) % 2 else 1
        ways[item] += params.get("page") == "phone"
        ways[item] += is_long
        if UNIT not in item.path.parents and not is_long:
            cases[story, is_alike, on_postgresql, params.get("page")].append(item)
    for (_, is_alike, *_), first_to_last in cases.items():
        ways.update(first_to_last[1:] if is_alike else first_to_last[1:-1])
    for item, number in ways.items():
        if number:
            item.add_marker("long")
        if number > 1:
            item.add_marker("combined")


def pytest_collection_finish() -> None:
    """Keep modules and collected tests out of the search for garbage, which took a fifth of the time of a test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what a run can be repeated with, and what was looked for."""
    terminalreporter.write_line(f"FUZZ_SEED={SEED}")
    leaks.pytest_terminal_summary(terminalreporter, config)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may talk to the world."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def encryption_key() -> str:
    """A fresh key for ``ENCRYPTION_KEYS``."""
    return remember(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())


def plain_environ() -> dict[str, str]:
    """Complete settings with fresh secrets, every one of them a canary."""
    return {
        "BX24APP_CLIENT_ID": f"app.{secrets.token_hex(7)}.12345678",
        "BX24APP_CLIENT_SECRET": remember(f"canary-{secrets.token_urlsafe(30)}"),
        "BX24APP_SECRET_KEY": remember(f"canary-{secrets.token_urlsafe(40)}"),
        "BX24APP_ENCRYPTION_KEYS": encryption_key(),
        "BX24APP_ALLOW_INSECURE_PORTALS": "true",
        "BX24APP_PUBLIC_URL": "http://127.0.0.1:1",
        "BX24APP_AUTH_SERVER": "http://127.0.0.1:1",
    }


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database.migrate_here({**plain_environ(), "BX24APP_DATABASE_URL": f"sqlite:///{path}"})
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[URL]:
    with database.workplace() as directory, database.postgres_server(directory / "postgres") as url:
        yield url


@pytest.fixture(scope="session")
def postgres_database(postgres: URL) -> Iterator[str]:
    with database.fresh_database(postgres) as url:
        database.migrate_here({**plain_environ(), "BX24APP_DATABASE_URL": url})
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated, empty database; whoever asks for it runs on both kinds. It must hold no secret afterwards."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = stack.enter_context(database.copied_database(request.getfixturevalue("sqlite_template")))
        else:
            url = request.getfixturevalue("postgres_database")
            database.empty_tables(url)
        made = len(MADE)
        yield url
        leaks.check_database(url, MADE[made:])


@pytest.fixture
def fake() -> Iterator[FakeBitrix24]:
    with FakeBitrix24() as cloud:
        yield cloud


@pytest.fixture
def portal(fake: FakeBitrix24) -> FakePortal:
    return fake.add_portal("alpha")


@pytest.fixture
def serving() -> Iterator[Serving]:
    server = Serving()
    yield server
    server.stop()


@pytest.fixture
def environ(fake: FakeBitrix24, database_url: str, serving: Serving) -> dict[str, str]:
    return {
        **plain_environ(),
        "BX24APP_DATABASE_URL": database_url,
        "BX24APP_AUTH_SERVER": fake.auth_server.url,
        "BX24APP_PUBLIC_URL": serving.url,
    }


@pytest.fixture
def app(environ: dict[str, str], serving: Serving, fake: FakeBitrix24) -> Iterator[Flask]:
    """The app, also reachable under its PUBLIC_URL, so that events and browsers find it."""
    application = compiled_once(create_app(environ))
    serving.serve(application)
    yield application
    # In this order nobody asks the app for anything any more when its database goes.
    fake.stop()
    serving.stop()
    with application.app_context():
        pool = db.engine.pool
        assert isinstance(pool, QueuePool)
        # A request that was under way when the server stopped gives its connection back first.
        for _ in range(100):
            if pool.checkedout() == 0:
                break
            threading.Event().wait(0.05)
        database.leave(db.engine)


OtherApp = Callable[..., Flask]


@pytest.fixture
def other_app(environ: dict[str, str], app: Flask) -> Iterator[OtherApp]:
    """Make further processes' apps: the same settings with changes, on the same database."""
    made: list[Flask] = []

    def make(**changes: str) -> Flask:
        settings = environ | {f"BX24APP_{name}": value for name, value in changes.items()}
        made.append(compiled_once(create_app(settings)))
        return made[-1]

    yield make
    for one in made:
        with one.app_context():
            database.leave(db.engine)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def application(fake: FakeBitrix24, environ: dict[str, str]) -> FakeApp:
    """The app's entry in the developer's area."""
    return register(fake, environ)


@pytest.fixture
def administrator(client: FlaskClient, portal: FakePortal, application: FakeApp) -> Actor:
    return Actor(client, portal, application, portal.administrator)


@pytest.fixture
def manager(administrator: Actor, portal: FakePortal) -> Actor:
    """A manager with the desk open, on a portal where the administrator has installed the app."""
    response = administrator.installs()
    assert response.status_code == 200, response.text
    portal.events.wait_until_idle()
    actor = Actor(administrator.client, portal, administrator.application, portal.manager)
    # The callbacks of a card: the whole list takes twice as long to open.
    assert actor.opens("CRM_LEAD_DETAIL_TAB", ID="1").status_code == 200
    return actor


@contextmanager
def working(app: Flask, dials: int = 4) -> Iterator[Worker]:
    """A worker at work in this process, gone at the end whatever the test found."""
    running = Worker(app, dials)
    thread = threading.Thread(target=running.run, name="worker", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture
def worker(app: Flask) -> Iterator[Worker]:
    with working(app) as running:
        yield running


Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture
def eventually() -> Eventually:
    """Wait until something holds; a busy machine may take its time."""

    def wait(holds: Callable[[], bool]) -> None:
        # Counted, for clocks may be set by the test.
        for _ in range(PATIENCE_SECONDS * 50):
            if holds():
                return
            time.sleep(0.02)
        raise AssertionError("it never came true")

    return wait


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(params=["desktop"])
def page(request: pytest.FixtureRequest, chromium: Browser, app: Flask) -> Iterator[Page]:
    """A browser page, closed before the app's server is; parametrize with "phone" for 360 px."""
    viewport = browser.PHONE if request.param == "phone" else browser.DESKTOP
    with browser.watched_page(chromium, viewport) as opened:
        yield opened

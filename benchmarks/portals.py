"""Fake portals with the app installed, a database, and worker processes: what dialling is measured with."""

import base64
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import insert, select, update

from bx24app import create_app
from bx24app.database import db, reading, writing
from bx24app.models import Callback, Portal, PortalSettings, State, utcnow
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support import database
from tests.support.actors import Actor
from tests.support.processes import NOTHING, Process, start

# Four workers hold more than PostgreSQL's usual hundred.
CONNECTIONS = 300
SCOPES = ("placement", "telephony", "call", "crm", "user_brief")


@dataclass(frozen=True)
class Due:
    """A callback to be made: whose, for which number, and when it is due."""

    portal: FakePortal
    number: str
    at: datetime


@dataclass
class Cloud:
    """An app on a database of its own, and the fake portals on which it is installed.

    ``speed``: so many times faster than the platform do the portals' buckets drain, and ours with them.
    """

    app: Flask
    environ: dict[str, str]
    fake: FakeBitrix24
    application: FakeApp
    speed: float

    def add_portals(self, count: int) -> list[FakePortal]:
        """Open portals and install the app; events are held back, and nobody answers the phones."""
        portals = []
        for number in range(count):
            portal = self.fake.add_portal(f"p{number}", host="127.0.0.2")
            portal.rest.bucket.rate *= self.speed
            portal.events.pause()
            Actor(self.app.test_client(), portal, self.application, portal.administrator).installs()
            portals.append(portal)
        with self.app.app_context(), writing() as session:
            session.execute(update(PortalSettings).values(line_cap=None))
        return portals

    def plan(self, wanted: Iterable[Due]) -> None:
        """Put callbacks of an automation rule into the database: they expire after a day."""
        now = utcnow()
        with self.app.app_context():
            with reading() as session:
                ids = dict(session.execute(select(Portal.member_id, Portal.id)).all())
            rows = [row_of(ids[due.portal.member_id], due, now) for due in wanted]
            with writing() as session:
                session.execute(insert(Callback), rows)

    @contextmanager
    def workers(self, count: int, dials: int = 16) -> Iterator[list[Process]]:
        """Worker processes at work."""
        command = (sys.executable, "-m", "benchmarks.worker", str(dials), str(self.speed))
        running: list[Process] = [start(command, self.environ) for _ in range(count)]
        try:
            yield running
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(80)


def row_of(portal_id: int, due: Due, now: datetime) -> dict[str, object]:
    """A row of ``callback`` that waits to be dialled, as an automation rule makes them."""
    return {
        "portal_id": portal_id,
        "state": State.SCHEDULED,
        "holds_number": False,
        "to_number": due.number,
        "line_id": "reg150907",
        "line_name": "Sales line",
        "text": "Callback request.",
        "source": "robot",
        "due_at": due.at,
        "expires_at": due.at + timedelta(hours=24),
        "lease_fence": 0,
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }


@contextmanager
def cloud(kind: str, speed: float = 1.0, settings: Mapping[str, str] = NOTHING) -> Iterator[Cloud]:
    """Everything that a measurement needs, gone at its end; ``kind``: sqlite or postgresql."""
    with FakeBitrix24() as fake, database_of(kind) as url:
        environ = {
            "BX24APP_CLIENT_ID": "app.bench.1",
            "BX24APP_CLIENT_SECRET": secrets.token_urlsafe(24),
            "BX24APP_SECRET_KEY": secrets.token_urlsafe(40),
            "BX24APP_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "BX24APP_ALLOW_INSECURE_PORTALS": "true",
            "BX24APP_PUBLIC_URL": "http://127.0.0.1:1",
            "BX24APP_AUTH_SERVER": fake.auth_server.url,
            "BX24APP_DATABASE_URL": url,
            "BX24APP_LOG_LEVEL": "ERROR",
            **settings,
        }
        database.migrate(environ)
        app = create_app(environ)
        application = fake.register_app(
            environ["BX24APP_CLIENT_ID"],
            environ["BX24APP_CLIENT_SECRET"],
            "callback_desk.app",
            "http://127.0.0.1:1/install",
            "http://127.0.0.1:1/",
            SCOPES,
        )
        yield Cloud(app, environ, fake, application, speed)
        with app.app_context():
            db.engine.dispose()


@contextmanager
def database_of(kind: str) -> Iterator[str]:
    """An empty database on a disk, which is waited for; ``kind``: sqlite or postgresql."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = Path(folder)
        if kind == "sqlite":
            yield f"sqlite:///{directory}/bench.db"
            return
        directory.chmod(0o755)  # PostgreSQL does not run as root, but under a user of its own.
        with (
            database.postgres_server(directory / "postgres", is_durable=True, connections=CONNECTIONS) as server,
            database.fresh_database(server) as url,
        ):
            yield url

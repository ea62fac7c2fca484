"""The app as an operator deploys it: gunicorn with the settings that are shipped, a worker, a database."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from bx24app import create_app
from bx24app.database import db
from tests.attack.proxy import Proxy
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeApp, FakeBitrix24
from tests.support import ROOT
from tests.support.processes import FLASK, Process, free_port, kill, start, wait_until_up
from tests.support.registration import register

ENDS_WITHIN = 15


@dataclass
class Deployment:
    """Running processes, and what a test looks at them with.

    ``app`` is no part of it: it has the same settings and reads the database.
    """

    fake: FakeBitrix24
    application: FakeApp
    app: Flask
    proxy: Proxy
    port: int
    logs: tuple[Path, ...]
    processes: tuple[Process, ...]
    environ: dict[str, str]

    @property
    def url(self) -> str:
        """Its address, behind the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        """Everything that its processes have logged."""
        return "\n".join(log.read_text() for log in self.logs)


def settings_of(fake: FakeBitrix24, database_url: str, port: int) -> dict[str, str]:
    """The settings of an app that a proxy reaches at a port of this machine."""
    return {
        **plain_environ(),
        "BX24APP_DATABASE_URL": database_url,
        "BX24APP_AUTH_SERVER": fake.auth_server.url,
        "BX24APP_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BX24APP_TRUSTED_PROXIES": "1",
    }


def documented_commands(port: int) -> dict[str, tuple[str, ...]]:
    """What an operator starts (docs/operating.md), by name; all that differs is the port."""
    return {
        "web": (sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app"),
        "worker": (*FLASK, "worker"),
    }


@contextmanager
def deployed(fake: FakeBitrix24, database_url: str, folder: Path, sources: Path = ROOT) -> Iterator[Deployment]:
    """Start the documented processes (docs/operating.md) on a migrated database; they end with the block.

    ``folder`` is for their logs; ``sources``: the folder of another version of the app.
    """
    port = free_port()
    environ = settings_of(fake, database_url, port)
    app, running, logs = create_app(environ), [], []
    try:
        for name, command in documented_commands(port).items():
            logs.append(folder / f"{name}.log")
            with logs[-1].open("wb") as stream:
                running.append(start(command, environ, stream, sources))
        wait_until_up(f"http://127.0.0.1:{port}")
        application = register(fake, environ)
        yield Deployment(fake, application, app, Proxy(port), port, tuple(logs), tuple(running), environ)
    finally:
        # What still hangs is let go first, so that they can end.
        fake.stop()
        for process in running:
            process.terminate()
        for process in running:
            with contextlib.suppress(Exception):
                process.wait(ENDS_WITHIN)
            kill(process)
        with app.app_context():
            db.engine.dispose()

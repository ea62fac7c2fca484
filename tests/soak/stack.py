"""The app as an operator runs it, and what a schedule does to it."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from sqlalchemy import update

from bx24app import create_app
from bx24app.database import db, writing
from bx24app.models import Form, PortalSettings
from tests.attack.deployment import documented_commands, settings_of
from tests.attack.proxy import Proxy
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24 import Fault as PortalFault
from tests.faults import databases
from tests.faults.databases import Database
from tests.soak.plan import PORTAL_SECONDS, Fault
from tests.support.actors import Actor, json_of
from tests.support.processes import free_port, kill, start, wait_until_up
from tests.support.registration import register

PORTALS = 16
DOWN_SECONDS = 1.0
ENDS_WITHIN = 75
# As many as a run sends, and each once: what is tried is no limit of a form.
LIMITS = {"address_hour": 10**6, "number_day": 3, "form_hour": 10**6, "form_day": 10**6}
# How a portal goes wrong, for so many requests while the fault lasts.
PORTAL_FAULTS = {
    "portal refuses": PortalFault("error", times=60, code="INTERNAL_SERVER_ERROR", status=503),
    "portal hangs": PortalFault("hang_before", times=12, seconds=PORTAL_SECONDS),
    "portal drips": PortalFault("drip_body", times=12, seconds=PORTAL_SECONDS),
}


@dataclass
class House:
    """A portal with the app: its administrator, who has it open, and its website's form."""

    portal: FakePortal
    administrator: Actor
    form_key: str


@dataclass
class Stack:
    """Running processes by name, and whom they serve; ``app`` only reads the database."""

    fake: FakeBitrix24
    application: FakeApp
    app: Flask
    database: Database
    port: int
    folder: Path
    environ: dict[str, str]
    houses: list[House] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one of the documented processes; its log is gone on with."""
        with (self.folder / f"{name}.log").open("ab") as stream:
            self.processes[name] = start(documented_commands(self.port)[name], self.environ, stream)

    def suffer(self, fault: Fault) -> None:
        """Let a fault happen, and end by itself."""
        if fault.kind == "worker killed":
            kill(self.processes["worker"])
            threading.Event().wait(DOWN_SECONDS)
            self.start("worker")
        elif fault.kind == "web reloaded":
            os.kill(self.processes["web"].pid, signal.SIGHUP)
        elif fault.kind == "database restarted":
            self.database.restart()
        else:
            model, faults = PORTAL_FAULTS[fault.kind], self.houses[fault.portal].portal.faults
            how = faults.add(model.kind, times=model.times, code=model.code, status=model.status, seconds=model.seconds)
            threading.Event().wait(PORTAL_SECONDS)
            how.times = 0
            how.released.set()

    def said(self) -> list[str]:
        """Every line that its processes have logged."""
        return [line for log in sorted(self.folder.glob("*.log")) for line in log.read_text().splitlines()]


@contextmanager
def deployed(kind: str, folder: Path) -> Iterator[Stack]:
    """Start the documented processes on a fresh database of a kind, with portals that use them."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeBitrix24())
        database = stack.enter_context(databases.opened(kind, plain_environ()))
        environ = settings_of(fake, database.url, port := free_port())
        app = create_app(environ)
        running = Stack(fake, register(fake, environ), app, database, port, folder, environ)
        stack.callback(_end, running)
        for name in documented_commands(port):
            running.start(name)
        wait_until_up(f"http://127.0.0.1:{port}")
        for number in range(PORTALS):
            running.houses.append(_house(running, number))
        with app.app_context(), writing() as session:
            session.execute(update(PortalSettings).values(line_cap=None, hours=None))
            session.execute(update(Form).values(limits=LIMITS, hours=None, retries=0))
        yield running


def _house(stack: Stack, number: int) -> House:
    portal = stack.fake.add_portal(f"p{number}")
    actor = Actor(Proxy(stack.port).test_client(), portal, stack.application, portal.administrator)
    assert actor.installs(keeps_hours=True).status_code == 200
    assert actor.opens().status_code == 200
    body = {"name": "Shop", "line_id": next(iter(portal.lines)), "default_country": "DE"}
    return House(portal, actor, json_of(actor.asks("POST", "/forms", body))["key"])


def _end(stack: Stack) -> None:
    """End every process; what still hangs is let go first."""
    stack.fake.stop()
    for process in stack.processes.values():
        process.terminate()
    for process in stack.processes.values():
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            kill(process)
    with stack.app.app_context():
        db.engine.dispose()

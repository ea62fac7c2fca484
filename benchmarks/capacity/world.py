"""Many portals with the app installed, a worker as it runs in production, and counters: all in one process."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from flask import Flask
from psycopg import Cursor
from requests import codes
from sqlalchemy import event, func, insert, select, update

from benchmarks.capacity.copies import copy_installation
from benchmarks.capacity.platform import Platform
from benchmarks.capacity.simulation import Condition, Simulation, Threads
from benchmarks.portals import Due, database_of, row_of
from bx24app import create_app
from bx24app.database import db, reading, transactions, writing
from bx24app.models import Callback, Portal, PortalSettings, State
from bx24app.worker import scheduler, worker
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support import database
from tests.support.actors import Actor
from tests.support.registration import register

# A Monday; zones that change their clocks have not done so yet.
BEGINS = datetime(2027, 3, 1, tzinfo=UTC)
SETTLING_SECONDS = 120.0
COUNTED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Statements:
    """How many statements the database was sent, by the second of the simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.by_second: Counter[int] = Counter()

    def watch(self) -> None:
        """Count on every connection of the app in this context; also what runs on bare connections."""
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", lambda connection, _: connection.set_trace_callback(self._count))
        else:
            event.listen(db.engine, "connect", self._watch_postgresql)
        db.engine.dispose()

    def _watch_postgresql(self, connection: Any, _: object) -> None:
        count = self._count

        class Counting(Cursor[Any]):
            def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
                count(str(query))
                return super().execute(query, *arguments, **options)

        connection.cursor_factory = Counting

    def _count(self, statement: str) -> None:
        if statement.lstrip().upper().startswith(COUNTED):
            self.by_second[int(self._simulation.now().timestamp())] += 1

    def total(self) -> int:
        """All of them so far."""
        return self.by_second.total()

    def busiest(self, since: datetime, seconds: int = 10) -> float:
        """The most of them per second, over some seconds together."""
        first, last = int(since.timestamp()), max(self.by_second, default=0)
        spans = range(first, last + 1, seconds)
        return max((sum(self.by_second[at + s] for s in range(seconds)) for at in spans), default=0) / seconds


@dataclass
class World:
    """What the phases of a simulation work with."""

    app: Flask
    simulation: Simulation
    platform: Platform
    statements: Statements
    portals: list[FakePortal]
    dials: int
    ids: dict[str, int] = field(default_factory=dict)

    def plan(self, wanted: Iterable[Due]) -> None:
        """Put callbacks into the database; takes no time."""
        now = self.simulation.now()
        rows = [row_of(self.ids[due.portal.member_id], due, now) for due in wanted]
        with self.simulation.outside(), self.app.app_context(), writing() as session:
            session.execute(insert(Callback), rows)

    @contextmanager
    def working(self) -> Iterator[None]:
        """The app's own worker with all its jobs; only its clock and its threads are the simulation's."""
        condition = SimpleNamespace(Condition=lambda: Condition(self.simulation))
        with (
            patch.object(scheduler, "threading", condition),
            patch.object(worker, "Threads", lambda: Threads(self.simulation)),
        ):
            running = worker.Worker(self.app, self.dials)
        with self._letting_others():
            self.simulation.start(running.run)
            try:
                yield
            finally:
                running.stop()
                self.simulation.run(worker.FINISH_SECONDS)

    @contextmanager
    def _letting_others(self) -> Iterator[None]:
        """Let other tasks go on after each transaction."""
        single_transaction = transactions.single_transaction

        @contextmanager
        def and_then_others() -> Iterator[None]:
            with single_transaction():
                yield
            self.simulation.let_others()

        with patch.object(transactions, "single_transaction", and_then_others):
            yield

    def waiting(self) -> int:
        """How many callbacks are due or under way to the portal."""
        states = (State.SCHEDULED, State.QUEUED, State.DIALLING)
        with self.app.app_context(), reading() as session:
            return session.scalar(select(func.count()).where(Callback.state.in_(states))) or 0


@contextmanager
def built(url: str, portals: int, dials: int, stopwatch: str = "wall") -> Iterator[World]:
    """Install the app on many portals, on a migrated database; the simulation begins on a Monday at midnight UTC."""
    # With the processor's clock alone nothing tells of the database's.
    waits_apart = stopwatch == "wall" and not url.startswith("sqlite")
    simulation = Simulation(BEGINS, stopwatch, waits_apart=waits_apart)
    with ExitStack() as stack:
        stack.enter_context(simulation.turning())
        fake = FakeBitrix24()
        stack.callback(_close, fake)
        environ = {
            **plain_environ(),
            "BX24APP_DATABASE_URL": url,
            "BX24APP_AUTH_SERVER": fake.auth_server.url,
            "BX24APP_LOG_LEVEL": "ERROR",
        }
        app = create_app(environ)
        platform = Platform(fake, simulation)
        stack.enter_context(platform.answering(app))
        statements = Statements(simulation)
        with app.app_context():
            stack.callback(db.engine.dispose)
            statements.watch()
        world = World(app, simulation, platform, statements, [], dials)
        application = register(fake, environ)
        first = platform.add_portal("p0")
        answer = Actor(app.test_client(), first, application, first.administrator).installs()
        assert answer.status_code == codes.ok, answer.text
        others = [platform.add_portal(f"p{number}") for number in range(1, portals)]
        with app.app_context():
            copy_installation(application, first, others)
        world.portals += [first, *others]
        with app.app_context():
            with writing() as session:
                # These measure our own bounds, not how many calls a company takes at once.
                session.execute(update(PortalSettings).values(line_cap=None))
            with reading() as session:
                world.ids = dict(session.execute(select(Portal.member_id, Portal.id)).all())
        yield world


def _close(fake: FakeBitrix24) -> None:
    for portal in fake.portals.values():
        portal.server.stop()
    fake.auth_server.server.stop()


@contextmanager
def opened(kind: str) -> Iterator[str]:
    """A migrated database of a kind, on a disk, which waits for it (``fsync``)."""
    with database_of(kind) as url:
        database.migrate({**plain_environ(), "BX24APP_DATABASE_URL": url})
        yield url


@contextmanager
def spent(simulation: Simulation) -> Iterator[dict[str, float]]:
    """What the app takes inside: ``cpu`` seconds of this process, without what is outside of the app."""
    found: dict[str, float] = {}
    cpu, outside = time.process_time(), simulation.outside_cpu
    yield found
    found["cpu"] = time.process_time() - cpu - (simulation.outside_cpu - outside)


def at(day: int, hour: float) -> datetime:
    """A moment of the simulation in UTC."""
    return BEGINS + timedelta(days=day, hours=hour)

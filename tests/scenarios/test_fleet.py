"""The work on a fleet: Celery's real processes and a real Redis, whose word is a bell and no more.

Nothing is lost and nothing is dialled twice, whatever happens to a process, to the broker, or to what lies in it.
"""

import base64
import json
import signal
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text, update

from bx24app.database import writing
from bx24app.models import Credential, State, utcnow
from bx24app.services.runtime.broker import QUEUE, TASK, make_celery
from bx24app.worker.fleet import MOST_WAITING
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support import processes
from tests.support.actors import Actor, json_of
from tests.support.fleet import StartFleet, Trap, broker, environ, message, pickled_message, start_fleet
from tests.support.processes import Process, Spawn, kill, run_python
from tests.support.redis_server import RedisServer
from tests.support.waiting import accept, change_portal, pass_time, seen

__all__ = ["broker", "environ", "start_fleet"]

START = "voximplant.callback.start"
LEASE = timedelta(seconds=91)
# A request that is answered without the broker takes milliseconds; one that waited for it would take seconds.
AT_ONCE = 1.0


def test_a_bell_alone_and_a_sweep_alone_make_a_call(
    app: Flask, manager: Actor, portal: FakePortal, start_fleet: StartFleet, eventually: Eventually
) -> None:
    start_fleet("worker")
    assert manager.requests_callback("+4930901821").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 1)
    id = accept(app)  # Nobody announces this one.
    start_fleet("beat")
    eventually(lambda: seen(app, id).state == State.STARTED)
    assert len(portal.requests_for(START)) == 2


def test_a_message_names_the_job_and_the_row_and_nothing_else(
    app: Flask, manager: Actor, broker: RedisServer, eventually: Eventually
) -> None:
    created = json_of(manager.requests_callback("+4930901823", text="Nobody else may read this."))
    eventually(lambda: bool(broker.client.llen(QUEUE)))
    raw = broker.client.lindex(QUEUE, 0)
    assert isinstance(raw, bytes)
    written = json.loads(raw)
    content = json.loads(base64.b64decode(written["body"]))
    assert content[:2] == [["dial", created["id"]], {}]
    whole = raw.decode() + str(content)
    assert all(word not in whole for word in ("4930901823", "Nobody else", manager.ticket, manager.portal.member_id))


@contextmanager
def held_database(url: str) -> Iterator[None]:
    """Nobody else can write what concerns callbacks."""
    engine = create_engine(url)
    is_sqlite = url.startswith("sqlite")
    try:
        with engine.connect() as connection:
            if is_sqlite:
                connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
            connection.execute(text("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE callback IN ACCESS EXCLUSIVE MODE"))
            yield
            connection.execute(text("ROLLBACK"))
    finally:
        engine.dispose()


class Scene:
    """A callback, a worker of the fleet at one step of it, and its end by SIGKILL."""

    def __init__(self, app: Flask, manager: Actor, url: str, broker: RedisServer, start: StartFleet) -> None:
        self.app, self.manager, self.portal = app, manager, manager.portal
        self.url, self.broker, self.start = url, broker, start

    def _asks(self) -> None:
        assert self.manager.requests_callback().status_code == 201

    def before_the_lease(self) -> None:
        self._asks()
        with held_database(self.url):
            worker = self.start("worker")
            wait_for(lambda: bool(self.broker.client.hlen("unacked")))
            kill(worker)

    def after_the_lease(self) -> None:
        """It is stuck in renewing the person's token."""
        change_portal(self.app, rules_at=utcnow(), rules_digest="told")
        self.portal.cloud.registry.expire_access(self.portal.member_id)
        with self.app.app_context(), writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow()))
        stuck = self.portal.cloud.auth_server.faults.add("hang_before", "oauth/token", seconds=30)
        self._asks()
        worker = self.start("worker")
        assert stuck.received.wait(30)
        kill(worker)
        with self.app.app_context(), writing() as session:
            session.execute(update(Credential).values(leased_until=None))

    def after_the_fence(self) -> None:
        asked = self.portal.faults.add("hang_before", START, seconds=30)
        self._asks()
        worker = self.start("worker")
        assert asked.received.wait(30)
        kill(worker)

    def after_the_answer(self) -> None:
        """It cannot record it."""
        asked = self.portal.faults.add("hang_after", START, seconds=30)
        self._asks()
        worker = self.start("worker")
        assert asked.executed.wait(30)
        with held_database(self.url):
            asked.released.set()
            time.sleep(0.5)
            kill(worker)


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


@pytest.mark.parametrize(
    ("step", "state", "executed"),
    [
        ("before_the_lease", State.STARTED, 1),
        ("after_the_lease", State.STARTED, 1),
        ("after_the_fence", State.UNKNOWN, 0),
        ("after_the_answer", State.UNKNOWN, 1),
    ],
)
def test_a_worker_killed_at_any_step_loses_nothing_and_nothing_is_dialled_twice(
    app: Flask,
    manager: Actor,
    database_url: str,
    broker: RedisServer,
    start_fleet: StartFleet,
    eventually: Eventually,
    step: str,
    state: State,
    executed: int,
) -> None:
    portal = manager.portal
    portal.events.pause()
    scene = Scene(app, manager, database_url, broker, start_fleet)
    getattr(scene, step)()
    pass_time(app, LEASE)
    start_fleet("worker")
    start_fleet("beat")
    [shown] = json_of(manager.asks("GET", "/callbacks"))["callbacks"]
    eventually(lambda: manager.sees(shown["id"])["state"] == state)
    time.sleep(1.5)  # The others have the time to make the mistake.
    assert manager.sees(shown["id"])["state"] == state
    assert len(portal.requests_for(START)) == 1
    assert len(portal.telephony.dials) == executed


def test_what_lies_in_the_broker_wakes_and_does_nothing_else(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    broker: RedisServer,
    start_fleet: StartFleet,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    """Not JSON, no message, a pickle, another's task, odd arguments, rows that are not there or not due, commands."""
    trap = tmp_path / "unpickled"
    later = accept(app, due_at=utcnow() + timedelta(hours=1))
    foreign: list[bytes | str] = [
        b"garbage \xff",
        b"[]",
        b"{}",
        b'{"body": "e30=", "headers": {}, "properties": {}}',
        pickled_message(TASK, [Trap(trap)]),
        message("celery.map", [TASK, [["dial"]]]),
        message("os.system", ["true"]),
        message(TASK, []),
        message(TASK, ["dial", None, "more", {"a": 1}]),
        message(TASK, [["dial"], {}]),
        message(TASK, ["no_such_job", "0"]),
        message(TASK, ["dial", "00000000-0000-0000-0000-000000000000"]),
        message(TASK, ["dial", str(later)]),
        message(TASK, ["dial", str(later)]),
    ]
    for one in foreign:
        broker.client.lpush(QUEUE, one)
    worker = start_fleet("worker")
    eventually(lambda: not broker.client.llen(QUEUE) and not broker.client.hlen("unacked"))
    make_celery(broker.url).control.shutdown()
    assert portal.requests_for(START) == []
    assert seen(app, later).state == State.SCHEDULED
    assert not trap.exists()
    assert manager.requests_callback("+4930901822").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 1)
    time.sleep(1)
    assert worker.poll() is None
    assert len(portal.requests_for(START)) == 1


@pytest.mark.parametrize("way", ["halted", *(pytest.param(way, marks=pytest.mark.long) for way in ("gone", "lies"))])
def test_a_broker_that_cannot_be_reached_keeps_nobody_waiting_and_loses_nothing(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    broker: RedisServer,
    start_fleet: StartFleet,
    eventually: Eventually,
    way: str,
) -> None:
    """It goes on as it was, or comes back empty; or something else that answers garbage has its address meanwhile."""
    start_fleet("worker")
    start_fleet("beat")
    assert manager.requests_callback("+4930901830").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 1)
    if way == "halted":
        broker.halt()
    else:
        broker.kill()
    with liar(broker.port) if way == "lies" else nullcontext():
        took = [timed_request(manager, f"+493090183{number}") for number in range(1, 7)]
        assert max(took) < AT_ONCE
        time.sleep(1)
    if way == "halted":
        broker.go_on()
    else:
        broker.start()
    eventually(lambda: len(portal.telephony.dials) == 7)
    assert each_number_once(portal)


@contextmanager
def liar(port: int) -> Iterator[None]:
    """A server that answers whatever it hears with garbage."""

    class Lies(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(4096):
                self.request.sendall(b"-1\r\n:x\r\nHTTP/1.1 400 Bad Request\r\n\r\n")

    class Liar(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Liar(("127.0.0.1", port), Lies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            time.sleep(0.1)


def timed_request(manager: Actor, number: str) -> float:
    """Ask for a callback; returns the seconds until it was committed."""
    began = time.monotonic()
    assert manager.requests_callback(number).status_code == 201
    return time.monotonic() - began


def each_number_once(portal: FakePortal) -> bool:
    asked = Counter(str(request.parameters["TO_NUMBER"]) for request in portal.requests_for(START))
    return set(asked.values()) == {1}


@pytest.mark.long
def test_a_broker_that_was_emptied_is_swept_after(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    broker: RedisServer,
    start_fleet: StartFleet,
    eventually: Eventually,
) -> None:
    for number in range(3):
        assert manager.requests_callback(f"+493090184{number}").status_code == 201
    eventually(lambda: broker.client.llen(QUEUE) == 3)
    broker.client.flushall()
    start_fleet("worker")
    start_fleet("beat")
    eventually(lambda: len(portal.telephony.dials) == 3)
    broker.client.flushall()  # While they work.
    assert manager.requests_callback("+4930901849").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 4)
    assert each_number_once(portal)


@pytest.mark.long
def test_two_beats_two_workers_of_the_fleet_and_an_old_one_dial_each_callback_once(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    spawn: Spawn,
    start_fleet: StartFleet,
    eventually: Eventually,
) -> None:
    in_flight, most = Counter[str](), Counter[str]()
    watch_dials(portal, in_flight, most)
    for _ in range(2):
        start_fleet("beat")
        start_fleet("worker")
    spawn("worker")
    ids = [accept(app, to_number=f"+493090185{number}") for number in range(4)]
    for number in range(5):
        assert manager.requests_callback(f"+493090186{number}").status_code == 201
    eventually(lambda: len(portal.telephony.dials) == 9)
    eventually(lambda: all(seen(app, id).state == State.STARTED for id in ids))
    time.sleep(1)
    assert each_number_once(portal)
    assert most["dials"] <= 2


def watch_dials(portal: FakePortal, in_flight: Counter[str], most: Counter[str]) -> None:
    """Let every dial take a moment, and count how many are in flight at once."""
    lock = threading.Lock()
    dial = portal.telephony.dial

    def counted(*args: object, **names: object) -> object:
        with lock:
            in_flight["dials"] += 1
            most["dials"] = max(most["dials"], in_flight["dials"])
        try:
            time.sleep(0.2)
            return dial(*args, **names)  # type: ignore[arg-type]
        finally:
            with lock:
                in_flight["dials"] -= 1

    portal.telephony.dial = counted  # type: ignore[method-assign, assignment]


@pytest.mark.long
def test_a_worker_that_is_told_to_end_finishes_its_dial(
    app: Flask, manager: Actor, portal: FakePortal, start_fleet: StartFleet, eventually: Eventually
) -> None:
    hanging = portal.faults.add("hang_after", START, seconds=60)
    worker: Process = start_fleet("worker")
    created = json_of(manager.requests_callback())
    assert hanging.received.wait(30)
    worker.send_signal(signal.SIGTERM)
    threading.Timer(2, hanging.released.set).start()
    began = time.monotonic()
    assert worker.wait(70) == 0
    assert time.monotonic() - began > 1.5
    assert manager.sees(created["id"])["state"] == State.STARTED
    assert len(portal.requests_for(START)) == 1


@pytest.mark.long
def test_beat_rings_no_more_while_nobody_works(
    broker: RedisServer, app: Flask, start_fleet: StartFleet, eventually: Eventually
) -> None:
    for _ in range(MOST_WAITING):
        broker.client.lpush(QUEUE, message(TASK, ["apply_deadlines", None]))
    start_fleet("beat")
    time.sleep(4)
    assert broker.client.llen(QUEUE) == MOST_WAITING
    start_fleet("worker")
    eventually(lambda: broker.client.llen(QUEUE) == 0)
    # It rings again.
    eventually(lambda: bool(broker.client.hlen("unacked") or broker.client.llen(QUEUE)))


# Celery as an operator starts it, with less patience at its end.
HASTY = """
import sys
from bx24app.worker import fleet
fleet.FINISH_SECONDS = 2.0
from celery.__main__ import main
sys.argv = ["celery", "-A", "bx24app.fleet", "worker"]
main()
"""


@pytest.mark.long
@pytest.mark.timeout(200)
def test_a_worker_that_is_told_to_end_ends_whoever_hangs(
    app: Flask, manager: Actor, portal: FakePortal, environ: dict[str, str], broker: RedisServer
) -> None:
    hanging = portal.faults.add("hang_before", START, seconds=160)
    worker = processes.start((sys.executable, "-c", HASTY), environ)
    try:
        created = json_of(manager.requests_callback())
        assert hanging.received.wait(120)  # It imports all of the app.
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        kill(worker)
    assert manager.sees(created["id"])["state"] == State.DIALLING  # Until its lease is over.


@pytest.mark.long
@pytest.mark.timeout(200)
def test_one_message_says_what_is_missing(environ: dict[str, str]) -> None:
    """No address, an address that is none, and no client: each ends the start, and no password is told."""
    begin = (
        "-c",
        "import sys; sys.argv = ['celery', '-A', 'bx24app.fleet', 'worker']; from celery.__main__ import main; main()",
    )
    wrong = environ | {"BX24APP_BROKER_URL": "http://:canary@127.0.0.1/0"}
    for settings, said in (
        (environ | {"BX24APP_BROKER_URL": ""}, "missing: BX24APP_BROKER_URL"),
        (wrong, "begin with one of redis://"),
    ):
        done = run_python(*begin, environ=settings)
        assert done.returncode == 1
        [line] = [line for line in done.stderr.splitlines() if "BROKER_URL" in line]
        assert said in line
        assert "canary" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    without = "import sys; sys.modules['redis'] = None; sys.path.insert(0, '.'); import bx24app; bx24app.create_app()"
    done = run_python("-c", without, environ=environ)
    assert done.returncode == 1
    assert "BX24APP_BROKER_URL needs redis" in done.stderr

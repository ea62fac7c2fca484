"""The worker as a process: how it ends, whoever hangs, and what it says about a job that fails."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from bx24app.models import State
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support import processes
from tests.support.actors import Actor
from tests.support.sites import Site
from tests.support.waiting import accept, seen, work
from tests.support.webhook_steps import added, asked, form, site

__all__ = ["form", "site"]

START, STATISTICS = "voximplant.callback.start", "voximplant.statistic.get"
# What an operator is promised (docs/operating.md).
ENDS_WITHIN = 70


class Process:
    """A worker as an operator starts it; its log is kept."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stream:
            self.process = processes.start([*processes.FLASK, "worker"], environ, stream)

    def lines(self, event: str) -> list[dict[str, Any]]:
        whole = [line for line in self._log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in map(json.loads, whole) if line["event"] == event]

    def ends(self) -> float:
        """Tell it to end; returns how long that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(ENDS_WITHIN) == 0, self._log.read_text()
        return time.monotonic() - began


@pytest.fixture
def start(environ: dict[str, str], app: Flask, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def one() -> Process:
        started.append(Process(environ, tmp_path / f"worker-{len(started)}.log"))
        return started[-1]

    yield one
    for each in started:
        processes.kill(each.process)


def test_it_ends_in_time_whoever_hangs_and_finishes_its_dials(
    app: Flask,
    manager: Actor,
    administrator: Actor,
    portal: FakePortal,
    fake: FakeBitrix24,
    application: FakeApp,
    site: Site,
    form: int,
    start: Callable[[], Process],
    eventually: Eventually,
) -> None:
    administrator.opens()
    added(administrator, site)
    site.answers += [site.drips] * 3
    silent = Actor(manager.client, other := fake.add_portal("beta"), application, other.administrator)
    silent.installs()
    other.events.wait_until_idle()
    waiting = accept(app, portal_id=2)
    work(app)
    assert seen(app, waiting, 2).state == State.STARTED
    reading = other.faults.add("hang_before", STATISTICS, times=9)
    dialling = portal.faults.add("hang_after", START, seconds=60)
    id = asked(app, form)

    worker = start()
    eventually(lambda: dialling.received.is_set() and reading.received.is_set() and bool(site.told))
    threading.Timer(3, dialling.released.set).start()
    took = worker.ends()
    assert 2 < took < ENDS_WITHIN
    assert seen(app, id).state == State.STARTED
    assert len(portal.telephony.dials) == 1
    [stopped] = worker.lines("worker_stopped")
    assert {"deliver_webhooks", "read_call_history"} <= set(stopped["given_up"])
    assert "dial" not in stopped["given_up"]


def test_a_worker_with_nothing_in_flight_ends_at_once(
    app: Flask, manager: Actor, start: Callable[[], Process], eventually: Eventually
) -> None:
    worker = start()
    eventually(lambda: bool(worker.lines("worker_started")))
    assert worker.ends() < 10


def test_a_dial_that_takes_too_long_is_left_to_be_settled(
    app: Flask, manager: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    hanging = portal.faults.add("hang_before", START, seconds=30)
    id = accept(app)
    running = Worker(app, finish_seconds=0.5)
    whole: list[bool] = []
    thread = threading.Thread(target=lambda: whole.append(running.run()), daemon=True)
    thread.start()
    assert hanging.received.wait(10)
    running.stop()
    thread.join(10)
    assert whole == [False]
    assert seen(app, id).state == State.DIALLING
    hanging.released.set()
    eventually(lambda: seen(app, id).state == State.UNKNOWN)


@pytest.fixture
def broken(database_url: str, app: Flask) -> Iterator[None]:
    """A table that jobs need is not there."""
    engine = create_engine(database_url)

    def rename(old: str, new: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    rename("webhook_delivery", "hidden_for_a_while")
    try:
        yield
    finally:
        rename("hidden_for_a_while", "webhook_delivery")
        engine.dispose()


def test_a_job_that_fails_is_named_and_stops_no_other(
    app: Flask, manager: Actor, portal: FakePortal, broken: None, start: Callable[[], Process], eventually: Eventually
) -> None:
    worker = start()
    # Others need the table too, a moment later.
    need_it = {"deliver_webhooks", "purge_deliveries"}
    eventually(lambda: need_it <= {line["job"] for line in worker.lines("job_failed")})
    id = accept(app)
    eventually(lambda: seen(app, id).state == State.STARTED and bool(worker.lines("dialled")))
    failed = worker.lines("job_failed")
    assert all(line["seconds"] < 10 and "webhook_delivery" in line["exception"] for line in failed)
    [dialled] = worker.lines("dialled")
    assert (dialled["job"], dialled["portal"]) == ("dial", portal.member_id)
    worker.ends()
    # A job that fails at once is not tried again all the time.
    assert len(worker.lines("job_failed")) < 20

"""Waking: web and workers in processes of their own tell each other what was committed; a lost ring is looked for."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from bx24app.database import is_postgresql, reading, sqlite_path
from bx24app.models import State, utcnow
from bx24app.services.callbacks import queries
from bx24app.services.diagnostics import installation as diagnostics
from bx24app.services.diagnostics.findings import Finding, Level
from bx24app.services.runtime.rings.pipes import SUFFIX
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakePortal
from tests.support import processes
from tests.support.actors import Actor, json_of
from tests.support.processes import Process
from tests.support.waiting import accept, seen

START, STATISTICS = "voximplant.callback.start", "voximplant.statistic.get"
# What docs/operating.md promises.
ASKS_A_SECOND = 2.0
LOST_RING_SECONDS = 1.0
# How late a planned call is dialled at the most.
LATE_SECONDS = 0.5
WATCHED_SECONDS = 5.0
BUSY_MACHINE_SECONDS = 2.0
# Longer than any pause between two jobs that make work for each other.
RESTS_SECONDS = 2.2
# More callbacks than there are looks of the begin that were held up.
ONCE_DUE = 4
NEVER = "86400"
ASKED = re.compile(r"^sent (?!BEGIN|COMMIT)|\t(?:Query|Execute)\t(?!.* \";\")", re.MULTILINE)

StartWorker = Callable[..., Process]


@pytest.fixture
def start_worker(environ: dict[str, str], app: Flask) -> Iterator[StartWorker]:
    """Start worker processes with options; they are killed in the end."""
    running: list[Process] = []

    def start(*options: str) -> Process:
        running.append(processes.start([sys.executable, "-m", "tests.support.watched_worker", *options], environ))
        return running[-1]

    yield start
    for process in running:
        processes.kill(process)


def _listeners(app: Flask) -> int:
    """How many workers listen for rings now."""
    with app.app_context(), reading() as session:
        if is_postgresql():
            query = text(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
            return int(session.scalar(query) or 0)
        return len(list(Path(f"{sqlite_path()}{SUFFIX}").iterdir()))


def _rests(sent: Path) -> None:
    """Wait until a worker has done all that there is, and sends nothing more."""
    size, seconds = -1, 0.0
    while seconds < RESTS_SECONDS:
        time.sleep(0.1)
        now = sent.stat().st_size if sent.exists() else 0
        seconds = seconds + 0.1 if now == size > 0 else 0.0
        size = now


def finding(app: Flask) -> Finding:
    """What the doctor says of waking."""
    with app.app_context():
        [found] = [one for one in diagnostics.examine_installation() if one.check == "waking"]
        return found


@pytest.mark.long
def test_an_idle_worker_asks_the_database_at_most_twice_a_second(
    manager: Actor, start_worker: StartWorker, tmp_path: Path, eventually: Eventually
) -> None:
    sent = tmp_path / "sent"
    start_worker("--sent", str(sent))
    looks = re.compile("SELECT EXISTS")
    # By its third look it has done what is done at the start.
    eventually(lambda: sent.exists() and len(looks.findall(sent.read_text())) >= 3)
    before = len(sent.read_text())
    time.sleep(WATCHED_SECONDS)
    text = sent.read_text()[before:]
    assert len(looks.findall(text)) >= WATCHED_SECONDS / 2, "it looks for what nobody rings for"
    asked = ASKED.findall(text)
    assert len(asked) / WATCHED_SECONDS <= ASKS_A_SECOND, text


def test_processes_wake_each_other(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """None of the workers ever looks by itself, and who waits for a dial does not either."""
    monkeypatch.setattr(queries, "LOOK_AGAIN_SECONDS", 3600)

    files = [tmp_path / "one", tmp_path / "other"]
    workers = [start_worker("--look", NEVER, "--sent", str(sent)) for sent in files]
    for sent in files:
        _rests(sent)
    # What a busy machine held up at the begin may still look once; no worker looks again and again.
    for number in range(ONCE_DUE):
        unrung = accept(app, to_number=f"+493090181{number}")
        time.sleep(LOST_RING_SECONDS + 0.5)
        if seen(app, unrung).state == State.QUEUED:
            break
    else:
        pytest.fail("a worker looks by itself, so this test would show nothing")

    # The web process rings the worker, and the worker whoever waits.
    began = time.monotonic()
    assert json_of(manager.requests_callback(wait=10))["state"] == "started"
    assert time.monotonic() - began < 9

    # The event of an end has the history read at once.
    read = len(portal.requests_for(STATISTICS))
    portal.telephony.calls[-1].manager_refuses()
    eventually(lambda: len(portal.requests_for(STATISTICS)) > read)

    # One that was killed leaves its pipe behind, and hinders nobody.
    processes.kill(workers[0])
    assert json_of(manager.requests_callback("+4930901897", wait=10))["state"] == "started"
    eventually(lambda: _listeners(app) == 1)


@pytest.mark.long
def test_a_ring_that_was_lost_delays_by_a_second(app: Flask, manager: Actor, portal: FakePortal) -> None:
    with working(app):
        time.sleep(BUSY_MACHINE_SECONDS)
        accept(app)  # It wakes nobody.
        began = time.monotonic()
        while not portal.telephony.dials:
            assert time.monotonic() - began < LOST_RING_SECONDS + BUSY_MACHINE_SECONDS
            time.sleep(0.01)


@pytest.mark.long
def test_a_planned_callback_is_dialled_in_time(app: Flask, manager: Actor, portal: FakePortal) -> None:
    with working(app):
        time.sleep(LOST_RING_SECONDS)
        due = [utcnow() + timedelta(seconds=3 + 0.4 * number) for number in range(3)]
        for number, at in enumerate(due):
            accept(app, due_at=at, to_number=f"+493090182{number}")
        offset = time.time() - time.monotonic()
        while len(portal.telephony.dials) < len(due):
            assert utcnow() < due[-1] + timedelta(seconds=10)
            time.sleep(0.05)
        late = [
            request.at + offset - at.timestamp() for request, at in zip(portal.requests_for(START), due, strict=True)
        ]
    assert min(late) >= 0
    assert sorted(late)[1] < LATE_SECONDS, late


def test_a_request_is_accepted_and_dialled_where_nobody_can_ring(
    app: Flask, environ: dict[str, str], manager: Actor, portal: FakePortal, eventually: Eventually
) -> None:
    """Others could write into the folder of the pipes."""
    with app.app_context():
        if is_postgresql():
            pytest.skip("PostgreSQL has no pipes; a pooler that hands nothing on is tried in test_rings.py")
        folder = Path(f"{sqlite_path()}{SUFFIX}")
    folder.mkdir()
    folder.chmod(0o777)
    with working(app):
        assert manager.requests_callback().status_code == 201
        eventually(lambda: len(portal.telephony.dials) == 1)
    assert list(folder.iterdir()) == []
    assert finding(app).about == "folder"
    folder.chmod(0o700)
    assert finding(app).level == Level.OK

"""Worker processes that die by a real SIGKILL between two steps of their work.

The zygote is a process of its own with one thread and the app imported: it forks a worker for every order, so that
one costs little. A step is anything the worker does to the database: begin, before and after each statement, commit,
and the connection's return. Between the request and its answer the portal kills.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import time_machine
from flask import Flask
from sqlalchemy import Engine, event

from bx24app import create_app
from bx24app.bitrix24.client import PortalClients
from bx24app.database import db
from bx24app.services.dialling import abandoned, call_history, deadlines, queue, reconcile
from bx24app.services.dialling import dial as dialling
from bx24app.services.dialling.queue import DialLease
from bx24app.services.native.automation import rule_results
from bx24app.services.native.follow_up import news
from bx24app.services.security import digests
from bx24app.worker.jobs import background_jobs
from bx24app.worker.look import Look
from bx24app.worker.scheduler import LeasedJob
from tests.faults import fleet, mutants
from tests.support import ROOT

ENGINE_STEPS = ("begin", "before_cursor_execute", "after_cursor_execute", "commit", "rollback")
CONNECT_SECONDS = 2.0
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Order:
    """What a worker shall do, at which moment, and before which of its steps it dies (None: at none)."""

    job: str
    at: str
    kill_at: int | None
    read_timeout: float
    mutant: str
    most: int = 1
    # Of a run that a portal posts.
    body: str = ""
    # Of a worker that answers bells, whatever the job is.
    broker: str = ""


class Steps:
    """Counts what the process does to its database, and ends the process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.done = 0
        self._kill_at = kill_at

    def watch(self, engine: Engine) -> None:
        """Count every step of an engine."""
        for name in ENGINE_STEPS:
            event.listen(engine, name, self._step, named=True)
        event.listen(engine.pool, "checkin", self._step, named=True)

    def _step(self, **_: Any) -> None:
        self.done += 1
        if self.done == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def claim_due(most: int) -> list[DialLease]:
    """Claim what a look finds: a worker whose bells are all lost does no more."""
    return queue.lease_due(most) if "dial" in Look(background_jobs()).due_jobs() else []


def dial(most: int) -> None:
    """What a worker's thread does: claim, then follow each claim."""
    for claim in claim_due(most):
        dialling.dial(claim)


def do_chores(_: int = 0) -> None:
    """What else a worker does that concerns callbacks, where a look finds something to do."""
    due = Look(background_jobs()).due_jobs()
    if "expire_abandoned_dials" in due:
        abandoned.expire_abandoned()
    if "read_call_history" in due:
        call_history.read_next_history()
    if "reconcile_calls" in due:
        reconcile.reconcile_pending()
    if "apply_deadlines" in due:
        deadlines.apply_deadlines()


def do_rules(most: int) -> None:
    """Notice which callbacks of rules have ended, and work on so many runs, where a look finds some."""
    if "end_rules" in Look(background_jobs()).due_jobs():
        rule_results.end_runs()
    job = next(job for job in background_jobs() if isinstance(job, LeasedJob) and job.name == "work_on_rules")
    for _ in range(most):
        for lease in job.lease(1) if job.name in Look([job]).due_jobs() else ():
            job.work(lease)


def do_cards(most: int) -> None:
    """Follow up what has ended, and work on so many entries and to-dos."""
    news.follow_up_ended()
    for job in background_jobs():
        if isinstance(job, LeasedJob) and job.name in ("show_in_timeline", "make_to_dos"):
            for _ in range(most):
                for lease in job.lease(1):
                    job.work(lease)


JOBS: dict[str, Callable[[int], None]] = {"dial": dial, "chores": do_chores, "rules": do_rules, "cards": do_cards}


def _post(app: Flask, body: str) -> None:
    """What the web process does: take the post of a run."""
    status = app.test_client().post("/robot", data=body, content_type=FORM).status_code
    if status != 200:
        raise RuntimeError(f"a run was answered {status}")


def _work(app: Flask, order: Order) -> int:
    """The life of one worker; returns how many steps it took."""
    steps = Steps(order.kill_at)
    with mutants.applied(order.mutant), app.app_context():
        app.extensions["bx24app.portals"] = PortalClients(
            app.extensions["bx24app.portals"].policy, (CONNECT_SECONDS, order.read_timeout)
        )
        steps.watch(db.engine)
        with time_machine.travel(datetime.fromisoformat(order.at), tick=False):
            if order.body:
                _post(app, order.body)
            elif order.broker:
                fleet.answer_bells(app, order.broker, order.most)
            else:
                JOBS[order.job](order.most)
    return steps.done


def _serve() -> None:
    """Fork a worker for each line of standard input; say its id, then how it ended."""
    app = create_app(os.environ)
    with app.app_context():
        digests.digest("number", "0")  # The key is read once.
        db.engine.dispose()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            try:
                _work(app, order)
            except Exception:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)


class Zygote:
    """The harness's end: gives orders, and knows the worker that is alive."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid = 0
        self._born = threading.Event()

    def run(self, order: Order) -> int:
        """Let a worker live and die; returns how it ended, as ``os.waitpid`` says it."""
        assert self._process.stdin
        assert self._process.stdout
        self._born.clear()
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        self._born.set()
        try:
            return int(self._process.stdout.readline())
        finally:
            self._pid = 0

    def kill_worker(self) -> None:
        """Called by the portal while the worker waits for its answer."""
        self._born.wait(5)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the zygote, which has no worker now."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


if __name__ == "__main__":
    _serve()

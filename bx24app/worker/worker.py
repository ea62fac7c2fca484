"""The worker: does the background jobs, each in threads of its own; any number of workers may run."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click
import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from bx24app import metrics
from bx24app.errors import DatabaseBusy
from bx24app.services.runtime import wakeup
from bx24app.worker.guarded import run_guarded
from bx24app.worker.jobs import DIALS_AT_ONCE, background_jobs
from bx24app.worker.look import LOOK_SECONDS, Look
from bx24app.worker.scheduler import AnyJob, DueJob, Job, LeasedJob, Scheduler
from bx24app.worker.threads import Threads

log = structlog.get_logger(__name__)

T = TypeVar("T")
# Connecting and reading of a dial take 70 s together: one that takes longer is not known, like one that was killed.
FINISH_SECONDS = 68.0
# Other work under way is given up soon, because its leases end by themselves.
GRACE_SECONDS = 1.0
# However much is done, and however often somebody rings, the worker looks no more often; and for a tenth of its time at
# the most, where so much is due that a look takes long.
LOOK_PAUSE_SECONDS = 0.1
LOOK_PAUSE_FACTOR = 10


class Worker:
    """Does the jobs until stopped; owns every thread that it needs."""

    def __init__(self, app: Flask, dials: int = DIALS_AT_ONCE, finish_seconds: float = FINISH_SECONDS) -> None:
        self._app = app
        self._jobs = background_jobs(dials)
        self._look = Look(self._jobs)
        self._look_took = 0.0
        self._look_job = Job("look", LOOK_SECONDS, self._look_around)
        self._scheduler = Scheduler([*self._jobs, self._look_job])
        self._threads = Threads()
        self._finish_seconds = finish_seconds
        self._is_stopping = False

    def stop(self) -> None:
        """Start nothing new; safe in a signal handler, because it takes no lock."""
        self._is_stopping = True

    def run(self) -> bool:
        """Work until stopped, then wait for the dials in flight, 68 s at the most; other work is given up.

        Returns whether everything has come to its end.
        """
        log.info("worker_started", jobs=len(self._jobs), dials=self._jobs[0].at_once)
        with self._app.app_context(), wakeup.listening(self._hurry), wakeup.hearing(self._hurry):
            while not self._is_stopping:
                for due in self._scheduler.wait_for_due():
                    self._threads.start(partial(self._do, due))
        is_whole = self._finish()
        log.info("worker_stopped", given_up=self._scheduler.busy_jobs())
        return is_whole

    def run_until_told(self) -> None:
        """Run in the main thread until SIGTERM or SIGINT."""
        # What has been loaded stays. To look through all of it for garbage takes 0.2 s, in which no other thread runs.
        gc.collect()
        gc.freeze()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        if not self.run():
            # Threads that are still at work can break the interpreter's shutdown.
            sys.stderr.flush()
            os._exit(0)

    def _hurry(self, name: str, _: wakeup.RowId | None) -> None:
        """Do a job at once, and look what else there is: what came with a callback is due too."""
        for job in self._jobs:
            if job.name == name:
                self._scheduler.hurry(job)
        self._look_soon()

    def _look_soon(self) -> None:
        pause = max(LOOK_PAUSE_SECONDS, min(self._look_took * LOOK_PAUSE_FACTOR, LOOK_SECONDS))
        self._scheduler.bring_forward(self._look_job, pause)

    def _look_around(self) -> int:
        """Let jobs rest that have nothing to do. Where that cannot be told, each finds out for itself."""
        began_at = time.monotonic()
        try:
            due = self._look.due_jobs()
        except (SQLAlchemyError, DatabaseBusy) as error:
            log.warning("look_failed", reason=type(error).__name__)
            due = {job.name for job in self._jobs}
        self._look_took = time.monotonic() - began_at
        self._scheduler.note_look(began_at, due)
        return 0

    def _finish(self) -> bool:
        now = time.monotonic()
        self._scheduler.wait_until_idle(now + self._finish_seconds, only_awaited=True)
        is_whole = self._scheduler.wait_until_idle(now + GRACE_SECONDS, only_awaited=False)
        self._threads.stop()
        return is_whole

    def _do(self, due: DueJob) -> None:
        """Do a job that is due, or lease its rows and hand each to a thread."""
        job = due.job
        if isinstance(job, Job):
            done = self._guarded(job, job.work, "work")
            self._scheduler.end(job, is_more=bool(done) and job.is_repeated)
            if done:
                self._look_soon()  # One job makes work for others.
            return
        leased = self._guarded(job, partial(job.lease, due.free), "lease") or ()
        if self._is_stopping and not job.is_awaited_at_stop:
            leased = ()
        self._scheduler.lease(job, len(leased))
        for one in leased:
            self._threads.start(partial(self._follow, job, one))

    def _follow(self, job: LeasedJob, leased: Any) -> None:
        self._guarded(job, partial(job.work, leased), "work", leased.portal_id)
        self._scheduler.end(job, is_more=True)
        self._look_soon()

    def _guarded(self, job: AnyJob, work: Callable[[], T], step: str, portal_id: int | None = None) -> T | None:
        """Run a job, whose failure must not end the worker; it waits a little then."""
        return run_guarded(self._app, job.name, step, work, partial(self._scheduler.fail, job), portal_id)


def init_app(app: Flask) -> None:
    """Add the command ``flask worker``."""

    @app.cli.command("worker")
    @click.option("--dials", default=DIALS_AT_ONCE, show_default=True, help="Dials in flight at most.")
    def worker(dials: int) -> None:
        """Dial due callbacks until told to stop (SIGTERM finishes the dials in flight)."""
        metrics.share_counts()
        Worker(app, dials).run_until_told()

"""The worker: takes due callbacks from the database and dials them; any number may run."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import click
import structlog
from flask import Flask

from bx24app.services.dialling import dial, queue
from bx24app.services.runtime import wakeup
from bx24app.worker.jobs import database_jobs, portal_jobs
from bx24app.worker.scheduler import Scheduler

log = structlog.get_logger(__name__)


T = TypeVar("T")
POLL_SECONDS = 0.1
DIAL_THREADS = 16
PORTAL_JOB_THREADS = 8


class Worker:
    """Claims callbacks and follows each in a thread of its own, until stopped."""

    def __init__(self, app: Flask, dials: int = DIAL_THREADS) -> None:
        self._app = app
        self._dials = dials
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take nothing new; dials in flight are finished."""
        self._stopping.set()
        wakeup.wake()

    def run(self) -> None:
        """Work until stopped, then wait for the dials in flight (70 s at most, by their time-outs)."""
        log.info("worker_started", dials=self._dials)
        rota = Scheduler(portal_jobs())
        for number in range(PORTAL_JOB_THREADS):
            threading.Thread(target=self._run_errands, args=(rota,), name=f"errands-{number}", daemon=True).start()
        with ThreadPoolExecutor(self._dials, thread_name_prefix="dial") as pool:
            self._run_dials(pool)
        log.info("worker_stopped")

    def run_until_told(self) -> None:
        """Run in the main thread until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self.run()

    def _run_dials(self, pool: ThreadPoolExecutor) -> None:
        rota = Scheduler(database_jobs())
        in_flight: set[Future[None]] = set()
        while not self._stopping.is_set():
            in_flight = {future for future in in_flight if not future.done()}
            free = self._dials - len(in_flight)
            claims = self._guarded(partial(queue.lease_due, free)) if free else None
            in_flight |= {pool.submit(self._process, claim) for claim in claims or ()}
            if chore := rota.take():
                rota.give_back(chore, self._guarded(chore.work))
            elif not claims:
                wakeup.wait(POLL_SECONDS)

    def _process(self, claim: queue.DialLease) -> None:
        self._guarded(lambda: dial.dial(claim))
        wakeup.wake()  # The portal has a dial to spare again.

    def _run_errands(self, rota: Scheduler) -> None:
        """Until stopped; an errand that is cut off then is done by the next worker."""
        while not self._stopping.is_set():
            if errand := rota.take():
                rota.give_back(errand, self._guarded(errand.work))
            else:
                self._stopping.wait(POLL_SECONDS)

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """One failure must not end the worker: it is logged, and the row's lease keeps the promise."""
        try:
            with self._app.app_context():
                return work()
        except Exception:
            log.exception("worker_failed")
            self._stopping.wait(1.0)
            return None


def init_app(app: Flask) -> None:
    """Add the command ``flask worker``."""

    @app.cli.command("worker")
    @click.option("--dials", default=DIAL_THREADS, show_default=True, help="Dials in flight at most.")
    def worker(dials: int) -> None:
        """Dial due callbacks until told to stop (SIGTERM finishes the dials in flight)."""
        Worker(app, dials).run_until_told()

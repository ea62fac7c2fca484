"""What a bell sets off in a process of the fleet: a round of one job, with the job's own lease, fence and threads."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import structlog
from flask import Flask

from bx24app.services.runtime.announcements import Announcer
from bx24app.worker.guarded import run_guarded
from bx24app.worker.scheduler import AnyJob, Job, LeasedJob

log = structlog.get_logger(__name__)

T = TypeVar("T")

# A round begins nothing new after this time; another bell goes on where it ended.
LOOK_FOR_SECONDS = 30.0


class Rounds:
    """The jobs of a process of the fleet: of each, as many at once as in a worker; a bell that finds none free ends.

    Nothing is lost with it: whoever is at the job looks again when it is done, and the sweep rings again.
    """

    def __init__(self, app: Flask, announcer: Announcer, jobs: Sequence[AnyJob]) -> None:
        self._app = app
        self._announcer = announcer
        self._jobs = {job.name: job for job in jobs}
        self._counting = threading.Lock()
        self._free = {job.name: job.at_once for job in jobs}
        # Two threads that lease at one moment see the same rows first, and one of them would get none.
        self._leasing = {job.name: threading.Lock() for job in jobs}
        # Whoever waits for that will see what is due for all who come meanwhile.
        self._next = {job.name: threading.Lock() for job in jobs}
        self._helpers = ThreadPoolExecutor(self.threads, "helper")
        self._is_stopping = False

    @property
    def threads(self) -> int:
        """How many threads all jobs need together, and a few for bells that find none free."""
        return sum(job.at_once for job in self._jobs.values()) + 4

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopping = True

    def do(self, name: object) -> None:
        """Do a job until nothing of it is due, for half a minute at the most; a name that is none is logged.

        What has begun comes to its end before this returns.
        """
        job = self._jobs.get(name) if isinstance(name, str) else None
        if job is None:
            log.warning("unknown_job", name=str(name)[:100])
            return
        until = time.monotonic() + LOOK_FOR_SECONDS
        if isinstance(job, LeasedJob):
            self._work_on_rows(job, until)
        elif self._take(job, 1):
            try:
                self._repeat(job, until)
            finally:
                self._give_back(job, 1)

    def _repeat(self, job: Job, until: float) -> None:
        while not self._is_stopping:
            done = self._guarded(job, "work", job.work)
            if not (done and job.is_repeated):
                return
            if time.monotonic() > until:
                self._announcer.announce(job.name)
                return

    def _work_on_rows(self, job: LeasedJob, until: float) -> None:
        helpers: list[Future[None]] = []
        while leased := self._lease(job):
            first, *others = leased
            helpers += [self._helpers.submit(self._help, job, one) for one in others]
            self._work(job, first)
            if time.monotonic() > until:
                self._announcer.announce(job.name)
                break
        wait(helpers)

    def _lease(self, job: LeasedJob) -> Sequence[Any]:
        """Lease as many rows as may be worked at now; each is given back by ``_work``."""
        if not self._next[job.name].acquire(blocking=False):
            return ()
        with self._leasing[job.name]:
            self._next[job.name].release()
            free = 0 if self._is_stopping else self._take(job, job.at_once)
            leased: Sequence[Any] = (self._guarded(job, "lease", partial(job.lease, free)) or ()) if free else ()
            self._give_back(job, free - len(leased))
        if free and len(leased) == free:
            self._announcer.announce(job.name)  # Perhaps there are more, for another process.
        return leased

    def _help(self, job: LeasedJob, one: Any) -> None:
        """Work at a row beside the thread that has leased it, and let somebody look for the next one."""
        self._work(job, one)
        self._announcer.announce(job.name)

    def _work(self, job: LeasedJob, one: Any) -> None:
        self._guarded(job, "work", partial(job.work, one), one.portal_id)
        self._give_back(job, 1)

    def _guarded(self, job: AnyJob, step: str, work: Callable[[], T], portal_id: int | None = None) -> T | None:
        # A row that failed is leased again, and a job that failed is rung for again: here nothing has to wait.
        return run_guarded(self._app, job.name, step, work, lambda: None, portal_id)

    def _take(self, job: AnyJob, most: int) -> int:
        """Take so many of a job's threads at the most; returns how many."""
        with self._counting:
            taken = min(most, self._free[job.name])
            self._free[job.name] -= taken
        return taken

    def _give_back(self, job: AnyJob, count: int) -> None:
        with self._counting:
            self._free[job.name] += count

"""What a bell sets off in a process of the fleet: a round of one job, with the job's own lease, fence and threads."""

import threading
import time
from collections.abc import Sequence
from functools import partial

import structlog
from flask import Flask

from bx24app.services.runtime.announcements import Announcer
from bx24app.worker.guarded import run_guarded
from bx24app.worker.scheduler import AnyJob, Job

log = structlog.get_logger(__name__)

# A round begins nothing new after this time; another bell goes on where it ended.
ROUND_SECONDS = 30.0


class Rounds:
    """The jobs of a process of the fleet: of each, as many at once as in a worker; a bell that finds none free ends.

    Nothing is lost with it: whoever is at the job looks again when it is done, and the sweep rings again.
    """

    def __init__(self, app: Flask, announcer: Announcer, jobs: Sequence[AnyJob]) -> None:
        self._app = app
        self._announcer = announcer
        self._jobs = {job.name: job for job in jobs}
        self._free = {job.name: threading.BoundedSemaphore(job.at_once) for job in jobs}
        # Two threads that lease at one moment see the same row first, and one of them would get none.
        self._leasing = {job.name: threading.Lock() for job in jobs}
        self._is_stopping = False

    @property
    def threads(self) -> int:
        """How many threads all jobs need together, and a few for bells that find none free."""
        return sum(job.at_once for job in self._jobs.values()) + 4

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopping = True

    def do(self, name: object) -> None:
        """Do a job until nothing of it is due, for half a minute at the most; a name that is none is logged."""
        job = self._jobs.get(name) if isinstance(name, str) else None
        if job is None:
            log.warning("unknown_job", name=str(name)[:100])
            return
        if not self._free[job.name].acquire(blocking=False):
            return
        try:
            until = time.monotonic() + ROUND_SECONDS
            while not self._is_stopping and self._do_once(job):
                if time.monotonic() > until:
                    self._announcer.announce(job.name)
                    return
        finally:
            self._free[job.name].release()

    def _do_once(self, job: AnyJob) -> bool:
        """Do a job, or one row of it; returns whether there may be more."""
        failures: list[str] = []
        fail = partial(failures.append, job.name)
        if isinstance(job, Job):
            done = run_guarded(self._app, job.name, "work", job.work, fail)
            return bool(done) and job.is_repeated
        with self._leasing[job.name]:
            leased = run_guarded(self._app, job.name, "lease", partial(job.lease, 1), fail)
        for one in leased or ():
            # Perhaps more rows are due: another thread, here or elsewhere, looks meanwhile.
            self._announcer.announce(job.name)
            run_guarded(self._app, job.name, "work", partial(job.work, one), fail)
        return bool(leased) and not failures

"""The fleet: Celery's processes do the jobs of a worker, and beat rings for each of them at its pace.

A bell of beat is the sweep: it also finds what was never announced, or whose announcement was lost.
"""

import gc
import logging
import os
import threading
import time
import warnings
from datetime import timedelta
from typing import Any

import structlog
from celery import Celery, signals
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from flask import Flask

from bx24app import metrics
from bx24app.services.runtime.announcements import ANNOUNCER
from bx24app.services.runtime.broker import QUEUE, TASK
from bx24app.settings import VARIABLE_PREFIX, SettingsError
from bx24app.worker.jobs import background_jobs
from bx24app.worker.rounds import Rounds
from bx24app.worker.worker import FINISH_SECONDS

log = structlog.get_logger(__name__)

# A bell costs a message, so one for rows that wait is rung less often than a worker looks.
SHORTEST_PERIOD = timedelta(seconds=0.5)
# Beat rings no more while so many bells wait: without a worker they would fill the broker.
MOST_WAITING = 1000
COUNTED_EVERY_SECONDS = 5.0
CLOCK_SET_BY_SECONDS = 1.0
# Of the pool of processes only; what a thread waits for has a deadline of its own.
TASK_SECONDS = 900


def make_fleet(app: Flask) -> Celery:
    """Give the app's Celery its task and its schedule; raises ``SettingsError`` where the app has no broker."""
    announcer = app.extensions.get(ANNOUNCER)
    if announcer is None:
        raise SettingsError(f"Settings: missing: {VARIABLE_PREFIX}BROKER_URL, the address of the fleet's broker")
    rounds = Rounds(app, announcer, background_jobs())
    fleet: Celery = announcer.celery
    _add_task(fleet, rounds)
    fleet.conf.update(
        # Dials wait and compute nothing: threads cost little, and what is known of slow portals is known to all.
        worker_pool="threads",
        worker_concurrency=rounds.threads,
        worker_consumer=f"{__name__}:{FleetConsumer.__name__}",
        task_time_limit=TASK_SECONDS,
        beat_scheduler=f"{__name__}:{FleetScheduler.__name__}",
        beat_schedule={
            job.name: {
                "task": TASK,
                "schedule": max(timedelta(seconds=job.seconds), SHORTEST_PERIOD),
                "args": (job.name, None),
            }
            for job in background_jobs()
        },
    )
    fleet.announcer = announcer
    _follow_signals(rounds)
    return fleet


def _add_task(fleet: Celery, rounds: Rounds) -> None:
    def work(job: object, row_id: object = None) -> None:
        """Do a job, of which a row may be due."""
        log.debug("rung", job=str(job)[:100], row=str(row_id)[:100])
        rounds.do(job)

    fleet.task(name=TASK)(work)
    fleet.finalize()
    # Of Celery's own tasks nothing here needs any, and a stranger's message might.
    for name in set(fleet.tasks) - {TASK}:
        fleet.tasks.unregister(name)


def _follow_signals(rounds: Rounds) -> None:
    def shut_down(**_: Any) -> None:
        rounds.stop()
        # What a portal keeps waiting is left to its lease, and what is left of the interpreter may not wait for it.
        ending = threading.Timer(FINISH_SECONDS, os._exit, (0,))
        ending.daemon = True
        ending.start()

    def keep_our_log(**_: Any) -> None:
        for name in ("celery", "kombu", "amqp"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # Of what Celery 6 will do to tasks whose connection is lost: ours go on, for their rows are leased.
        warnings.simplefilter("ignore", CPendingDeprecationWarning)

    def begin(**_: Any) -> None:
        gc.collect()
        gc.freeze()  # As a worker does.
        metrics.share_counts()

    signals.worker_init.connect(begin, weak=False)
    signals.worker_shutting_down.connect(shut_down, weak=False)
    signals.setup_logging.connect(keep_our_log, weak=False)


class FleetConsumer(Consumer):
    """A consumer that tells others nothing of itself, hears nothing of them, and survives any message."""

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
        super().__init__(*args, worker_options={**(worker_options or {}), **alone}, **kwargs)
        # What is no message of ours (not JSON, not an object, no body) is taken off the queue and must not end the
        # process; after it the connection is made anew, as after a broker that has gone.
        self.connection_errors = (Exception,)


class FleetScheduler(Scheduler):
    """Rings as a commit does, so that a broker that is gone or lies stops nothing; keeps nothing on the disk."""

    # The announcer has a connection of its own.
    producer = None
    _counted_at = float("-inf")
    _is_full = False
    # When the clock that measures stood at 0, by the one that the periods go by.
    _zero: float | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Ring for what is due; where the clock was set, all periods begin anew: set back, it would ring for none."""
        zero = time.time() - time.monotonic()
        if self._zero is not None and abs(zero - self._zero) > CLOCK_SET_BY_SECONDS:
            log.warning("periods_begun_anew", seconds=round(zero - self._zero))
            for entry in self.schedule.values():
                entry.last_run_at = entry.default_now()
            self._heap = None
        self._zero = zero
        return float(super().tick(*args, **kwargs))

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:  # noqa: ARG002
        """Ring for a job, unless nobody has heard the bells before."""
        if time.monotonic() - self._counted_at > COUNTED_EVERY_SECONDS:
            self._counted_at = time.monotonic()
            self._count()
        if not self._is_full:
            self.app.announcer.announce(*entry.args)

    def _count(self) -> None:
        waiting = self._waiting()
        was_full, self._is_full = self._is_full, waiting >= MOST_WAITING
        if self._is_full and not was_full:
            log.error("nobody_works", waiting=waiting)

    def _waiting(self) -> int:
        """Count the bells that wait at the broker; 0 where it does not say."""
        try:
            with self.app.connection_for_write() as connection:
                channel = connection.channel()
                return int(channel.queue_declare(QUEUE, passive=True).message_count)
        except Exception:  # Redis knows no queue that is empty; of everything else the announcer complains.
            return 0

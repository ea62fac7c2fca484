"""The worker: takes due callbacks from the database and dials them; any number may run."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import click
import structlog
from flask import Flask

from bx24app.services import (
    claiming,
    credentials,
    crm,
    deliveries,
    dialling,
    events,
    forgetting,
    life_cycle,
    rest,
    waking,
)

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 0.1
DIALS = 16
# (seconds between, what): small jobs that any worker does; doing one twice harms nothing.
CHORES: tuple[tuple[float, Callable[[], int]], ...] = (
    (1.0, claiming.sweep),
    (1.0, events.apply_pending),
    (0.5, deliveries.start_due),
    (0.5, crm.start_due),
    (60.0, deliveries.give_up),
    (60.0, events.forget_strangers),
    (60.0, credentials.forget_idle),
    (600.0, rest.forget_old_calls),
    (600.0, life_cycle.forget_uninstalled),
    (600.0, forgetting.forget_public),
)
# The same, but they ask Bitrix24: in a thread of their own, for a portal that hangs must not keep others waiting.
ERRANDS: tuple[tuple[float, Callable[[], int]], ...] = (
    (1.0, life_cycle.confirm_removals),
    (5.0, life_cycle.bind_again),
    (5.0, life_cycle.ask_payment),
    (600.0, credentials.keep_alive),
)


class Worker:
    """Claims callbacks and follows each in a thread of its own, until stopped."""

    def __init__(self, app: Flask, dials: int = DIALS) -> None:
        self._app = app
        self._dials = dials
        self._stopping = threading.Event()
        self._next_at: dict[Callable[[], int], float] = {}

    def stop(self) -> None:
        """Take nothing new; dials in flight are finished."""
        self._stopping.set()
        waking.wake()

    def run(self) -> None:
        """Work until stopped, then wait for the dials in flight (70 s at most, by their time-outs)."""
        log.info("worker_started", dials=self._dials)
        errands = threading.Thread(target=self._run_errands, name="errands", daemon=True)
        errands.start()
        with ThreadPoolExecutor(self._dials, thread_name_prefix="dial") as pool:
            in_flight: set[Future[None]] = set()
            while not self._stopping.is_set():
                in_flight = {future for future in in_flight if not future.done()}
                claim = self._guarded(claiming.claim) if len(in_flight) < self._dials else None
                if claim is not None:
                    in_flight.add(pool.submit(self._process, claim))
                    continue
                self._do_due(CHORES)
                waking.wait(POLL_SECONDS)
        log.info("worker_stopped")

    def _process(self, claim: claiming.Claim) -> None:
        self._guarded(lambda: dialling.process(claim))

    def _run_errands(self) -> None:
        """Until stopped; an errand that is cut off then is done by the next worker."""
        while not self._stopping.wait(POLL_SECONDS):
            self._do_due(ERRANDS)

    def _do_due(self, chores: tuple[tuple[float, Callable[[], int]], ...]) -> None:
        for seconds, chore in chores:
            if self._next_at.get(chore, 0.0) <= time.monotonic():
                self._next_at[chore] = time.monotonic() + seconds
                self._guarded(chore)

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
    @click.option("--dials", default=DIALS, show_default=True, help="Dials in flight at most.")
    def worker(dials: int) -> None:
        """Dial due callbacks until told to stop (SIGTERM finishes the dials in flight)."""
        running = Worker(app, dials)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        running.run()

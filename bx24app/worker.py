"""The worker: takes due callbacks from the database and dials them; any number may run."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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
    evidence,
    forgetting,
    history,
    life_cycle,
    rest,
    retention,
    settling,
    waking,
)

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 0.1
DIALS = 16
ERRAND_THREADS = 8


@dataclass
class Chore:
    """Something to do every few ``seconds``, by ``at_once`` threads of a worker at the most.

    Any worker does it; doing it twice harms nothing.
    """

    seconds: float
    work: Callable[[], int]
    at_once: int = 1
    next_at: float = 0.0
    running: int = 0


def chores() -> list[Chore]:
    """Small jobs on the database alone, done between two looks for due callbacks."""
    return [
        Chore(1.0, claiming.sweep),
        Chore(1.0, evidence.apply_pending),
        Chore(0.5, deliveries.start_due),
        Chore(0.5, crm.start_due),
        Chore(5.0, settling.settle_overdue),
        Chore(60.0, deliveries.give_up),
        Chore(60.0, events.forget_strangers),
        Chore(60.0, credentials.forget_idle),
        Chore(600.0, rest.forget_old_calls),
        Chore(600.0, life_cycle.forget_uninstalled),
        Chore(600.0, retention.forget_old_callbacks),
        Chore(600.0, forgetting.forget_public),
    ]


def errands() -> list[Chore]:
    """Jobs that ask Bitrix24: in threads of their own, for a portal that hangs must not keep others waiting."""
    return [
        Chore(0.5, history.read_next, at_once=4),
        Chore(1.0, life_cycle.confirm_removals),
        Chore(5.0, life_cycle.bind_again),
        Chore(5.0, life_cycle.ask_payment),
        Chore(600.0, credentials.keep_alive),
    ]


@dataclass
class Rota:
    """Gives out what is due, to each thread something else."""

    chores: list[Chore]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Chore | None:
        """The chore that waits longest, or None; ``give_back`` ends it."""
        now = time.monotonic()
        with self._lock:
            due = [chore for chore in self.chores if chore.next_at <= now and chore.running < chore.at_once]
            if not due:
                return None
            chore = min(due, key=lambda one: one.next_at)
            chore.next_at, chore.running = now + chore.seconds, chore.running + 1
            return chore

    def give_back(self, chore: Chore, done: int | None) -> None:
        """Note that it was done; where there was something to do, there may be more at once."""
        with self._lock:
            chore.running -= 1
            if done and chore.at_once > 1:
                chore.next_at = 0.0


class Worker:
    """Claims callbacks and follows each in a thread of its own, until stopped."""

    def __init__(self, app: Flask, dials: int = DIALS) -> None:
        self._app = app
        self._dials = dials
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take nothing new; dials in flight are finished."""
        self._stopping.set()
        waking.wake()

    def run(self) -> None:
        """Work until stopped, then wait for the dials in flight (70 s at most, by their time-outs)."""
        log.info("worker_started", dials=self._dials)
        rota = Rota(errands())
        for number in range(ERRAND_THREADS):
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
        rota = Rota(chores())
        in_flight: set[Future[None]] = set()
        while not self._stopping.is_set():
            in_flight = {future for future in in_flight if not future.done()}
            free = self._dials - len(in_flight)
            claims = self._guarded(partial(claiming.claim_due, free)) if free else None
            in_flight |= {pool.submit(self._process, claim) for claim in claims or ()}
            if chore := rota.take():
                rota.give_back(chore, self._guarded(chore.work))
            elif not claims:
                waking.wait(POLL_SECONDS)

    def _process(self, claim: claiming.Claim) -> None:
        self._guarded(lambda: dialling.process(claim))
        waking.wake()  # The portal has a dial to spare again.

    def _run_errands(self, rota: Rota) -> None:
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
    @click.option("--dials", default=DIALS, show_default=True, help="Dials in flight at most.")
    def worker(dials: int) -> None:
        """Dial due callbacks until told to stop (SIGTERM finishes the dials in flight)."""
        Worker(app, dials).run_until_told()

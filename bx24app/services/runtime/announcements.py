"""Announcing committed rows to a fleet, over a broker that nobody waits for.

Whoever commits puts a bell into a short queue of this process; one thread sends them. When the queue is full or the
broker cannot be reached, bells are forgotten: the fleet's sweep looks for everything that is due in any case. What a
process has not sent when it ends is swept up in the same way.
"""

import importlib.util
import os
import threading
import time
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, cast

import structlog
from flask import Flask, current_app

from bx24app.services.runtime import wakeup
from bx24app.settings import VARIABLE_PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger(__name__)

ANNOUNCER = "bx24app.announcer"
BELLS_WAITING = 1000
# After a failure the broker is left alone for a moment, and what waited meanwhile is forgotten.
BROKER_PAUSE_SECONDS = 1.0
# What is wrong with a broker is said once in this time.
SAID_EVERY_SECONDS = 60.0

Bell = tuple[str, str | None]


class Announcer:
    """Sends bells in a thread of its own; one for each process, after a fork too."""

    def __init__(self, celery: "Celery") -> None:
        self.celery = celery
        self._lock = threading.Lock()
        self._pid = 0
        self._waiting: Queue[Bell] = Queue()
        self._said_at: float | None = None
        self._unsaid = 0
        # A process that was forked meanwhile must not find the lock taken by a thread that it does not have.
        os.register_at_fork(after_in_child=self._forget_parent)

    def announce(self, job: str, row_id: wakeup.RowId | None = None) -> None:
        """Ring for a job, at once and without waiting for anybody; raises nothing."""
        if self._pid != os.getpid():
            self._start()
        try:
            self._waiting.put_nowait((job, None if row_id is None else str(row_id)))
        except Full:
            if (unsaid := self._to_say()) is not None:
                log.warning("announcements_forgotten", reason="queue_full", more=unsaid)

    def _forget_parent(self) -> None:
        self._lock = threading.Lock()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._waiting = Queue(BELLS_WAITING)
                # A daemon: a process that ends waits for no broker.
                threading.Thread(target=self._send_all, args=(self._waiting,), name="announcer", daemon=True).start()
                self._pid = os.getpid()

    def _send_all(self, waiting: Queue[Bell]) -> None:
        while True:
            try:
                self._send_while_connected(waiting)
            except Exception as error:  # A broker that lies makes its client raise anything.
                if (unsaid := self._to_say()) is not None:
                    log.warning("broker_failed", reason=type(error).__name__, more=unsaid)
                _forget(waiting)
                time.sleep(BROKER_PAUSE_SECONDS)

    def _send_while_connected(self, waiting: Queue[Bell]) -> None:
        from bx24app.services.runtime.broker import TASK  # noqa: PLC0415  Only who has a broker has its client.

        bell = waiting.get()
        with self.celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=1)
            producer = self.celery.amqp.Producer(connection, auto_declare=False)
            while True:
                self.celery.send_task(TASK, args=bell, producer=producer, retry=False, ignore_result=True)
                bell = waiting.get()

    def _to_say(self) -> int | None:
        """Return how often nothing was said of what is wrong; None: it was said within a minute."""
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < SAID_EVERY_SECONDS:
            self._unsaid += 1
            return None
        self._said_at, unsaid, self._unsaid = now, self._unsaid, 0
        return unsaid


def _forget(waiting: Queue[Any]) -> None:
    try:
        while True:
            waiting.get_nowait()
    except Empty:
        return


def _announce(job: str, row_id: wakeup.RowId | None) -> None:
    # Several apps may live in one process, each with a broker of its own or with none.
    announcer = cast("Announcer | None", current_app.extensions.get(ANNOUNCER))
    if announcer is not None:
        announcer.announce(job, row_id)


def init_app(app: Flask, settings: Settings) -> None:
    """Announce what is committed, where there is a broker; raises ``SettingsError`` where its client is missing."""
    if settings.broker_url is None:
        return
    url = settings.broker_url.get_secret_value()
    client = "redis" if url.startswith("redis") else "amqp"
    missing = [name for name in ("celery", client) if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"Settings: {VARIABLE_PREFIX}BROKER_URL needs {' and '.join(missing)}, which requirements.lock installs"
        )
    from bx24app.services.runtime.broker import make_celery  # noqa: PLC0415  Only who has a broker has its client.

    app.extensions[ANNOUNCER] = Announcer(make_celery(url))
    wakeup.listen(_announce)

"""Ringing and hearing, each in a thread of its own: a ring never keeps a web request waiting, and never fails one."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from queue import Empty, SimpleQueue
from typing import Protocol

import psycopg
import structlog
from flask import current_app, has_app_context
from sqlalchemy.exc import SQLAlchemyError

from bx24app.database import db, is_postgresql, sqlite_path
from bx24app.services.runtime.rings.message import Listener, Ring, RowId, write_message
from bx24app.services.runtime.rings.notices import Notices
from bx24app.services.runtime.rings.pipes import Pipes

log = structlog.get_logger(__name__)

# What is rung within it goes as one message, so that a thousand requests a second cost a hundred messages.
GATHERED_SECONDS = 0.01
# A thread without anything to do ends after a while; whoever needs it again starts another one.
LINGER_SECONDS = 5.0
AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 1.0, 60.0
FAILURES = (OSError, psycopg.Error, SQLAlchemyError)
_BELL = "bx24app.bell"


class Way(Protocol):
    """How rings get from one process to another."""

    @property
    def place(self) -> str:
        """Where they meet."""

    def send(self, message: str) -> None:
        """Send a message to everybody who listens."""

    def receive(self, hear: Listener, is_over: Callable[[], bool]) -> None:
        """Hear rings until that is over."""

    def examine(self) -> None:
        """Raise one of ``FAILURES`` where no rings come through."""


class Bell:
    """The rings of one app: sent by one thread, heard by another; neither runs where there is nothing to do."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._lock = threading.Lock()
        self._rung: SimpleQueue[Ring] = SimpleQueue()
        self._listeners: list[Listener] = []
        self._left_at = 0.0
        self._ringing: threading.Thread | None = None
        self._hearing: threading.Thread | None = None

    def ring(self, ring: Ring) -> None:
        """Have it sent soon."""
        self._rung.put(ring)
        with self._lock:
            self._ringing = _alive(self._ringing, self._send_all)

    @contextmanager
    def hearing(self, listener: Listener) -> Iterator[None]:
        """Call ``listener`` with the rings of other processes, in a thread of the bell's."""
        with self._lock:
            self._listeners.append(listener)
            self._hearing = _alive(self._hearing, self._hear_all)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
                self._left_at = time.monotonic()

    def _send_all(self) -> None:
        while True:
            try:
                rings = {self._rung.get(timeout=LINGER_SECONDS)}
            except Empty:
                with self._lock:
                    if self._rung.empty():
                        self._ringing = None
                        return
                continue
            while not self._rung.empty():
                rings.add(self._rung.get())
            try:
                self._way.send(write_message(rings))
            except Exception as error:  # Without its thread a process would never ring again.
                log.debug("rings_not_sent", reason=type(error).__name__)
            time.sleep(GATHERED_SECONDS)

    def _hear_all(self) -> None:
        pause, told = AGAIN_SECONDS, ""
        while not self._is_over():
            began_at = time.monotonic()
            try:
                self._way.receive(self._hear, self._is_over)
            except Exception as error:
                # A connection that has stood for long is made again at once; where none ever works, ever more rarely.
                has_stood = time.monotonic() - began_at > LONGEST_AGAIN_SECONDS
                pause = AGAIN_SECONDS if has_stood else min(pause * 2, LONGEST_AGAIN_SECONDS)
                if has_stood or told != (told := type(error).__name__):
                    log.warning("rings_not_heard", reason=type(error).__name__)
                self._rest(pause)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_over():
            time.sleep(AGAIN_SECONDS / 2)

    def _is_over(self) -> bool:
        """Tell whether nobody has listened for a while; once that is so the thread ends."""
        with self._lock:
            if self._hearing is not threading.current_thread():
                return True
            if self._listeners or time.monotonic() - self._left_at < LINGER_SECONDS:
                return False
            self._hearing = None
            return True

    def _hear(self, name: str, row_id: RowId | None) -> None:
        for listener in tuple(self._listeners):
            listener(name, row_id)


def _alive(thread: threading.Thread | None, work: Callable[[], None]) -> threading.Thread:
    """Start a thread, unless there is one: a process that was forked has none of its parent's."""
    if thread is None or not thread.is_alive():
        thread = threading.Thread(target=work, name=work.__name__, daemon=True)
        thread.start()
    return thread


def _way() -> Way | None:
    if is_postgresql():
        return Notices(db.engine)
    return Pipes(path) if (path := sqlite_path()) else None


def _bell() -> Bell | None:
    """The bell of this process; None where no other process can have the database: it is in memory."""
    bells: dict[int, Bell | None] = current_app.extensions.setdefault(_BELL, {})
    if os.getpid() not in bells:
        bells[os.getpid()] = Bell(way) if (way := _way()) else None
    return bells[os.getpid()]


def ring(name: str, row_id: RowId | None) -> None:
    """Tell the other processes, soon and without waiting; raises nothing."""
    if has_app_context() and (bell := _bell()):
        bell.ring((name, row_id))


def hearing(listener: Listener) -> AbstractContextManager[None]:
    """Call ``listener`` with what is rung anywhere, here too, in a thread of its own, until the block ends.

    It is told ``ANYTHING`` when rings may have been missed. It must not raise, and not take long.
    """
    bell = _bell()
    return bell.hearing(listener) if bell else nullcontext()


def examine_rings() -> tuple[str, str]:
    """Say where rings meet, and what keeps them from coming through: the name of an error, or ""."""
    way = _way()
    if way is None:
        return "", ""
    try:
        way.examine()
    except FAILURES as error:
        return way.place, type(error).__name__
    return way.place, ""

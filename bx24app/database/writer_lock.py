"""The writer lock: writers of a SQLite file wait in line for it."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import structlog

from bx24app.database.engine import is_postgresql, sqlite_path
from bx24app.database.files import open_lock
from bx24app.errors import DatabaseBusy

log = structlog.get_logger(__name__)

# As long as SQLite waits for its own lock (``busy_timeout``).
WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.0005
_threads = threading.Lock()


@contextmanager
def writer_lock(wait_seconds: float | None = None) -> Iterator[None]:
    """Wait in line to write to a SQLite file: first behind the threads of this process, then behind other processes.

    A writer that finds SQLite's own lock taken sleeps for longer and longer times; this lock lets the next writer in at
    once. SQLite's own lock still keeps the writers apart, so a lock file that somebody else could hold is left alone.
    On PostgreSQL this does nothing. Raises ``DatabaseBusy`` after ``wait_seconds``, or else ``WAIT_SECONDS``.
    """
    if is_postgresql() or not (path := sqlite_path()):
        yield
        return
    wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
    until = time.monotonic() + wait_seconds
    if not _threads.acquire(timeout=wait_seconds):
        raise DatabaseBusy
    try:
        file = open_lock(path)
        if file is None:
            _tell_once(path)
            yield
            return
        try:
            _lock(file, until)
            yield
        finally:
            # A process forked meanwhile has the file open too, so closing it is not enough.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)
    finally:
        _threads.release()


def _lock(file: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise DatabaseBusy from None
            time.sleep(_POLL_SECONDS)
        else:
            return


@cache
def _tell_once(path: str) -> None:
    log.warning("writer_lock_not_used", file=os.path.basename(path))

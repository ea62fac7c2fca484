"""The writer lock: writers of a SQLite file wait in line for it."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flask import current_app

from bx24app.database.engine import db, is_postgresql

_PATH = "bx24app.sqlite_path"
_threads = threading.Lock()


@contextmanager
def writer_lock() -> Iterator[None]:
    """Wait in line to write to a SQLite file: first behind the threads of this process, then behind other processes.

    A writer that finds SQLite's own lock taken sleeps for longer and longer times; this lock wakes the next writer at
    once. SQLite's own lock still keeps the writers apart. On PostgreSQL this does nothing.
    """
    if is_postgresql() or not (path := _sqlite_path()):
        yield
        return
    with _threads:
        file = _open_lock_file(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(
                file, fcntl.LOCK_UN
            )  # A process forked meanwhile has the file open too, so closing it is not enough.
            os.close(file)


def _sqlite_path() -> str:
    """Ask SQLite for the path of its file, because URLs name it in many ways; empty for a database in memory."""
    known: dict[str, str] = current_app.extensions
    if _PATH not in known:
        with closing(db.engine.raw_connection()) as connection:
            known[_PATH] = connection.cursor().execute("PRAGMA database_list").fetchone()[2]
    return known[_PATH]


def _open_lock_file(path: str) -> int:
    """Open the lock file; everybody who may read the database may wait at it."""
    name = f"{path}-turn"
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        file = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o400)
        os.fchmod(file, os.stat(path).st_mode & 0o444)
        return file

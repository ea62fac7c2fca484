"""The lock at which writers of a SQLite file wait in line."""

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
    """Wait in line to write to a SQLite file, behind the threads of this process and then behind other processes.

    SQLite lets those who find its lock taken sleep, longer and longer; here the next one is woken at once. The lock
    that keeps writers apart is still SQLite's own.
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
            fcntl.flock(file, fcntl.LOCK_UN)  # Closing alone would not do where the process was forked meanwhile.
            os.close(file)


def _sqlite_path() -> str:
    """The file as SQLite itself names it, whatever kind of URL led there; empty in memory."""
    known: dict[str, str] = current_app.extensions
    if _PATH not in known:
        with closing(db.engine.raw_connection()) as connection:
            known[_PATH] = connection.cursor().execute("PRAGMA database_list").fetchone()[2]
    return known[_PATH]


def _open_lock_file(path: str) -> int:
    """The file at which writers wait; whoever may read the database may wait there."""
    name = f"{path}-turn"
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        file = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o400)
        os.fchmod(file, os.stat(path).st_mode & 0o444)
        return file

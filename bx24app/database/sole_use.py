"""Sole use of the database: known for sure, because whoever is connected holds a lock that ends with the process.

On PostgreSQL every connection of the app holds a shared advisory lock, from its beginning to its end. A SQLite file
knows by itself: each connection holds a lock on it (https://sqlite.org/pragma.html#pragma_locking_mode).
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool, StaticPool

from bx24app.database.engine import USE_LOCK, begin_sqlite, db, is_postgresql, sqlite_path
from bx24app.database.errors import hide_values_of, is_busy
from bx24app.errors import DatabaseInUse

# What runs for a moment is waited for, and PostgreSQL notices a little later that a process has gone.
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.1


@contextmanager
def sole_connection(purpose: str) -> Iterator[Connection]:
    """Connect with the database while nobody else is connected; raises ``DatabaseInUse`` with ``purpose`` in front.

    Until the end of the block nobody else can connect. The caller begins and ends its transactions.
    """
    with _sole_postgresql(purpose) if is_postgresql() else _sole_sqlite(purpose) as connection:
        yield connection


@contextmanager
def _sole_sqlite(purpose: str) -> Iterator[Connection]:
    path = sqlite_path()
    # One of our own that is idle would count too.
    db.engine.dispose()
    with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)) as raw:
        # Before anything is read: a connection that has shared the file takes it no more.
        raw.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            raw.execute("PRAGMA synchronous=FULL")
            raw.execute("BEGIN EXCLUSIVE")
            raw.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise DatabaseInUse(purpose) from None
            raise
        with connected(raw) as connection:
            yield connection


@contextmanager
def connected(raw: sqlite3.Connection) -> Iterator[Connection]:
    """Use one open connection of SQLite's driver as one of SQLAlchemy's; the caller closes it."""
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool, hide_parameters=True)
    hide_values_of(engine)
    event.listen(engine, "begin", begin_sqlite)
    with engine.connect() as connection:
        yield connection


@contextmanager
def _sole_postgresql(purpose: str) -> Iterator[Connection]:
    db.engine.dispose()
    engine = create_engine(db.engine.url, poolclass=NullPool, hide_parameters=True)
    hide_values_of(engine)
    with engine.connect() as connection:
        until = time.monotonic() + PATIENCE_SECONDS
        while not _ask(connection, "SELECT pg_try_advisory_lock(:key)"):
            if time.monotonic() > until:
                raise DatabaseInUse(purpose)
            time.sleep(POLL_SECONDS)
        try:
            yield connection
        finally:
            # The server notices only a little later that somebody has gone.
            _ask(connection, "SELECT pg_advisory_unlock(:key)")


def _ask(connection: Connection, question: str) -> bool:
    if connection.in_transaction():
        connection.rollback()
    with connection.begin():
        return bool(connection.scalar(text(question), {"key": USE_LOCK}))

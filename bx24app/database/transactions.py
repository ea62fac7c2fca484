"""The two kinds of transaction: one that may write, and one that only reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.orm import Session

from bx24app.database.engine import db, is_postgresql
from bx24app.database.writer_lock import writer_lock

# On PostgreSQL: each statement is a transaction of its own.
_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


def in_transaction() -> bool:
    """Tell whether this thread holds a transaction; no HTTP may happen while it does."""
    return _open_transaction.get()


@contextmanager
def single_transaction() -> Iterator[None]:
    """Hold this thread's one transaction meanwhile; a second one raises ``RuntimeError``."""
    if in_transaction():
        raise RuntimeError("a transaction is open already: pass its session on")
    token = _open_transaction.set(True)
    try:
        yield
    finally:
        _open_transaction.reset(token)


@contextmanager
def _transaction(**options: object) -> Iterator[Session]:
    with Session(db.engine, expire_on_commit=False) as session:
        session.connection(execution_options=options)
        yield session
        session.commit()


@contextmanager
def writing(*, single_statement: bool = False) -> Iterator[Session]:
    """Open a transaction that may write; commits at the end, rolls back on an exception.

    On SQLite it takes the write lock at once: a transaction that reads first and writes later would fail with
    "database is locked" in spite of the busy timeout. ``single_statement`` promises one statement alone, which on
    PostgreSQL
    is its own transaction: the round trips for BEGIN and COMMIT are saved.
    """
    options = _AUTOCOMMIT if single_statement and is_postgresql() else {"bx24app_writes": True}
    with single_transaction(), writer_lock(), _transaction(**options) as session:
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a transaction that only reads: it never waits for a writer.

    On SQLite all of it sees one state. On PostgreSQL each statement would see its own anyway (READ COMMITTED), so
    that the round trips for BEGIN and COMMIT are saved.
    """
    with (
        single_transaction(),
        _transaction(**(_AUTOCOMMIT if is_postgresql() else {"bx24app_writes": False})) as session,
    ):
        yield session

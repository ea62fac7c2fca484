"""The two kinds of transaction: one that may write, and one that only reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.orm import Session

from bx24app.database.engine import db, is_postgresql
from bx24app.database.writer_lock import writer_lock

# With this option PostgreSQL treats each statement as a transaction of its own.
_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


def in_transaction() -> bool:
    """Tell whether this thread has a transaction open; it must not send HTTP requests meanwhile."""
    return _open_transaction.get()


@contextmanager
def single_transaction() -> Iterator[None]:
    """Mark that this thread has a transaction open; raises ``RuntimeError`` when it already has one."""
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
    """Open a transaction that may write; it commits at the end and rolls back on an exception.

    On SQLite it takes the write lock at once, because a transaction that reads first and writes later would fail with
    "database is locked" in spite of the busy timeout. Pass ``single_statement`` when the block runs one statement only:
    PostgreSQL then needs no round trips for BEGIN and COMMIT.
    """
    options = _AUTOCOMMIT if single_statement and is_postgresql() else {"bx24app_writes": True}
    with single_transaction(), writer_lock(), _transaction(**options) as session:
        yield session


@contextmanager
def reading(*, single_statement: bool = False) -> Iterator[Session]:
    """Open a transaction that only reads; it never waits for a writer.

    On SQLite all statements see the same state. On PostgreSQL each statement sees the state at its own time, as in
    READ COMMITTED, so the round trips for BEGIN and COMMIT are saved. Pass ``single_statement`` when the block runs one
    statement only: SQLite then needs no BEGIN and COMMIT either.
    """
    with single_transaction(), reading_beside(single_statement=single_statement) as session:
        yield session


@contextmanager
def reading_beside(*, single_statement: bool = False) -> Iterator[Session]:
    """The same on another connection, while a transaction may be open: for what a process reads once."""
    options = _AUTOCOMMIT if is_postgresql() else {"bx24app_writes": False, "bx24app_begins": not single_statement}
    with _transaction(**options) as session:
        yield session

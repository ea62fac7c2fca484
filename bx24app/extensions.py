"""The database and the languages, and the two kinds of transaction."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, FromClause, Insert, MetaData, Table, event, insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry

from bx24app.settings import Settings

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
)
# A connection to PostgreSQL that rested longer is asked whether it lives before it is used.
IDLE_SECONDS = 1.0
_RETURNED = "bx24app.returned"


class Base(DeclarativeBase):
    """The declarative base of all models, with predictable names for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)
babel = Babel()
_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


# Reading on PostgreSQL needs no BEGIN and COMMIT, two round trips: at its usual isolation every statement sees the
# newest rows anyway.
_OPTIONS: dict[tuple[str, bool], dict[str, Any]] = {
    ("sqlite", True): {"bx24app_writes": True},
    ("sqlite", False): {"bx24app_writes": False},
    ("postgresql", True): {},
    ("postgresql", False): {"isolation_level": "AUTOCOMMIT"},
}


def in_transaction() -> bool:
    """Tell whether this thread holds a transaction; no HTTP may happen while it does."""
    return _open_transaction.get()


@contextmanager
def _transaction(*, writes: bool) -> Iterator[Session]:
    if in_transaction():
        raise RuntimeError("a transaction is open already: pass its session on")
    token, engine = _open_transaction.set(True), db.engine
    try:
        with Session(engine, expire_on_commit=False) as session:
            session.connection(execution_options=_OPTIONS[engine.dialect.name, writes])
            yield session
            session.commit()
    finally:
        _open_transaction.reset(token)


@contextmanager
def writing() -> Iterator[Session]:
    """Open a transaction that may write; commits at the end, rolls back on an exception.

    On SQLite it takes the write lock at once: a transaction that reads first and writes later would fail with
    "database is locked" in spite of the busy timeout.
    """
    with _transaction(writes=True) as session:
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a transaction that only reads: it never waits for a writer."""
    with _transaction(writes=False) as session:
        yield session


def insert_row(session: Session, row: Base) -> None:
    """Insert a new row at once, for half the work of the session's own way; the session does not know the row.

    What has neither a value nor a default in the table is NULL. Raises ``IntegrityError``.
    """
    table = row.__table__
    values = {name: value for name, value in vars(row).items() if value is not None and name in table.columns}
    session.connection().execute(_insert(table), values)


@cache
def _insert(table: FromClause) -> Insert:
    assert isinstance(table, Table)
    return insert(table)


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # The driver must not open transactions of its own.
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bx24app_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def use_sqlite_well(engine: Engine) -> None:
    """Give every connection of a SQLite engine our settings and our kind of BEGIN."""
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)


def _note_return(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RETURNED] = time.monotonic()


def _ask_if_idle(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
    """Let the pool open another connection when an idle one has died; a round trip that busy ones are spared."""
    if time.monotonic() - record.info.get(_RETURNED, 0.0) < IDLE_SECONDS:
        return
    try:
        connection.cursor().execute("SELECT 1").close()
        connection.rollback()
    except Exception:
        # Whatever the driver calls it: the connection is of no use.
        raise DisconnectionError from None


def init_app(app: Flask, settings: Settings) -> None:
    """Connect the app with its database."""
    url = settings.database_url
    if not url:
        Path(app.instance_path).mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{app.instance_path}/bx24app.db"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            use_sqlite_well(db.engine)
        else:
            event.listen(db.engine, "checkin", _note_return)
            event.listen(db.engine, "checkout", _ask_if_idle)

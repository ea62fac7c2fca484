"""The database and the languages, and the two kinds of transaction."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import cast

from flask import Flask
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, MetaData, Table, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry

from bx24app.settings import Settings

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
)


# As many threads as a process usually has: what is above is opened for one transaction and closed again.
POOL = {"pool_size": 20, "max_overflow": 20}


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
_turn = threading.Lock()
_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


def in_transaction() -> bool:
    """Tell whether this thread holds a transaction; no HTTP may happen while it does."""
    return _open_transaction.get()


def _refuse_nesting() -> None:
    if in_transaction():
        raise RuntimeError("a transaction is open already: pass its session on")


@contextmanager
def _transaction(*, writes: bool) -> Iterator[Session]:
    _refuse_nesting()
    token = _open_transaction.set(True)
    try:
        with Session(db.engine, expire_on_commit=False) as session:
            session.connection(execution_options={"bx24app_writes": writes})
            yield session
            session.commit()
    finally:
        _open_transaction.reset(token)


@contextmanager
def writing() -> Iterator[Session]:
    """Open a transaction that may write; commits at the end, rolls back on an exception.

    On SQLite it takes the write lock at once: a transaction that reads first and writes later would fail with
    "database is locked" in spite of the busy timeout. The threads of a process take turns before they ask for it, for
    SQLite lets those who wait sleep longer and longer.
    """
    _refuse_nesting()  # Before the turn, which this thread may hold.
    with _turn if db.engine.dialect.name == "sqlite" else nullcontext(), _transaction(writes=True) as session:
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a transaction that only reads: it never waits for a writer."""
    with _transaction(writes=False) as session:
        yield session


def insert_plainly(session: Session, *rows: Base) -> None:
    """Insert new rows at once, in this order and without the unit of work, which takes three times as long.

    The objects stay strangers to the session. What was not set has its column's default.
    """
    connection = session.connection()
    for row in rows:
        table, held = cast("Table", row.__table__), row.__dict__
        values = {column.key: held[column.key] for column in table.columns if column.key in held}
        connection.execute(table.insert(), values)


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


def init_app(app: Flask, settings: Settings) -> None:
    """Connect the app with its database."""
    url = settings.database_url
    if not url:
        Path(app.instance_path).mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{app.instance_path}/bx24app.db"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    # A server that was restarted must cost nobody a request: each connection is asked whether it lives before its use.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = POOL | {"pool_pre_ping": url.startswith("postgresql")}
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            use_sqlite_well(db.engine)

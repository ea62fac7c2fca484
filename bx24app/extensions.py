"""The database and the languages, and the two kinds of transaction."""

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, MetaData, Table, event
from sqlalchemy.dialects import postgresql, sqlite
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


# As many threads as a process usually has: what is above is opened for one transaction and closed again.
POOL = {"pool_size": 20, "max_overflow": 20}
# A connection that lay still for longer is asked whether its server lives.
IDLE_SECONDS = 1.0
_USED_AT = "bx24app_used_at"
_PATH = "bx24app.sqlite_path"
# On PostgreSQL: each statement is a transaction of its own.
_ALONE = {"isolation_level": "AUTOCOMMIT"}


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
_threads = threading.Lock()
_open_transaction: ContextVar[bool] = ContextVar("open_transaction", default=False)


def in_transaction() -> bool:
    """Tell whether this thread holds a transaction; no HTTP may happen while it does."""
    return _open_transaction.get()


@contextmanager
def only_transaction() -> Iterator[None]:
    """Hold this thread's one transaction meanwhile; a second one raises ``RuntimeError``."""
    if in_transaction():
        raise RuntimeError("a transaction is open already: pass its session on")
    token = _open_transaction.set(True)
    try:
        yield
    finally:
        _open_transaction.reset(token)


@contextmanager
def turn() -> Iterator[None]:
    """Wait in line to write to a SQLite file, behind the threads of this process and then behind other processes.

    SQLite lets those who find its lock taken sleep, longer and longer; here the next one is woken at once. The lock
    that keeps writers apart is still SQLite's own.
    """
    if is_far() or not (path := _sqlite_path()):
        yield
        return
    with _threads:
        file = _open_turn(path)
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


def _open_turn(path: str) -> int:
    """The file at which writers wait; whoever may read the database may wait there."""
    name = f"{path}-turn"
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        file = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o400)
        os.fchmod(file, os.stat(path).st_mode & 0o444)
        return file


@contextmanager
def _transaction(**options: object) -> Iterator[Session]:
    with Session(db.engine, expire_on_commit=False) as session:
        session.connection(execution_options=options)
        yield session
        session.commit()


@contextmanager
def writing(*, at_once: bool = False) -> Iterator[Session]:
    """Open a transaction that may write; commits at the end, rolls back on an exception.

    On SQLite it takes the write lock at once: a transaction that reads first and writes later would fail with
    "database is locked" in spite of the busy timeout. ``at_once`` promises one statement alone, which on PostgreSQL
    is its own transaction: the round trips for BEGIN and COMMIT are saved.
    """
    options = _ALONE if at_once and is_far() else {"bx24app_writes": True}
    with only_transaction(), turn(), _transaction(**options) as session:
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """Open a transaction that only reads: it never waits for a writer.

    On SQLite all of it sees one state. On PostgreSQL each statement would see its own anyway (READ COMMITTED), so
    that the round trips for BEGIN and COMMIT are saved.
    """
    with only_transaction(), _transaction(**(_ALONE if is_far() else {"bx24app_writes": False})) as session:
        yield session


def is_far() -> bool:
    """Tell whether the database is a server, to which every statement is a round trip."""
    return db.engine.dialect.name != "sqlite"


def insert_plainly(session: Session, *rows: Base) -> None:
    """Insert new rows at once, in this order and without the unit of work, which takes three times as long.

    The objects stay strangers to the session. What was not set has its column's default.
    """
    for row in rows:
        session.connection().execute(cast("Table", row.__table__).insert(), _set_values(row))


def insert_unless_taken(session: Session, row: Base) -> bool:
    """Insert a new row likewise; False: something unique of it is taken already, which is no error."""
    table = cast("Table", row.__table__)
    insert = (postgresql if is_far() else sqlite).insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    return session.connection().execute(insert, _set_values(row)).one_or_none() is not None


def _set_values(row: Base) -> dict[str, Any]:
    held = row.__dict__
    return {column.key: held[column.key] for column in cast("Table", row.__table__).columns if column.key in held}


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


def _check_that_it_lives(engine: Engine) -> Callable[[DBAPIConnection, ConnectionPoolEntry, object], None]:
    """A server that was restarted must cost nobody a request: each connection is looked at before its use.

    The end of a connection lies in its socket, ready to be read: seeing that costs no round trip. Only a server whose
    machine vanished leaves no trace; it cannot be back within a second.
    """

    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        poll = select.poll()
        try:
            poll.register(connection.fileno(), select.POLLIN)
            if poll.poll(0):
                raise DisconnectionError("its server has closed it")
            if time.monotonic() - entry.info.get(_USED_AT, time.monotonic()) > IDLE_SECONDS:
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("its server does not answer") from error

    return check


def _note_use(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    entry.info[_USED_AT] = time.monotonic()


def use_postgresql_well(engine: Engine) -> None:
    """Let no request meet a connection that has died."""
    event.listen(engine, "checkout", _check_that_it_lives(engine))
    event.listen(engine, "checkin", _note_use)


def init_app(app: Flask, settings: Settings) -> None:
    """Connect the app with its database."""
    url = settings.database_url
    if not url:
        Path(app.instance_path).mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{app.instance_path}/bx24app.db"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = POOL
    db.init_app(app)
    with app.app_context():
        (use_postgresql_well if is_far() else use_sqlite_well)(db.engine)

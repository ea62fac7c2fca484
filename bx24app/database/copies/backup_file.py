"""The file of a backup: written whole or not at all, for its owner alone, and read before anything is changed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, inspect, select, table

from bx24app.database.base import Base
from bx24app.database.copies import postgresql_dump, sqlite_file
from bx24app.database.engine import is_postgresql
from bx24app.database.files import PRIVATE_FILE
from bx24app.errors import CommandRefused

_KINDS = {b"SQLite format 3\0": "SQLite", b"PGDMP": "PostgreSQL"}
VERSION_TABLE = "alembic_version"
MARK_TABLE = "backup_mark"
# Without a portal nothing of anybody is in a database.
FIRST_TABLE = "portal"


@dataclass(frozen=True)
class BackupFacts:
    """What a backup says of itself: the migration that it is at, and the version of the app that made it."""

    revision: str
    version: str


def write_backup(target: Path, *, replaces: bool) -> None:
    """Copy the database into a new file, check that it can be read whole, and give it its name.

    Raises ``CommandRefused`` where something has that name and ``replaces`` is not set, and where the copy cannot be
    made; then there is nothing new.
    """
    if not replaces and os.path.lexists(target):
        raise CommandRefused(f"{target} is there already: choose another name, or say --replace.")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        (postgresql_dump if is_postgresql() else sqlite_file).write(unfinished)
        read_facts(unfinished)
        _sync(unfinished)
        unfinished.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise CommandRefused(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def read_facts(path: Path) -> BackupFacts:
    """Read the whole backup without changing anything; raises ``CommandRefused`` for what cannot be restored here."""
    kind = _kind_of(path)
    wanted = "PostgreSQL" if is_postgresql() else "SQLite"
    if kind is None:
        raise CommandRefused(f"{path} is no backup of this app, or is damaged at its beginning.")
    if kind != wanted:
        raise CommandRefused(f"{path} is a backup of a {kind} database, and BX24APP_DATABASE_URL names {wanted}.")
    tables = (postgresql_dump if is_postgresql() else sqlite_file).read(path, (VERSION_TABLE, MARK_TABLE))
    match tables:
        case {"alembic_version": [{"version_num": str(revision)}], "backup_mark": [{"version": str(version)}]}:
            return BackupFacts(revision, version)
    raise CommandRefused(f"{path} was not made by `flask --app app backup`: nobody can tell when it was made.")


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            begin = file.read(16)
    except OSError as error:
        raise CommandRefused(f"{path} cannot be read: {error.strerror}.") from None
    return next((kind for magic, kind in _KINDS.items() if begin.startswith(magic)), None)


@contextmanager
def replacing_database(live: Connection, path: Path, *, replaces: bool) -> Iterator[Connection]:
    """Connect with the database of a backup; at the end of the block it takes the place of the present one.

    ``live`` is the only connection to the present database, which stays what it is until then, and for good where the
    block raises or the process ends. Raises ``CommandRefused`` where it holds something and ``replaces`` is not set.
    """
    _require_ours(live, replaces=replaces)
    replacing = (postgresql_dump if is_postgresql() else sqlite_file).replacing
    with replacing(live, path) as restored:
        yield restored


def _require_ours(live: Connection, *, replaces: bool) -> None:
    present = set(inspect(live).get_table_names())
    if foreign := present - set(Base.metadata.tables) - {VERSION_TABLE}:
        raise CommandRefused(f"The database has tables that are not the app's: {', '.join(sorted(foreign))}.")
    has_portals = FIRST_TABLE in present and live.scalar(select(func.count()).select_from(table(FIRST_TABLE)))
    # What looked is a transaction that has not ended.
    live.rollback()
    if has_portals and not replaces:
        raise CommandRefused("The database is not empty: say --replace to lose what is in it.")

"""The write-ahead log of a SQLite file: what was deleted stands in it until something else is written there."""

from contextlib import closing

from bx24app.database.engine import db, is_postgresql, sqlite_path
from bx24app.database.transactions import single_transaction
from bx24app.database.writer_lock import writer_lock

# Who reads an older state keeps the log; nobody waits long for that, for it is tried again.
_PATIENCE_MS = 200


def empty_wal() -> bool:
    """Write the log into the file and empty it, so that neither holds what was deleted; tells whether that is so.

    PostgreSQL keeps a log of its own, which its operator archives or not: there this does nothing. Raises
    ``DatabaseBusy``.
    """
    if is_postgresql() or not sqlite_path():
        return True
    with (
        single_transaction(),
        writer_lock(),
        closing(db.engine.raw_connection()) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute("PRAGMA busy_timeout")
        [usual] = cursor.fetchone() or (0,)
        cursor.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            [is_busy, *_] = cursor.fetchone() or (1,)
        finally:
            cursor.execute(f"PRAGMA busy_timeout={usual}")
    return not is_busy

"""A gap in the ids of a restored database: those that were given since the backup are never given again.

Tickets, keys, links and jobs of others name rows by id. Nobody knows which ids were given after the backup, so the next
one stands far above the last that is known.
"""

from typing import Any

from sqlalchemy import Connection, text

from bx24app.database.base import Base

# More rows than any table gets in the weeks that a backup may be old. An id has room for 200 of them.
ID_GAP = 10_000_000


def leave_gap(connection: Connection) -> None:
    """Let the next ids begin above the gap; inside the caller's transaction."""
    if connection.dialect.name == "sqlite":
        _leave_in_sqlite(connection)
        return
    sequences = text(
        "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = current_schema()"
    )
    for name, last in connection.execute(sequences).all():
        connection.execute(
            text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": f'"{name}"', "last": last + ID_GAP}
        )


def _leave_in_sqlite(connection: Connection) -> None:
    """Of tables whose ids are given only once; SQLite keeps the last one by itself once there was a row."""
    known = set(connection.scalars(text("SELECT name FROM sqlite_sequence")))
    connection.execute(text("UPDATE sqlite_sequence SET seq = seq + :gap"), {"gap": ID_GAP})
    for table in Base.metadata.sorted_tables:
        options: Any = table.dialect_options["sqlite"]
        if options["autoincrement"] and table.name not in known:
            values = {"name": table.name, "gap": ID_GAP}
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :gap)"), values)

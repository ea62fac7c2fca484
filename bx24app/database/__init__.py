"""The database: its engine, its two kinds of transaction, and statements for which SQLAlchemy has no short form."""

from bx24app.database.base import Base
from bx24app.database.computing import computed_seconds
from bx24app.database.engine import (
    closed_files,
    configure_postgresql,
    configure_sqlite,
    db,
    init_app,
    is_postgresql,
    sqlite_path,
)
from bx24app.database.statements import change_many, given_rows, insert_into, insert_new, purge
from bx24app.database.transactions import in_transaction, reading, reading_beside, single_transaction, writing
from bx24app.database.writer_lock import writer_lock

__all__ = [
    "Base",
    "change_many",
    "closed_files",
    "computed_seconds",
    "configure_postgresql",
    "configure_sqlite",
    "db",
    "given_rows",
    "in_transaction",
    "init_app",
    "insert_into",
    "insert_new",
    "is_postgresql",
    "purge",
    "reading",
    "reading_beside",
    "single_transaction",
    "sqlite_path",
    "writer_lock",
    "writing",
]

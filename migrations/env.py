"""Run the migrations on the current app's database: ``flask --app app db ...``."""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from typing import Any, Literal, cast

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection

import bx24app.models
from bx24app.database import Base, db
from bx24app.database.migrations import CONNECTION
from bx24app.models.columns import UTCDateTime

# Importing the models is what fills the metadata.
assert bx24app.models.Portal.metadata is Base.metadata


def render_item(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Write our column types as the plain ones beneath: a migration must not change when the code does."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


def check_references(
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001  Alembic calls it with all of them.
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Refuse a migration that leaves rows pointing nowhere; called before it is committed."""
    connection = ctx.connection
    if connection is None or connection.dialect.name != "sqlite":
        return
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise RuntimeError(f"{step} breaks references of {sorted({row[0] for row in broken})}")


def run() -> None:
    """Migrate in one transaction per migration; SQLite cannot ALTER much, hence the batch mode.

    A connection that the caller has given is used as it is: what it has begun, the caller ends.
    """
    given: Connection | None = context.config.attributes.get(CONNECTION)
    with nullcontext(given) if given is not None else db.engine.connect() as connection:
        is_begun = connection.in_transaction()
        switch_references(connection, on=False)
        try:
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=True,
                render_item=render_item,
                transaction_per_migration=True,
                on_version_apply=check_references,
            )
            with context.begin_transaction():
                context.run_migrations()
        finally:
            if not is_begun:
                # What looked at the version alone is a transaction that nobody has ended.
                connection.rollback()
            switch_references(connection, on=True)


def switch_references(connection: Connection, *, on: bool) -> None:
    """Let SQLite follow references or not: where it does, a table made anew takes along every row that points to it.

    Outside of transactions, or nothing happens (https://sqlite.org/lang_altertable.html#otheralter).
    """
    if connection.dialect.name == "sqlite":
        raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        raw.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


run()

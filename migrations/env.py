"""Run the migrations on the current app's database: ``flask --app app db ...``."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

import bx24app.models
from bx24app.extensions import Base, db
from bx24app.models.columns import UTCDateTime

# Importing the models is what fills the metadata.
assert bx24app.models.Portal.metadata is Base.metadata


def render_item(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Write our column types as the plain ones beneath: a migration must not change when the code does."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


def run() -> None:
    """Migrate in one transaction per migration; SQLite cannot ALTER much, hence the batch mode."""
    with db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,
            render_item=render_item,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()

"""Ids that are never given twice: SQLite gave the highest one again once its row was gone."""

from collections.abc import Sequence
from typing import Any

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Their ids are named outside of the database: by tickets, keys, addresses and jobs.
TABLES = (
    "portal",
    "portal_user",
    "credential",
    "form",
    "api_key",
    "webhook",
    "webhook_delivery",
    "attempt",
    "website_request",
    "do_not_call",
)


def _make_anew(**options: Any) -> None:
    # PostgreSQL's sequences never go back.
    if op.get_bind().dialect.name != "sqlite":
        return
    for name in TABLES:
        with op.batch_alter_table(name, recreate="always", table_kwargs=options):
            pass


def upgrade() -> None:
    """Apply."""
    _make_anew(sqlite_autoincrement=True)


def downgrade() -> None:
    """Take back."""
    _make_anew()

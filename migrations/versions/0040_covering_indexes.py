"""Let the lists of what is planned, and of what is due today, read no rows of callbacks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0040"
down_revision: str | None = "0038"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

# By name: of which callbacks, what it held before, and what is added.
INDEXES = {
    "ix_callback_waiting": ("state IN ('queued', 'scheduled')", ["portal_id", "due_at", "id"], ["state"]),
    "ix_callback_due": ("due_at > created_at", ["portal_id", "due_at"], ["created_at", "id"]),
}


def upgrade() -> None:
    """Apply."""
    _make_again(is_wide=True)


def downgrade() -> None:
    """Revert."""
    _make_again(is_wide=False)


def _make_again(*, is_wide: bool) -> None:
    for name, (where, held, added) in INDEXES.items():
        op.drop_index(name, "callback")
        condition = sa.text(where)
        columns = held + added if is_wide else held
        op.create_index(name, "callback", columns, sqlite_where=condition, postgresql_where=condition)

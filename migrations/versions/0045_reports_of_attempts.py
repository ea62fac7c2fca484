"""Find the call reports of an attempt by an index: each attempt that was deleted went through those of all portals."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0045"
down_revision: str | None = "0044"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

NAME, TABLE = "ix_received_event_attempt_id", "received_event"


def upgrade() -> None:
    """Apply."""
    is_applied = sa.text("attempt_id IS NOT NULL")
    op.create_index(NAME, TABLE, ["attempt_id"], sqlite_where=is_applied, postgresql_where=is_applied)


def downgrade() -> None:
    """Revert."""
    op.drop_index(NAME, TABLE)

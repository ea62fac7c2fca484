"""Let a decoy wait until the callback in its place would be dialled."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0041"
down_revision: str | None = "0040"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

IS_UNRELEASED = "line_id IS NOT NULL AND released_at IS NULL AND cancelled_at IS NULL"


def upgrade() -> None:
    """Apply. Decoys without a line are of the version before: they were released when they were due."""
    op.add_column("ghost", sa.Column("line_id", sa.String(length=255), nullable=True))
    op.add_column("ghost", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ghost", sa.Column("released_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("ghost", sa.Column("ended_as", sa.String(length=64), nullable=True))
    where = sa.text(IS_UNRELEASED)
    op.create_index("ix_ghost_unreleased", "ghost", ["due_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_ghost_unreleased", "ghost")
    for name in ("ended_as", "released_at", "expires_at", "line_id"):
        op.drop_column("ghost", name)

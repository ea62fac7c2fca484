"""When the database was last backed up, and when it was last restored."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0033"
down_revision: str | None = "0032"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "backup_mark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("restored_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_backup_mark"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("backup_mark")

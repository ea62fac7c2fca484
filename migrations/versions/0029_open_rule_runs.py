"""Runs of rules: whether their automation waits, and an index over those that are open.

Revision ID: 0029
Revises: 0028
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

OPEN = sa.text("(due_at IS NOT NULL OR stage = 'calling')")


def upgrade() -> None:
    """Apply."""
    op.add_column("rule_run", sa.Column("waits", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index("ix_rule_run_open", "rule_run", ["portal_id", "user_id"], sqlite_where=OPEN, postgresql_where=OPEN)


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_rule_run_open", "rule_run")
    op.drop_column("rule_run", "waits")

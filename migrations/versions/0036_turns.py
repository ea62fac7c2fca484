"""The turns of runs of rules, so that nobody's runs wait for all of somebody else's."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0036"
down_revision: str | None = "0035"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.add_column("rule_run", sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_index(
        "ix_rule_run_turn", "rule_run", ["portal_id", "turn", "due_at"], sqlite_where=DUE, postgresql_where=DUE
    )


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_rule_run_turn", "rule_run")
    op.drop_column("rule_run", "turn")

"""Count which requests of a form's day were moved to other days."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0043"
down_revision: str | None = "0042"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("budget_day", sa.Column("moved_away", sa.Integer(), nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """Revert."""
    with op.batch_alter_table("budget_day") as table:
        table.drop_column("moved_away")

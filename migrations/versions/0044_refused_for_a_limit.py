"""Keep how long a portal is left alone that has refused a request because of a limit."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0044"
down_revision: str | None = "0043"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("pace", sa.Column("spare_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("pace", sa.Column("refusals", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    """Revert."""
    op.drop_column("pace", "refusals")
    op.drop_column("pace", "spare_at")

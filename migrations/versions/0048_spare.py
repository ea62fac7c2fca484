"""Until when more than half of a portal's pace is used, so that one query finds all portals that have spare."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0048"
down_revision: str | None = "0047"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("pace", sa.Column("half_free_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Revert."""
    op.drop_column("pace", "half_free_at")

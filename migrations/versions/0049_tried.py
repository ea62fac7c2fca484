"""How often a decoy has looked dialled before its request was moved: as many tries are left to it as to a callback."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0049"
down_revision: str | None = "0048"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("ghost", sa.Column("tried", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    """Revert."""
    op.drop_column("ghost", "tried")

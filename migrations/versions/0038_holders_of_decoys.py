"""The callback that rings for a decoy's request too: no link takes it away from others who wait for it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0038"
down_revision: str | None = "0037"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("ghost", sa.Column("holder_id", sa.Uuid(), nullable=True))
    op.create_index("ix_ghost_holder_id", "ghost", ["holder_id"])


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_ghost_holder_id", "ghost")
    op.drop_column("ghost", "holder_id")

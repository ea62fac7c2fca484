"""How a portal is set up: its first run, and what the last setup check found."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "portal_setup",
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("steps", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("findings", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True)),
    )
    # Whoever has the app already knows it.
    op.execute("INSERT INTO portal_setup (portal_id, closed_at) SELECT id, CURRENT_TIMESTAMP FROM portal")


def downgrade() -> None:
    """Take back."""
    op.drop_table("portal_setup")

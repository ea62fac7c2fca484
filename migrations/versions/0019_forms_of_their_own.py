"""Forms' own texts, corner and times of the button, and when a website last loaded its widget."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("form", sa.Column("texts", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("form", sa.Column("corner", sa.String(8), server_default="right", nullable=False))
    op.add_column("form", sa.Column("shown", sa.String(8), server_default="always", nullable=False))
    op.create_table(
        "widget_sighting",
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("form_id"),
    )


def downgrade() -> None:
    """Revert."""
    op.drop_table("widget_sighting")
    for name in ("shown", "corner", "texts"):
        op.drop_column("form", name)

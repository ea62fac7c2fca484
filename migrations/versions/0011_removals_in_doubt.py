"""When to ask next whether a portal of which a removal was told has the app still."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PORTAL = sa.table("portal", sa.column("removal_told_at"), sa.column("removal_due_at"))


def upgrade() -> None:
    """Apply."""
    op.add_column("portal", sa.Column("removal_due_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(PORTAL.update().values(removal_due_at=PORTAL.c.removal_told_at))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("portal") as table:
        table.drop_column("removal_due_at")

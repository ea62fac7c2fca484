"""When to ask where a portal is, and an index for the latest rejections of a form."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("portal", sa.Column("address_due_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_portal_address_due_at", "portal", ["address_due_at"])
    op.create_index("ix_refusal_form_id_made_at", "refusal", ["form_id", "made_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_refusal_form_id_made_at", "refusal")
    op.drop_index("ix_portal_address_due_at", "portal")
    with op.batch_alter_table("portal") as table:
        table.drop_column("address_due_at")

"""The journal of changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "journal_entry",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", sa.Integer()),
        sa.Column("page", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_entry_portal_id", "journal_entry", ["portal_id"])
    op.create_index("ix_journal_entry_portal_id_page_id", "journal_entry", ["portal_id", "page", "id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("journal_entry")

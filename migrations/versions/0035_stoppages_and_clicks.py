"""What keeps portals from calling, as it was told, and clicks of which nobody could say who has made them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0035"
down_revision: str | None = "0033"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

# What was told before this counts as told.
KEEP_TOLD = """
    INSERT INTO told_stoppage (portal_id, tag, told_at)
    SELECT portal_id, tag, min(made_at) FROM notification
    WHERE event IN ('budget', 'line', 'access') GROUP BY portal_id, tag
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "told_stoppage",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("portal_id", "tag"),
        sqlite_autoincrement=True,
    )
    op.execute(KEEP_TOLD)
    op.create_table(
        "kept_click",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False),
        sa.Column("entry_id", sa.Integer(), sa.ForeignKey("timeline_entry.id", ondelete="CASCADE"), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("token_sealed", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("lease_fence", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.UniqueConstraint("entry_id", "action", "token_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_kept_click_portal_id", "kept_click", ["portal_id"])
    op.create_index("ix_kept_click_due_at", "kept_click", ["due_at"])
    # Only the look through all notifications that were ever told of a stoppage needed it.
    op.drop_index("ix_notification_event", "notification")


def downgrade() -> None:
    """Revert."""
    op.drop_table("kept_click")
    op.create_index("ix_notification_event", "notification", ["event"])
    op.drop_table("told_stoppage")

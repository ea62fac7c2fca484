"""What the reports add up, which version of a callback they have counted, and who sees everybody's figures."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

COUNTS = (
    "requests",
    "reached",
    "nobody_answered",
    "customer_not_reached",
    "not_told",
    "expired",
    "failed",
    "cancelled",
    "under_way",
    "called",
    "picked_up",
    "untimed",
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "report_figure",
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("talk_seconds", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("calls_without_cost", sa.Integer(), nullable=False),
        sa.Column("waits", sa.JSON(), nullable=False),
        sa.Column("costs", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["portal_id"], ["portal.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("portal_id", "quarters", "kind", "slot", "key"),
    )
    # Callbacks of before are counted by the worker, like those that change.
    op.add_column("callback", sa.Column("counted_version", sa.Integer(), server_default=sa.text("0"), nullable=False))
    differs = sa.text("counted_version <> version")
    op.create_index(
        "ix_callback_uncounted",
        "callback",
        ["counted_version", "id", "portal_id"],
        sqlite_where=differs,
        postgresql_where=differs,
    )
    op.add_column(
        "portal_settings", sa.Column("shares_reports", sa.Boolean(), server_default=sa.true(), nullable=False)
    )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("portal_settings") as table:
        table.drop_column("shares_reports")
    op.drop_index("ix_callback_uncounted", "callback")
    # By itself, for a copy of the table would lose its partial indexes.
    op.execute("ALTER TABLE callback DROP COLUMN counted_version")
    op.drop_table("report_figure")

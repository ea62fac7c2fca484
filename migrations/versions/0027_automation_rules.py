"""Runs of automation rules, and what a portal was told of our rules."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DUE, CALLING = sa.text("due_at IS NOT NULL"), sa.text("stage = 'calling'")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rule_run",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("token_sealed", sa.Text()),
        sa.Column("stage", sa.String(64), nullable=False, server_default="received"),
        sa.Column("entity_type", sa.String(64)),
        sa.Column("entity_id", sa.Integer()),
        sa.Column("type_id", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("in_hours", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("callback_id", sa.Uuid(), sa.ForeignKey("callback.id", ondelete="SET NULL")),
        sa.Column("reason", sa.String(64)),
        sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("lease_fence", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.UniqueConstraint("token_digest", "portal_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rule_run_portal_id", "rule_run", ["portal_id"])
    op.create_index("ix_rule_run_due_at", "rule_run", ["due_at", "portal_id"], sqlite_where=DUE, postgresql_where=DUE)
    op.create_index("ix_rule_run_calling", "rule_run", ["callback_id"], sqlite_where=CALLING, postgresql_where=CALLING)
    op.create_index("ix_rule_run_callback_id", "rule_run", ["callback_id"])
    op.add_column("portal", sa.Column("rules_digest", sa.String(64)))
    op.add_column("portal", sa.Column("rules_at", sa.DateTime(timezone=True)))
    op.add_column("portal", sa.Column("rules_problem", sa.String(64)))


def downgrade() -> None:
    """Revert."""
    for name in ("rules_problem", "rules_at", "rules_digest"):
        op.drop_column("portal", name)
    op.drop_table("rule_run")

"""What stands of callbacks in the timeline of CRM cards, and who wants it there.

Forms that are there keep it off: nobody has asked for entries in their CRM. New forms have it on.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "timeline_entry",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False),
        sa.Column("callback_id", sa.Uuid(), sa.ForeignKey("callback.id", ondelete="CASCADE"), unique=True),
        sa.Column("origin", sa.Uuid(), nullable=False),
        sa.Column("entity_type", sa.String(64), nullable=False),
        sa.Column("entity_id", sa.Integer(), nullable=False),
        sa.Column("activity_id", sa.Integer()),
        sa.Column("asked_at", sa.DateTime(timezone=True)),
        sa.Column("asks", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("shown", sa.String(64)),
        sa.Column("changes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("notice", sa.String(64)),
        sa.Column("notice_for", sa.Integer()),
        sa.Column("call_activity", sa.JSON()),
        sa.Column("looks", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String(64)),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("lease_fence", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_timeline_entry_portal_id", "timeline_entry", ["portal_id"])
    due = ["due_at", "portal_id"]
    op.create_index("ix_timeline_entry_due_at", "timeline_entry", due, sqlite_where=DUE, postgresql_where=DUE)
    op.create_index("ix_timeline_entry_activity_id", "timeline_entry", ["activity_id", "portal_id"])
    op.add_column("attempt", sa.Column("activity_id", sa.Integer()))
    op.add_column("portal", sa.Column("timeline_problem", sa.String(64)))
    op.add_column("pace", sa.Column("extras_at", sa.DateTime(timezone=True)))
    off = sa.false()
    op.add_column("portal_settings", sa.Column("shows_in_crm", sa.Boolean(), nullable=False, server_default=off))
    op.add_column("form", sa.Column("shows_in_crm", sa.Boolean(), nullable=False, server_default=sa.true()))
    form = sa.table("form", sa.column("shows_in_crm", sa.Boolean()))
    op.execute(form.update().values(shows_in_crm=sa.false()))


def downgrade() -> None:
    """Revert."""
    op.drop_column("form", "shows_in_crm")
    op.drop_column("portal_settings", "shows_in_crm")
    op.drop_column("pace", "extras_at")
    op.drop_column("portal", "timeline_problem")
    op.drop_column("attempt", "activity_id")
    op.drop_table("timeline_entry")

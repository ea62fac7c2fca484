"""Outgoing webhooks and what they were told; how far the customer was looked for in the CRM."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PENDING = sa.text("done_at IS NULL")
LOOKED_FOR = sa.text("crm_due_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhook",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret_sealed", sa.Text(), nullable=False),
        sa.Column("former_secret_sealed", sa.Text(), nullable=True),
        sa.Column("former_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("off_reason", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_ok_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("waits_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_fence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_webhook_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_webhook_form_id_form"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    with op.batch_alter_table("webhook") as table:
        table.create_index(table.f("ix_webhook_portal_id"), ["portal_id"], unique=False)
        table.create_index(table.f("ix_webhook_form_id"), ["form_id"], unique=False)

    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("webhook_id", sa.Integer(), nullable=False),
        sa.Column("callback_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_delivery_webhook_id_webhook"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["callback_id"], ["callback.id"], name=op.f("fk_webhook_delivery_callback_id_callback"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint("event_id", name=op.f("uq_webhook_delivery_event_id")),
    )
    with op.batch_alter_table("webhook_delivery") as table:
        table.create_index("ix_webhook_delivery_webhook_id_id", ["webhook_id", "id"], unique=False)
        table.create_index(table.f("ix_webhook_delivery_callback_id"), ["callback_id"], unique=False)
        table.create_index(
            "ix_webhook_delivery_pending", ["due_at"], unique=False, sqlite_where=PENDING, postgresql_where=PENDING
        )

    with op.batch_alter_table("website_request") as table:
        table.add_column(sa.Column("crm_reason", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("crm_words", sa.Text(), nullable=True))
        table.add_column(sa.Column("crm_due_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("crm_leased_until", sa.DateTime(timezone=True), nullable=True))
        table.create_index(
            "ix_website_request_crm", ["crm_due_at"], unique=False, sqlite_where=LOOKED_FOR, postgresql_where=LOOKED_FOR
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("website_request") as table:
        table.drop_index("ix_website_request_crm", sqlite_where=LOOKED_FOR, postgresql_where=LOOKED_FOR)
        table.drop_column("crm_leased_until")
        table.drop_column("crm_due_at")
        table.drop_column("crm_words")
        table.drop_column("crm_reason")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")

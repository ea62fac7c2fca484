"""What taking requests from websites and back ends needs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

FILLED: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "allowed_countries": (sa.JSON(), "'[]'"),
    "blocked_prefixes": (sa.JSON(), "'[]'"),
    "allowed_prefixes": (sa.JSON(), "'[]'"),
    "allowed_origins": (sa.JSON(), "'[]'"),
    "fields": (sa.JSON(), """'{"name": "optional", "topic": "off"}'"""),
    "topics": (sa.JSON(), "'[]'"),
    "consent_version": (sa.Integer(), "0"),
    "languages": (sa.JSON(), """'["en", "ru"]'"""),
    "limits": (sa.JSON(), """'{"address_hour": 5, "number_day": 3, "form_hour": 60, "form_day": 300}'"""),
    "colour": (sa.String(length=7), "'#0075ff'"),
    "creates_lead": (sa.Boolean(), "false"),
}
EMPTY: dict[str, sa.types.TypeEngine[Any]] = {
    "consent_text": sa.Text(),
    "budget_calls": sa.Integer(),
    "budget_money": sa.Numeric(precision=12, scale=4),
    "budget_currency": sa.String(length=64),
}


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("form") as table:
        for name, kind in EMPTY.items():
            table.add_column(sa.Column(name, kind, nullable=True))
        for name, (filled_kind, value) in FILLED.items():
            table.add_column(sa.Column(name, filled_kind, nullable=False, server_default=sa.text(value)))
    with op.batch_alter_table("form") as table:
        for name, (filled_kind, _) in FILLED.items():
            table.alter_column(name, existing_type=filled_kind, server_default=None)

    with op.batch_alter_table("portal") as table:
        table.add_column(sa.Column("websites_off", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("portal") as table:
        table.alter_column("websites_off", existing_type=sa.Boolean(), server_default=None)

    _create_requests()
    _create_keys_and_limits()


def _create_requests() -> None:
    op.create_table(
        "website_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("callback_id", sa.Uuid(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("utm", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=True),
        sa.Column("consent_text", sa.Text(), nullable=True),
        sa.Column("consent_version", sa.Integer(), nullable=True),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("number_digest", sa.String(length=64), nullable=False),
        sa.Column("crm_state", sa.String(length=64), nullable=False),
        sa.Column("crm_tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["callback_id"], ["callback.id"], name=op.f("fk_website_request_callback_id_callback"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["form_id"], ["form.id"], name=op.f("fk_website_request_form_id_form"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_website_request")),
        sa.UniqueConstraint("callback_id", name=op.f("uq_website_request_callback_id")),
    )
    with op.batch_alter_table("website_request") as table:
        table.create_index("ix_website_request_form_id_created_at", ["form_id", "created_at"], unique=False)

    op.create_table(
        "ghost",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_ghost_form_id_form"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ghost")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_ghost_idempotency_key")),
    )
    with op.batch_alter_table("ghost") as table:
        table.create_index(table.f("ix_ghost_form_id"), ["form_id"], unique=False)
        table.create_index(table.f("ix_ghost_created_at"), ["created_at"], unique=False)

    op.create_table(
        "refusal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_refusal_form_id_form"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_refusal_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
    )
    with op.batch_alter_table("refusal") as table:
        table.create_index("ix_refusal_portal_id_made_at", ["portal_id", "made_at"], unique=False)
        table.create_index("ix_refusal_form_id_rule", ["form_id", "rule", "made_at"], unique=False)
        table.create_index(table.f("ix_refusal_made_at"), ["made_at"], unique=False)


def _create_keys_and_limits() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_api_key_form_id_form"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_api_key_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    with op.batch_alter_table("api_key") as table:
        table.create_index(table.f("ix_api_key_portal_id"), ["portal_id"], unique=False)
        table.create_index(table.f("ix_api_key_form_id"), ["form_id"], unique=False)

    op.create_table(
        "rate",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("size", sa.Double(), nullable=False),
        sa.Column("refill", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("full_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rate")),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "spent_proof",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent_proof")),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "budget_day",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_budget_day_form_id_form"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_day")),
        sa.UniqueConstraint("form_id", "day", name=op.f("uq_budget_day_form_id_day")),
    )


def downgrade() -> None:
    """Take back."""
    for name in ("budget_day", "spent_proof", "rate", "api_key", "refusal", "ghost", "website_request"):
        op.drop_table(name)
    with op.batch_alter_table("portal") as table:
        table.drop_column("websites_off")
    with op.batch_alter_table("form") as table:
        for name in (*FILLED, *EMPTY):
            table.drop_column(name)

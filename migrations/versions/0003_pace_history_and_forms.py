"""What dialling at the right pace, the call history and website forms need."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

IN_HAND = ("answered", "dialling", "queued", "started", "unknown")
IN_HAND_SQL = "state IN ('answered', 'dialling', 'queued', 'started', 'unknown')"
FILLED: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "redialling_lines": (sa.JSON(), "'{}'"),
    "stopped_lines": (sa.JSON(), "'{}'"),
    "retries": (sa.Integer(), "0"),
    "retry_minutes": (sa.Integer(), "10"),
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "do_not_call",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("number_digest", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=32), nullable=True),
        sa.Column("note", sa.String(length=255), nullable=True),
        sa.Column("added_by", sa.Integer(), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_do_not_call_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_do_not_call")),
        sa.UniqueConstraint("portal_id", "number_digest", name=op.f("uq_do_not_call_portal_id_number_digest")),
    )
    with op.batch_alter_table("do_not_call") as table:
        table.create_index(table.f("ix_do_not_call_portal_id"), ["portal_id"], unique=False)

    op.create_table(
        "form",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("line_id", sa.String(length=255), nullable=True),
        sa.Column("voice_id", sa.String(length=255), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("default_country", sa.String(length=2), nullable=True),
        sa.Column("hours", sa.JSON(), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("retry_minutes", sa.Integer(), nullable=False),
        sa.Column("unknown_policy", sa.String(length=64), nullable=False),
        sa.Column("expiry_minutes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_form_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form")),
        sa.UniqueConstraint("key", name=op.f("uq_form_key")),
    )
    with op.batch_alter_table("form") as table:
        table.create_index(table.f("ix_form_portal_id"), ["portal_id"], unique=False)

    op.create_table(
        "pace",
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("level_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dial_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_for", sa.String(length=64), nullable=True),
        sa.Column("operating_reset_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_pace_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("portal_id", name=op.f("pk_pace")),
    )
    with op.batch_alter_table("pace") as table:
        table.create_index("ix_pace_dial_at", ["dial_at"], unique=False)

    with op.batch_alter_table("attempt") as table:
        table.add_column(sa.Column("number_digest", sa.String(length=64), nullable=True))
        table.alter_column("history_cursor", existing_type=sa.INTEGER(), type_=sa.BigInteger(), existing_nullable=True)
        table.create_index(
            "ix_attempt_nameless",
            ["portal_id", "number_digest"],
            unique=False,
            sqlite_where=sa.text("outcome IN ('dialling', 'unknown')"),
            postgresql_where=sa.text("outcome IN ('dialling', 'unknown')"),
        )

    with op.batch_alter_table("callback") as table:
        table.drop_index("uq_callback_in_hand")
        table.add_column(sa.Column("holds_number", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("form_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("asks_since", sa.DateTime(timezone=True), nullable=True))
        table.create_index(table.f("ix_callback_form_id"), ["form_id"], unique=False)
        table.create_index(
            "ix_callback_leased",
            ["portal_id"],
            unique=False,
            sqlite_where=sa.text("leased_until IS NOT NULL"),
            postgresql_where=sa.text("leased_until IS NOT NULL"),
        )
        table.create_index(
            "ix_callback_waiting",
            ["portal_id", "due_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('queued', 'scheduled')"),
            postgresql_where=sa.text("state IN ('queued', 'scheduled')"),
        )
        table.create_foreign_key(table.f("fk_callback_form_id_form"), "form", ["form_id"], ["id"])
    callback = sa.table("callback", sa.column("state", sa.String()), sa.column("holds_number", sa.Boolean()))
    op.execute(sa.update(callback).where(callback.c.state.in_(IN_HAND)).values(holds_number=True))
    with op.batch_alter_table("callback") as table:
        table.alter_column("holds_number", existing_type=sa.Boolean(), server_default=None)
        table.create_index(
            "uq_callback_in_hand",
            ["portal_id", "to_number"],
            unique=True,
            sqlite_where=sa.text("holds_number"),
            postgresql_where=sa.text("holds_number"),
        )

    with op.batch_alter_table("portal") as table:
        table.add_column(sa.Column("hours", sa.JSON(), nullable=True))
        table.add_column(sa.Column("line_cap", sa.Integer(), nullable=True))
        table.add_column(sa.Column("license_family", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("history_cursor", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("history_read_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("history_due_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("history_problem", sa.String(length=64), nullable=True))
        for name, (kind, value) in FILLED.items():
            table.add_column(sa.Column(name, kind, nullable=False, server_default=sa.text(value)))
    with op.batch_alter_table("portal") as table:
        for name, (kind, _) in FILLED.items():
            table.alter_column(name, existing_type=kind, server_default=None)
    op.execute("UPDATE portal SET line_cap = 10")
    op.execute("INSERT INTO pace (portal_id, level, level_at) SELECT id, 0, created_at FROM portal")
    with op.batch_alter_table("received_event") as table:
        table.drop_index("ix_received_event_portal_id_call_id")
        table.drop_index("ix_received_event_applied_at")
        table.create_index(
            "ix_received_event_pending_call",
            ["portal_id", "call_id"],
            unique=False,
            sqlite_where=sa.text("applied_at IS NULL"),
            postgresql_where=sa.text("applied_at IS NULL"),
        )
        table.create_index(
            "ix_received_event_pending_number",
            ["portal_id", "number_digest"],
            unique=False,
            sqlite_where=sa.text("applied_at IS NULL"),
            postgresql_where=sa.text("applied_at IS NULL"),
        )
        table.create_index(
            "ix_received_event_pending_since",
            ["received_at"],
            unique=False,
            sqlite_where=sa.text("applied_at IS NULL"),
            postgresql_where=sa.text("applied_at IS NULL"),
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("received_event") as table:
        for name in ("since", "number", "call"):
            table.drop_index(f"ix_received_event_pending_{name}")
        table.create_index("ix_received_event_applied_at", ["applied_at", "received_at"], unique=False)
        table.create_index("ix_received_event_portal_id_call_id", ["portal_id", "call_id"], unique=False)
    with op.batch_alter_table("portal") as table:
        table.drop_column("history_problem")
        table.drop_column("history_due_at")
        table.drop_column("history_read_at")
        table.drop_column("history_cursor")
        table.drop_column("license_family")
        table.drop_column("line_cap")
        table.drop_column("retry_minutes")
        table.drop_column("retries")
        table.drop_column("hours")
        table.drop_column("stopped_lines")
        table.drop_column("redialling_lines")

    with op.batch_alter_table("callback") as table:
        table.drop_constraint(table.f("fk_callback_form_id_form"), type_="foreignkey")
        table.drop_index(
            "ix_callback_waiting",
            sqlite_where=sa.text("state IN ('queued', 'scheduled')"),
            postgresql_where=sa.text("state IN ('queued', 'scheduled')"),
        )
        table.drop_index(
            "ix_callback_leased",
            sqlite_where=sa.text("leased_until IS NOT NULL"),
            postgresql_where=sa.text("leased_until IS NOT NULL"),
        )
        table.drop_index(table.f("ix_callback_form_id"))
        table.drop_column("asks_since")
        table.drop_column("form_id")
        table.drop_index("uq_callback_in_hand")
        table.drop_column("holds_number")
        table.create_index(
            "uq_callback_in_hand",
            ["portal_id", "to_number"],
            unique=True,
            sqlite_where=sa.text(IN_HAND_SQL),
            postgresql_where=sa.text(IN_HAND_SQL),
        )

    with op.batch_alter_table("attempt") as table:
        table.drop_index(
            "ix_attempt_nameless",
            sqlite_where=sa.text("outcome IN ('dialling', 'unknown')"),
            postgresql_where=sa.text("outcome IN ('dialling', 'unknown')"),
        )
        table.alter_column("history_cursor", existing_type=sa.BigInteger(), type_=sa.INTEGER(), existing_nullable=True)
        table.drop_column("number_digest")

    with op.batch_alter_table("pace") as table:
        table.drop_index("ix_pace_dial_at")

    op.drop_table("pace")
    with op.batch_alter_table("form") as table:
        table.drop_index(table.f("ix_form_portal_id"))

    op.drop_table("form")
    with op.batch_alter_table("do_not_call") as table:
        table.drop_index(table.f("ix_do_not_call_portal_id"))

    op.drop_table("do_not_call")

"""To-dos and notifications: who is told of callbacks that ended without a conversation."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0030"
down_revision: str | None = "0029"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DUE = sa.text("due_at IS NOT NULL")


def _portal() -> sa.Column[int]:
    return sa.Column("portal_id", sa.Integer(), sa.ForeignKey("portal.id", ondelete="CASCADE"), nullable=False)


def _callback(*, nullable: bool = False) -> sa.Column[object]:
    key = sa.ForeignKey("callback.id", ondelete="CASCADE")
    return sa.Column("callback_id", sa.Uuid(), key, nullable=nullable)


def _at(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def _due_index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_due_at", table, list(columns), sqlite_where=DUE, postgresql_where=DUE)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "callback_news",
        sa.Column("id", sa.Integer(), primary_key=True),
        _portal(),
        _callback(),
        _at("made_at", nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_callback_news_portal_id", "callback_news", ["portal_id"])
    op.create_index("ix_callback_news_callback_id", "callback_news", ["callback_id"])
    op.create_table(
        "to_do",
        sa.Column("id", sa.Integer(), primary_key=True),
        _portal(),
        _callback(),
        _count("asks"),
        sa.Column("activity_id", sa.Integer()),
        _flag("is_settled"),
        sa.Column("reason", sa.String(64)),
        _count("tries"),
        _at("made_at", nullable=False),
        _at("due_at"),
        _at("ended_at"),
        _at("leased_until"),
        _count("lease_fence"),
        sa.UniqueConstraint("callback_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_to_do_portal_id", "to_do", ["portal_id"])
    _due_index("to_do", "due_at", "portal_id")
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), primary_key=True),
        _portal(),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        _callback(nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        _at("made_at", nullable=False),
        _at("due_at"),
        _flag("is_held"),
        _at("sent_at"),
        _count("tries"),
        sa.Column("reason", sa.String(64)),
        sa.UniqueConstraint("portal_id", "user_id", "tag"),
        sqlite_autoincrement=True,
    )
    _due_index("notification", "portal_id", "user_id", "due_at")
    op.create_index("ix_notification_callback_id", "notification", ["callback_id"])
    op.create_index("ix_notification_event", "notification", ["event"])
    op.create_table(
        "notified_person",
        sa.Column("id", sa.Integer(), primary_key=True),
        _portal(),
        sa.Column("user_id", sa.Integer(), nullable=False),
        _flag("is_muted"),
        _at("hour_at"),
        _count("sent"),
        _at("due_at"),
        _at("leased_until"),
        _count("lease_fence"),
        sa.UniqueConstraint("portal_id", "user_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notified_person_portal_id", "notified_person", ["portal_id"])
    _due_index("notified_person", "due_at", "portal_id")
    op.add_column("portal_settings", sa.Column("notifications", sa.JSON()))
    op.add_column("form", sa.Column("person_id", sa.Integer()))


def downgrade() -> None:
    """Revert."""
    op.drop_column("form", "person_id")
    op.drop_column("portal_settings", "notifications")
    for table in ("notified_person", "notification", "to_do", "callback_news"):
        op.drop_table(table)

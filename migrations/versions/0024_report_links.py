"""What each callback was counted as, so that figures lead to their callbacks; and figures by several parts at once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

COLUMNS: dict[str, type[sa.Boolean | sa.Integer]] = {
    "counted_called": sa.Boolean,
    "counted_picked_up": sa.Boolean,
    "counted_wait": sa.Integer,
    "counted_person": sa.Integer,
}


def upgrade() -> None:
    """Apply."""
    op.add_column("callback", sa.Column("counted_outcome", sa.String(64), nullable=True))
    for name, kind in COLUMNS.items():
        op.add_column("callback", sa.Column(name, kind(), nullable=True))
    is_counted = sa.text("counted_outcome IS NOT NULL")
    op.create_index(
        "ix_callback_outcome",
        "callback",
        ["portal_id", "counted_outcome", "id"],
        sqlite_where=is_counted,
        postgresql_where=is_counted,
    )
    _resize_keys(255, 400)
    _count_all_again()


def downgrade() -> None:
    """Take back."""
    op.execute("DELETE FROM report_figure WHERE kind = 'combination'")
    _resize_keys(400, 255)
    op.drop_index("ix_callback_outcome", "callback")
    # By itself, for a copy of the table would lose its partial indexes.
    for name in ("counted_outcome", *COLUMNS):
        op.execute(f"ALTER TABLE callback DROP COLUMN {name}")


def _resize_keys(before: int, now: int) -> None:
    with op.batch_alter_table("report_figure") as table:
        table.alter_column("key", existing_type=sa.String(before), type_=sa.String(now), existing_nullable=False)


def _count_all_again() -> None:
    """Let the worker count every callback; a new column costs nothing, however many there are."""
    differs = sa.text("counted_version <> version")
    op.drop_index("ix_callback_uncounted", "callback")
    op.execute("ALTER TABLE callback DROP COLUMN counted_version")
    op.add_column("callback", sa.Column("counted_version", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_index(
        "ix_callback_uncounted",
        "callback",
        ["counted_version", "id", "portal_id"],
        sqlite_where=differs,
        postgresql_where=differs,
    )

"""Let unique indexes begin with the number, the key or the digest, which alone find the row."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0020"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

CONSTRAINTS = {
    "uq_callback_portal_id_idempotency_key": ("callback", "idempotency_key"),
    "uq_do_not_call_portal_id_number_digest": ("do_not_call", "number_digest"),
}


def upgrade() -> None:
    """Apply."""
    _make_again(is_portal_first=False)
    if op.get_bind().dialect.name == "postgresql":
        # Of indexes that cost the same, as all of an empty table do, PostgreSQL takes the newest one. This is the right
        # one for the follow-ups of a number.
        where = sa.text("needs_follow_up")
        op.drop_index("ix_callback_follow_up", "callback")
        op.create_index("ix_callback_follow_up", "callback", ["portal_id", "state", "id"], postgresql_where=where)


def downgrade() -> None:
    """Take back."""
    _make_again(is_portal_first=True)


def _make_again(*, is_portal_first: bool) -> None:
    def in_order(column: str) -> list[str]:
        return ["portal_id", column] if is_portal_first else [column, "portal_id"]

    op.drop_index("uq_callback_in_hand", "callback")
    op.create_index(
        "uq_callback_in_hand",
        "callback",
        in_order("to_number"),
        unique=True,
        sqlite_where=sa.text("holds_number = 1"),
        postgresql_where=sa.text("holds_number"),
    )
    # SQLite would have to copy the tables, and finds by either order.
    if op.get_bind().dialect.name == "postgresql":
        for name, (table, column) in CONSTRAINTS.items():
            op.drop_constraint(name, table)
            op.create_unique_constraint(name, table, in_order(column))

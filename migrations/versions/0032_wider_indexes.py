"""Let the indexes of lists hold the plain fields of a callback, so that filters together read no rows."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0032"
down_revision: str | None = "0031"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# By name: what is looked for, what is told of each callback, and on SQLite and PostgreSQL which ones it has.
INDEXES: dict[str, tuple[list[str], list[str], tuple[str, str] | None]] = {
    "ix_callback_state": (["portal_id", "state", "id"], ["source", "line_id", "form_id", "requested_by"], None),
    "ix_callback_source": (["portal_id", "source", "state", "id"], ["line_id", "form_id", "requested_by"], None),
    "ix_callback_line": (["portal_id", "line_id", "state", "id"], ["source", "form_id", "requested_by"], None),
    "ix_callback_form": (
        ["form_id", "state", "id"],
        ["source", "line_id", "requested_by"],
        ("form_id IS NOT NULL", "form_id IS NOT NULL"),
    ),
    "ix_callback_form_id_id": (
        ["form_id", "id"],
        ["source", "line_id", "requested_by"],
        ("form_id IS NOT NULL", "form_id IS NOT NULL"),
    ),
    "ix_callback_person": (
        ["portal_id", "requested_by", "state", "id"],
        ["source", "line_id", "form_id"],
        ("requested_by IS NOT NULL", "requested_by IS NOT NULL"),
    ),
    # The last one: of indexes that cost the same PostgreSQL takes the newest, and this is the right one for the
    # follow-ups of a number (0022).
    "ix_callback_follow_up": (
        ["portal_id", "state", "id"],
        ["source", "to_number"],
        ("needs_follow_up = 1", "needs_follow_up"),
    ),
}


def upgrade() -> None:
    """Apply."""
    _make_again(is_wide=True)


def downgrade() -> None:
    """Take back."""
    _make_again(is_wide=False)


def _make_again(*, is_wide: bool) -> None:
    for name, (looked_for, told, where) in INDEXES.items():
        sqlite, postgresql = where or (None, None)
        op.drop_index(name, "callback")
        op.create_index(
            name,
            "callback",
            looked_for + told if is_wide else looked_for,
            sqlite_where=sa.text(sqlite) if sqlite else None,
            postgresql_where=sa.text(postgresql) if postgresql else None,
        )

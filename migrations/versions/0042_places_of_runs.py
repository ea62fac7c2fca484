"""Where runs of rules came from that nobody could prove, and a digest of their access token."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0042"
down_revision: str | None = "0041"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

UNPROVEN = sa.text("access_digest IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    for name in ("access_digest", "place_digest"):
        op.add_column("rule_run", sa.Column(name, sa.String(64), nullable=True))
    op.create_index(
        "ix_rule_run_access",
        "rule_run",
        ["portal_id", "access_digest"],
        sqlite_where=UNPROVEN,
        postgresql_where=UNPROVEN,
    )


def downgrade() -> None:
    """Revert."""
    op.drop_index("ix_rule_run_access", "rule_run")
    for name in ("place_digest", "access_digest"):
        op.drop_column("rule_run", name)

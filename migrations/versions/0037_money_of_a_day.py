"""Indexes by which the money that a form has spent today is read, however many calls are stored."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0037"
down_revision: str | None = "0036"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None

HAS_COST, HAS_CURRENCY = sa.text("cost IS NOT NULL"), sa.text("cost_currency IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_attempt_started_at", "attempt", ["portal_id", "started_at"])
    op.create_index(
        "ix_attempt_cost",
        "attempt",
        ["portal_id", "cost_currency", "id"],
        sqlite_where=HAS_COST,
        postgresql_where=HAS_COST,
    )
    op.create_index(
        "ix_attempt_currency", "attempt", ["portal_id", "id"], sqlite_where=HAS_CURRENCY, postgresql_where=HAS_CURRENCY
    )


def downgrade() -> None:
    """Revert."""
    for name in ("ix_attempt_started_at", "ix_attempt_cost", "ix_attempt_currency"):
        op.drop_index(name, "attempt")

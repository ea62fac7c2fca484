"""What a webhook has not been told yet is found webhook by webhook."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PENDING = sa.text("done_at IS NULL")


def _make_indexes(pending: list[str], of_callback: list[str]) -> None:
    op.drop_index("ix_webhook_delivery_pending", table_name="webhook_delivery")
    op.drop_index("ix_webhook_delivery_callback_id", table_name="webhook_delivery")
    op.create_index(
        "ix_webhook_delivery_pending", "webhook_delivery", pending, sqlite_where=PENDING, postgresql_where=PENDING
    )
    op.create_index("ix_webhook_delivery_callback_id", "webhook_delivery", of_callback)


def upgrade() -> None:
    """Apply."""
    _make_indexes(["webhook_id", "due_at"], ["callback_id", "webhook_id", "id"])


def downgrade() -> None:
    """Revert."""
    _make_indexes(["due_at"], ["callback_id"])

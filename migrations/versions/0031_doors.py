"""What a portal has granted and does not have of the app, and the smart processes that it has chosen."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0031"
down_revision: str | None = "0030"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply: rules are registered again, which says what is missing of them."""
    op.add_column("portal", sa.Column("granted_scopes", sa.JSON()))
    op.add_column("portal", sa.Column("missing_parts", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    op.drop_column("portal", "rules_problem")
    op.execute("UPDATE portal SET rules_at = NULL")
    op.add_column("portal_settings", sa.Column("smart_processes", sa.JSON()))
    op.add_column("portal_setup", sa.Column("smart_processes", sa.JSON()))


def downgrade() -> None:
    """Revert."""
    op.drop_column("portal_setup", "smart_processes")
    op.drop_column("portal_settings", "smart_processes")
    op.add_column("portal", sa.Column("rules_problem", sa.String(64)))
    op.drop_column("portal", "missing_parts")
    op.drop_column("portal", "granted_scopes")

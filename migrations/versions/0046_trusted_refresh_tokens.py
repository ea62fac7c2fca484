"""Whether what is said of a refresh token is said of its portal: employees may show anybody's."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0046"
down_revision: str | None = "0045"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None
# Why nothing of the version before may run meanwhile; None: it may.
needs_stop: str | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "credential", sa.Column("is_refresh_trusted", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    # Those of administrators.
    credential = sa.table(
        "credential", sa.column("service_since", sa.DateTime()), sa.column("is_refresh_trusted", sa.Boolean())
    )
    op.execute(credential.update().where(credential.c.service_since.is_not(None)).values(is_refresh_trusted=True))


def downgrade() -> None:
    """Revert."""
    op.drop_column("credential", "is_refresh_trusted")

"""Roles inside a portal, when the portal last said a person's rights, and who has made what lasts."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

ADDED: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("portal_settings", "roles", sa.JSON()),
    ("portal_settings", "rights_changed_by", sa.Integer()),
    ("portal_user", "proven_at", sa.DateTime(timezone=True)),
    ("form", "created_by", sa.Integer()),
    ("webhook", "created_by", sa.Integer()),
    ("webhook", "changed_by", sa.Integer()),
)


def upgrade() -> None:
    """Apply."""
    for table, name, kind in ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.add_column("portal_user", sa.Column("departments", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Take back; nothing is rebuilt, so that ids go on being given once."""
    op.drop_column("portal_user", "departments")
    for table, name, _ in ADDED:
        op.drop_column(table, name)

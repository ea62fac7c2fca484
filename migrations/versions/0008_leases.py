"""Leases with a number for whatever is worked at outside of the database; what the CRM was asked for, as columns."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

AT = sa.DateTime(timezone=True)
REQUEST = sa.table("website_request", *(sa.column(name) for name in ("id", "crm_state", "crm_kind", "crm_asks")))


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("credential") as table:
        table.alter_column("renewing_until", new_column_name="leased_until", existing_type=AT)
        table.alter_column("fence", new_column_name="lease_fence", existing_type=sa.Integer())
    with op.batch_alter_table("website_request") as table:
        table.alter_column("crm_leased_until", new_column_name="leased_until", existing_type=AT)
        table.add_column(sa.Column("lease_fence", sa.Integer(), server_default="0", nullable=False))
        table.add_column(sa.Column("crm_kind", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("crm_asks", sa.Integer(), server_default="0", nullable=False))
    asking = sa.select(REQUEST.c.id, REQUEST.c.crm_state).where(REQUEST.c.crm_state.startswith("asking_"))
    for id, state in op.get_bind().execute(asking).all():
        _, kind, asks = state.split("_")
        values = {"crm_state": "asking", "crm_kind": kind.upper(), "crm_asks": int(asks)}
        op.execute(REQUEST.update().where(REQUEST.c.id == id).values(values))
    with op.batch_alter_table("website_request") as table:
        table.alter_column("lease_fence", server_default=None)
        table.alter_column("crm_asks", server_default=None)


def downgrade() -> None:
    """Take back."""
    together = "asking_" + sa.func.lower(REQUEST.c.crm_kind) + "_" + sa.cast(REQUEST.c.crm_asks, sa.String())
    op.execute(REQUEST.update().where(REQUEST.c.crm_state == "asking").values(crm_state=together))
    with op.batch_alter_table("website_request") as table:
        table.drop_column("crm_asks")
        table.drop_column("crm_kind")
        table.drop_column("lease_fence")
        table.alter_column("leased_until", new_column_name="crm_leased_until", existing_type=AT)
    with op.batch_alter_table("credential") as table:
        table.alter_column("lease_fence", new_column_name="fence", existing_type=sa.Integer())
        table.alter_column("leased_until", new_column_name="renewing_until", existing_type=AT)

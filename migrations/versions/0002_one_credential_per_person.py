"""One credential per person: an administrator's also serves the portal."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    # A person's own row is the newer one of two: whoever opens the app leaves fresh tokens there.
    op.execute(
        "DELETE FROM credential WHERE kind = 'service' AND EXISTS (SELECT 1 FROM credential AS own "
        "WHERE own.portal_id = credential.portal_id AND own.user_id = credential.user_id "
        "AND own.kind = 'person' AND own.state = 'alive' AND own.expires_at >= credential.expires_at)"
    )
    op.execute(
        "DELETE FROM credential WHERE kind = 'person' AND EXISTS (SELECT 1 FROM credential AS service "
        "WHERE service.portal_id = credential.portal_id AND service.user_id = credential.user_id "
        "AND service.kind = 'service')"
    )
    with op.batch_alter_table("credential") as table:
        table.add_column(sa.Column("acting_as", sa.Integer(), nullable=True))
        table.add_column(sa.Column("service_since", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE credential SET acting_as = user_id")
    # Where the service's own row was the older one, the person's serves the portal from now on.
    op.execute(
        "UPDATE credential SET service_since = used_at WHERE state = 'alive' AND (kind = 'service' OR ("
        "NOT EXISTS (SELECT 1 FROM credential AS service WHERE service.portal_id = credential.portal_id "
        "AND service.kind = 'service') AND EXISTS (SELECT 1 FROM portal_user "
        "WHERE portal_user.portal_id = credential.portal_id AND portal_user.user_id = credential.user_id "
        "AND portal_user.is_administrator)))"
    )
    with op.batch_alter_table("credential") as table:
        table.alter_column("acting_as", existing_type=sa.Integer(), nullable=False)
        table.drop_constraint("uq_credential_portal_id_kind_user_id", type_="unique")
        table.drop_column("kind")
        table.create_unique_constraint(table.f("uq_credential_portal_id_user_id"), ["portal_id", "user_id"])
    with op.batch_alter_table("portal") as table:
        table.add_column(sa.Column("uninstalled_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("event_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("removal_told_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("removal_keeps_settings", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("payment_hinted_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("payment_asked_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("stands_in", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("portal") as table:
        table.alter_column("removal_keeps_settings", existing_type=sa.Boolean(), server_default=None)
        table.alter_column("stands_in", existing_type=sa.Boolean(), server_default=None)
    with op.batch_alter_table("rest_call") as table:
        table.add_column(sa.Column("words", sa.String(length=500), nullable=True))
    op.execute("UPDATE portal SET uninstalled_at = updated_at WHERE state = 'uninstalled'")


def downgrade() -> None:
    """Take back: the portal is served by the first administrator alone."""
    with op.batch_alter_table("rest_call") as table:
        table.drop_column("words")
    with op.batch_alter_table("portal") as table:
        for column in (
            "stands_in",
            "event_at",
            "payment_asked_at",
            "payment_hinted_at",
            "removal_keeps_settings",
            "removal_told_at",
            "uninstalled_at",
        ):
            table.drop_column(column)
    with op.batch_alter_table("credential") as table:
        table.add_column(sa.Column("kind", sa.String(length=64), nullable=False, server_default="person"))
    op.execute(
        "UPDATE credential SET kind = 'service' WHERE service_since IS NOT NULL AND NOT EXISTS ("
        "SELECT 1 FROM credential AS other WHERE other.portal_id = credential.portal_id "
        "AND other.service_since < credential.service_since)"
    )
    with op.batch_alter_table("credential") as table:
        table.alter_column("kind", existing_type=sa.String(length=64), server_default=None)
        table.drop_constraint("uq_credential_portal_id_user_id", type_="unique")
        table.drop_column("service_since")
        table.drop_column("acting_as")
        table.create_unique_constraint(
            table.f("uq_credential_portal_id_kind_user_id"), ["portal_id", "kind", "user_id"]
        )

"""The decision "requested" is told by the callback itself; indexes only for rows that have what they are for."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

WITH_CARD = sa.text("crm_entity_id IS NOT NULL")
OF_FORM = sa.text("form_id IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.execute("DELETE FROM decision WHERE rule = 'requested'")
    with op.batch_alter_table("callback") as table:
        table.drop_index("ix_callback_portal_id_crm")
        table.create_index(
            "ix_callback_portal_id_crm",
            ["portal_id", "crm_entity_type", "crm_entity_id"],
            unique=False,
            sqlite_where=WITH_CARD,
            postgresql_where=WITH_CARD,
        )
        table.drop_index(table.f("ix_callback_form_id"))
        table.create_index(
            table.f("ix_callback_form_id"), ["form_id"], unique=False, sqlite_where=OF_FORM, postgresql_where=OF_FORM
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("callback") as table:
        table.drop_index(table.f("ix_callback_form_id"), sqlite_where=OF_FORM, postgresql_where=OF_FORM)
        table.create_index(table.f("ix_callback_form_id"), ["form_id"], unique=False)
        table.drop_index("ix_callback_portal_id_crm", sqlite_where=WITH_CARD, postgresql_where=WITH_CARD)
        table.create_index("ix_callback_portal_id_crm", ["portal_id", "crm_entity_type", "crm_entity_id"], unique=False)
    inputs = """'{"source": "' || source || '"' || COALESCE(', "user": "' || requested_by || '"', '') || '}'"""
    if op.get_bind().dialect.name == "postgresql":
        inputs = f"CAST({inputs} AS JSON)"
    # They came first: their ids are below all others.
    op.execute(
        "INSERT INTO decision (id, callback_id, rule, inputs, made_at) "  # noqa: S608  Constants alone.
        f"SELECT -ROW_NUMBER() OVER (ORDER BY id), id, 'requested', {inputs}, created_at FROM callback"
    )

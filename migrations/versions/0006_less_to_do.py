"""Less to do with each request.

Revisions tell whether a portal or form is what it was; the callback itself tells that it was requested; proofs are
spent like tokens; indexes hold only rows that have what they are for, and lists have one in their order.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

WITH_CARD = sa.text("crm_entity_id IS NOT NULL")
OF_FORM = sa.text("form_id IS NOT NULL")
REMEMBERED = 60.0

RATE = sa.table("rate", *(sa.column(name) for name in ("digest", "tokens", "size", "refill", "at", "full_at")))
SPENT = sa.table("spent_proof", sa.column("digest"), sa.column("expires_at", sa.DateTime(timezone=True)))


def upgrade() -> None:
    """Apply."""
    for name in ("portal", "form"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
        with op.batch_alter_table(name) as table:
            table.alter_column("revision", server_default=None)
    op.execute("DELETE FROM decision WHERE rule = 'requested'")
    # Those of the last two hours at most.
    for digest, expires_at in op.get_bind().execute(sa.select(SPENT.c.digest, SPENT.c.expires_at)).all():
        full_at = expires_at.replace(tzinfo=expires_at.tzinfo or UTC).timestamp() + REMEMBERED
        op.execute(RATE.insert().values(digest=digest, tokens=0, size=1, refill=0, at=0, full_at=full_at))
    op.drop_table("spent_proof")
    with op.batch_alter_table("callback") as table:
        if op.get_bind().dialect.name == "sqlite":
            # Its planner does not see that "holds_number = 1" is what this index is for.
            table.drop_index("uq_callback_in_hand", sqlite_where=sa.text("holds_number"))
            table.create_index(
                "uq_callback_in_hand",
                ["portal_id", "to_number"],
                unique=True,
                sqlite_where=sa.text("holds_number = 1"),
            )
        table.drop_index(table.f("ix_callback_portal_id"))
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
            "ix_callback_form_id_id", ["form_id", "id"], unique=False, sqlite_where=OF_FORM, postgresql_where=OF_FORM
        )
        table.drop_index("ix_callback_portal_id_created_at")
        table.create_index("ix_callback_portal_id_id", ["portal_id", "id"], unique=False)
        table.create_index("ix_callback_portal_id_to_number", ["portal_id", "to_number"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.create_table(
        "spent_proof",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_spent_proof")),
        sqlite_with_rowid=False,
    )
    for digest, full_at in (
        op.get_bind().execute(sa.select(RATE.c.digest, RATE.c.full_at).where(RATE.c.refill == 0)).all()
    ):
        op.execute(SPENT.insert().values(digest=digest, expires_at=datetime.fromtimestamp(full_at - REMEMBERED, UTC)))
    op.execute(RATE.delete().where(RATE.c.refill == 0))
    with op.batch_alter_table("callback") as table:
        table.drop_index("ix_callback_portal_id_to_number")
        table.drop_index("ix_callback_portal_id_id")
        table.create_index("ix_callback_portal_id_created_at", ["portal_id", "created_at"], unique=False)
        table.drop_index("ix_callback_form_id_id", sqlite_where=OF_FORM, postgresql_where=OF_FORM)
        table.create_index(table.f("ix_callback_form_id"), ["form_id"], unique=False)
        table.drop_index("ix_callback_portal_id_crm", sqlite_where=WITH_CARD, postgresql_where=WITH_CARD)
        table.create_index("ix_callback_portal_id_crm", ["portal_id", "crm_entity_type", "crm_entity_id"], unique=False)
        table.create_index(table.f("ix_callback_portal_id"), ["portal_id"], unique=False)
        if op.get_bind().dialect.name == "sqlite":
            table.drop_index("uq_callback_in_hand", sqlite_where=sa.text("holds_number = 1"))
            table.create_index(
                "uq_callback_in_hand", ["portal_id", "to_number"], unique=True, sqlite_where=sa.text("holds_number")
            )
    inputs = """'{"source": "' || source || '"' || COALESCE(', "user": "' || requested_by || '"', '') || '}'"""
    if op.get_bind().dialect.name == "postgresql":
        inputs = f"CAST({inputs} AS JSON)"
    # They came first: their ids are below all others.
    op.execute(
        "INSERT INTO decision (id, callback_id, rule, inputs, made_at) "  # noqa: S608  Constants alone.
        f"SELECT -ROW_NUMBER() OVER (ORDER BY id), id, 'requested', {inputs}, created_at FROM callback"
    )
    for name in ("portal", "form"):
        with op.batch_alter_table(name) as table:
            table.drop_column("revision")

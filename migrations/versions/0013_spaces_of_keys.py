"""Idempotency keys of forms and people, each in a space of its own; decoys that need no time to expire."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

CALLBACK = sa.table(
    "callback",
    *(sa.column(name) for name in ("id", "portal_id", "source", "form_id", "requested_by", "idempotency_key")),
)
DECOY = sa.table("ghost", sa.column("due_at"), sa.column("expires_at"))
KEY, UNIQUE = CALLBACK.c.idempotency_key, "uq_callback_portal_id_idempotency_key"
# What stands in front of the keys of each source; those of visitors had their space before.
SPACES = {
    "api": "a." + sa.cast(CALLBACK.c.form_id, sa.String()) + ".",
    "staff": "s." + sa.cast(CALLBACK.c.requested_by, sa.String()) + ".",
}


def upgrade() -> None:
    """Apply."""
    # Keys on their way into a space may meet, so they are unique only afterwards.
    with op.batch_alter_table("callback") as table:
        table.drop_constraint(UNIQUE, type_="unique")
        table.alter_column("idempotency_key", type_=sa.String(300), existing_type=sa.String(255))
    for source, space in SPACES.items():
        has_space = (CALLBACK.c.source == source) & space.is_not(None)
        op.execute(CALLBACK.update().where(has_space).values(idempotency_key=space + KEY))
    with op.batch_alter_table("callback") as table:
        table.create_unique_constraint(UNIQUE, ["portal_id", "idempotency_key"])
    with op.batch_alter_table("ghost") as table:
        table.drop_column("expires_at")


def downgrade() -> None:
    """Take back: of requests with the same key in two spaces the first keeps it, and decoys look expired."""
    with op.batch_alter_table("callback") as table:
        table.drop_constraint(UNIQUE, type_="unique")
    for source, space in SPACES.items():
        length = sa.func.length(space)
        has_space = (CALLBACK.c.source == source) & (sa.func.substr(KEY, 1, length) == space)
        op.execute(CALLBACK.update().where(has_space).values(idempotency_key=sa.func.substr(KEY, length + 1)))
    place = sa.func.row_number().over(partition_by=[CALLBACK.c.portal_id, KEY], order_by=CALLBACK.c.id)
    placed = sa.select(CALLBACK.c.id, place.label("place")).where(KEY.is_not(None)).subquery()
    later = sa.select(placed.c.id).where(placed.c.place > 1)
    op.execute(CALLBACK.update().where(CALLBACK.c.id.in_(later)).values(idempotency_key=None))
    with op.batch_alter_table("callback") as table:
        table.alter_column("idempotency_key", type_=sa.String(255), existing_type=sa.String(300))
        table.create_unique_constraint(UNIQUE, ["portal_id", "idempotency_key"])
    op.add_column("ghost", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(DECOY.update().values(expires_at=DECOY.c.due_at))
    with op.batch_alter_table("ghost") as table:
        table.alter_column("expires_at", existing_type=sa.DateTime(timezone=True), nullable=False)

"""Lists: customers' names and their words, numbers from the back, follow-ups, people's desks and filters."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

BATCH = 1000
PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
CALLBACK = sa.table(
    "callback",
    sa.column("id"),
    sa.column("portal_id", sa.Integer()),
    sa.column("state", sa.String()),
    sa.column("to_number", sa.String()),
    sa.column("number_reversed", sa.String()),
    sa.column("customer_name", sa.String()),
    sa.column("needs_follow_up", sa.Boolean()),
)
REQUEST = sa.table("website_request", sa.column("callback_id"), sa.column("name", sa.String()))
WORD_TYPE = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
WORD = sa.table(
    "callback_word",
    sa.column("callback_id"),
    sa.column("word", sa.String()),
    sa.column("portal_id", sa.Integer()),
    sa.column("stem", sa.String()),
)
Indexes = dict[str, tuple[list[str], str | None]]
INDEXES: Indexes = {
    "ix_callback_state": (["portal_id", "state", "id"], None),
    "ix_callback_source": (["portal_id", "source", "state", "id"], None),
    "ix_callback_line": (["portal_id", "line_id", "state", "id"], None),
    "ix_callback_form": (["form_id", "state", "id"], "form_id IS NOT NULL"),
    "ix_callback_person": (["portal_id", "requested_by", "state", "id"], "requested_by IS NOT NULL"),
    "ix_callback_follow_up": (["portal_id", "state", "id"], "needs_follow_up"),
    "ix_callback_due": (["portal_id", "due_at"], "due_at > created_at"),
    "ix_callback_number": (["portal_id", "to_number", "id"], None),
    "ix_callback_number_reversed": (["portal_id", "number_reversed", "id"], None),
}
ATTEMPT_INDEXES: Indexes = {
    "ix_attempt_second": (["portal_id", "callback_id"], "number = 2"),
    "ix_attempt_answered": (["portal_id", "answered_by", "callback_id"], "answered_by IS NOT NULL"),
}


def upgrade() -> None:
    """Apply."""
    op.add_column("callback", sa.Column("number_reversed", sa.String(32), server_default="", nullable=False))
    op.add_column("callback", sa.Column("customer_name", sa.String(255), nullable=True))
    op.add_column("callback", sa.Column("needs_follow_up", sa.Boolean(), server_default=sa.false(), nullable=False))
    shares: sa.Column[bool] = sa.Column("shares_callbacks", sa.Boolean(), server_default=sa.true(), nullable=False)
    op.add_column("portal_settings", shares)
    op.add_column("portal_user", sa.Column("desk", sa.JSON(), nullable=True))
    op.add_column("portal_user", sa.Column("desk_left_at", sa.DateTime(timezone=True), nullable=True))
    _create_tables()
    _index_waiting(["portal_id", "due_at", "id"])
    # The new one, which has the id behind the number, serves the old one's queries.
    op.drop_index("ix_callback_portal_id_to_number", "callback")
    _create_indexes("callback", {"ix_callback_number": INDEXES["ix_callback_number"]})
    _fill()
    _create_indexes("callback", {name: one for name, one in INDEXES.items() if name != "ix_callback_number"})
    _create_indexes("attempt", ATTEMPT_INDEXES)


def _create_tables() -> None:
    op.create_table(
        "callback_word",
        sa.Column("callback_id", sa.Uuid(), nullable=False),
        sa.Column("word", WORD_TYPE, nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("stem", sa.String(2), nullable=False),
        sa.ForeignKeyConstraint(
            ["callback_id"], ["callback.id"], name="fk_callback_word_callback_id_callback", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("callback_id", "word", name="pk_callback_word"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_callback_word_word", "callback_word", ["portal_id", "word", "callback_id"])
    op.create_index("ix_callback_word_stem", "callback_word", ["portal_id", "stem", "callback_id", "word"])
    op.create_table(
        "saved_filter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("is_shared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name="fk_saved_filter_portal_id_portal", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["portal_user.id"], name="fk_saved_filter_owner_id_portal_user", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_saved_filter"),
        sa.UniqueConstraint("owner_id", "name", name="uq_saved_filter_owner_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_saved_filter_portal_id", "saved_filter", ["portal_id"])


def _index_waiting(columns: list[str]) -> None:
    where = sa.text("state IN ('queued', 'scheduled')")
    op.drop_index("ix_callback_waiting", "callback")
    op.create_index("ix_callback_waiting", "callback", columns, sqlite_where=where, postgresql_where=where)


def _create_indexes(table: str, wanted: Indexes) -> None:
    for name, (columns, where) in wanted.items():
        if where is None:
            op.create_index(name, table, columns)
            continue
        # As SQLAlchemy asks for a flag there, or SQLite would not use the index.
        sqlite = f"{where} = 1" if where.startswith("needs_") else where
        op.create_index(name, table, columns, sqlite_where=sa.text(sqlite), postgresql_where=sa.text(where))


def _fill() -> None:
    """Give the callbacks that are there what new ones have from the beginning."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.create_function("reverse", 1, lambda text: text[::-1], deterministic=True)
    op.execute("UPDATE callback SET number_reversed = rtrim(reverse(to_number), '+')")
    later = CALLBACK.alias("later")
    is_later = (later.c.portal_id == CALLBACK.c.portal_id) & (later.c.to_number == CALLBACK.c.to_number)
    has_later = sa.exists().where(is_later & (later.c.id > CALLBACK.c.id))
    missed = CALLBACK.c.state.in_(["missed", "failed", "expired"])
    op.execute(CALLBACK.update().where(missed, ~has_later).values(needs_follow_up=sa.true()))
    told = sa.select(REQUEST.c.name).where(REQUEST.c.callback_id == CALLBACK.c.id, REQUEST.c.name != "")
    named = sa.exists().where(REQUEST.c.callback_id == CALLBACK.c.id, REQUEST.c.name != "")
    op.execute(CALLBACK.update().where(named).values(customer_name=told.scalar_subquery()))
    for words in _words(connection):
        connection.execute(WORD.insert(), words)


def _words(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """The words of all names, some callbacks at a time."""
    rows = sa.select(CALLBACK.c.id, CALLBACK.c.portal_id, CALLBACK.c.customer_name)
    rows = rows.where(CALLBACK.c.customer_name.is_not(None)).order_by(CALLBACK.c.id).limit(BATCH)
    last = None
    while found := connection.execute(rows if last is None else rows.where(CALLBACK.c.id > last)).all():
        last = found[-1].id
        words = [
            {"callback_id": row.id, "portal_id": row.portal_id, "word": word, "stem": word[:2]}
            for row in found
            for word in _words_of(row.customer_name)
        ]
        if words:
            yield words


def _words_of(name: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    folded = "".join(char for char in decomposed if not unicodedata.combining(char)).translate(PLAIN)
    return list(dict.fromkeys(word[:40] for word in re.findall(r"[^\W_]+", folded)))[:8]


def downgrade() -> None:
    """Take back."""
    for name in ATTEMPT_INDEXES:
        op.drop_index(name, "attempt")
    for name in INDEXES:
        op.drop_index(name, "callback")
    op.create_index("ix_callback_portal_id_to_number", "callback", ["portal_id", "to_number"])
    _index_waiting(["portal_id", "due_at"])
    op.drop_table("saved_filter")
    op.drop_table("callback_word")
    for table, columns in (
        ("portal_user", ("desk_left_at", "desk")),
        ("portal_settings", ("shares_callbacks",)),
        ("callback", ("needs_follow_up", "customer_name", "number_reversed")),
    ):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)

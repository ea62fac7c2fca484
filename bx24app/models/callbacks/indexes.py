"""The indexes of callbacks: what the queue claims, what holds a number, and every way in which lists look for them.

Ids grow with time, so an index in which the id comes next gives a list in its order. What stands behind the id is not
looked for: it lets other filters be answered from the index (``listing/finding.py``), whose table is many times larger.
``listing/drivers.py`` chooses among those of lists, and ``tests/scenarios/test_list_plans.py`` holds what the databases
make of them.
"""

from sqlalchemy import Index, TextClause, UniqueConstraint, text

from bx24app.models.callbacks.state import PUT_OFF_SQL, UNCOUNTED_SQL, WAITING_SQL


def _partial(name: str, *columns: str, where: TextClause) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _flagged(name: str, *columns: str, flag: str, unique: bool = False) -> Index:
    """Index the rows that have a flag, which SQLAlchemy compares with 1 on SQLite: else it would not be used there."""
    return Index(name, *columns, unique=unique, sqlite_where=text(f"{flag} = 1"), postgresql_where=text(flag))


_FORM = ("form_id", "state", "id", "source", "line_id", "requested_by")
_ANY_STATE_OF_FORM = ("form_id", "id", "source", "line_id", "requested_by")
_PERSON = ("portal_id", "requested_by", "state", "id", "source", "line_id", "form_id")

CALLBACK_INDEXES = (
    # These begin with what tells most: the guarded write finds by them whatever PostgreSQL knows about the table
    # (``conditions.py``). A file of SQLite has the columns of a constraint in the order that it was made with.
    UniqueConstraint("idempotency_key", "portal_id", name="uq_callback_portal_id_idempotency_key"),
    _flagged("uq_callback_in_hand", "to_number", "portal_id", flag="holds_number", unique=True),
    Index("ix_callback_state_due_at", "state", "due_at"),
    _partial("ix_callback_waiting", "portal_id", "due_at", "id", "state", where=WAITING_SQL),
    _partial("ix_callback_leased", "portal_id", where=text("leased_until IS NOT NULL")),
    Index("ix_callback_portal_id_id", "portal_id", "id"),
    _partial(
        "ix_callback_portal_id_crm",
        "portal_id",
        "crm_entity_type",
        "crm_entity_id",
        where=text("crm_entity_id IS NOT NULL"),
    ),
    # Lists: by what is chosen, then by state, because a rare state may be far away.
    Index("ix_callback_state", "portal_id", "state", "id", "source", "line_id", "form_id", "requested_by"),
    Index("ix_callback_source", "portal_id", "source", "state", "id", "line_id", "form_id", "requested_by"),
    Index("ix_callback_line", "portal_id", "line_id", "state", "id", "source", "form_id", "requested_by"),
    _partial("ix_callback_form", *_FORM, where=text("form_id IS NOT NULL")),
    _partial("ix_callback_form_id_id", *_ANY_STATE_OF_FORM, where=text("form_id IS NOT NULL")),
    _partial("ix_callback_person", *_PERSON, where=text("requested_by IS NOT NULL")),
    _partial("ix_callback_outcome", "portal_id", "counted_outcome", "id", where=text("counted_outcome IS NOT NULL")),
    _flagged("ix_callback_follow_up", "portal_id", "state", "id", "source", "to_number", flag="needs_follow_up"),
    # Of a part only, and with the id last: else SQLite takes it for what is waiting or leased.
    _partial("ix_callback_due", "portal_id", "due_at", "created_at", "id", where=PUT_OFF_SQL),
    # In an order that no other index has: PostgreSQL takes "differs" for true of most rows, and would scan all.
    _partial("ix_callback_uncounted", "counted_version", "id", "portal_id", where=UNCOUNTED_SQL),
    # Numbers: from the front, and from the back.
    Index("ix_callback_number", "portal_id", "to_number", "id"),
    Index("ix_callback_number_reversed", "portal_id", "number_reversed", "id"),
)

"""What lists look for, written together with a callback that is accepted: its words, and that others need no call now.

The statements belong to the guarded write (``guarded_statements.py``), whose parameters they share.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Insert,
    String,
    Update,
    bindparam,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy import update as updating

from bx24app.models import Callback, CallbackWord
from bx24app.models.callbacks.callback_word import STEM
from bx24app.services.calling.name_words import words_of

_COLUMNS = ["callback_id", "portal_id", "stem", "word"]


def word_values(callback: Callback) -> dict[str, Any]:
    """Return the values of ``inserting_words``; none without a name."""
    return {"words": words_of(callback.customer_name)} if callback.customer_name else {}


def word_rows(callback: Callback) -> list[dict[str, Any]]:
    """Return the values of ``inserting_word``, word by word."""
    words = words_of(callback.customer_name or "")
    own = {"c_id": callback.id, "c_portal_id": callback.portal_id}
    return [{**own, "word": word, "stem": word[:STEM]} for word in words]


def _own() -> list[ColumnElement[Any]]:
    return [bindparam("c_id", type_=Callback.id.type), bindparam("c_portal_id", type_=Callback.portal_id.type)]


def inserting_words(after: CTE) -> Insert:
    """Insert all words of a name where that statement has inserted the callback."""
    words = func.unnest(bindparam("words", type_=ARRAY(String()))).table_valued("word").render_derived(name="given")
    rows = select(*_own(), func.left(words.c.word, literal_column(str(STEM))), words.c.word).select_from(words)
    return insert(CallbackWord).from_select(_COLUMNS, rows.where(_has_rows(after)))


def inserting_word() -> Insert:
    """Insert one word of a name."""
    word = [bindparam("stem", type_=String()), bindparam("word", type_=String())]
    return insert(CallbackWord).from_select(_COLUMNS, select(*_own(), *word))


def ending_follow_ups(after: CTE | None = None) -> Update:
    """Let no earlier callback of the number wait for a call; with ``after`` only where that has inserted a row."""
    table = Callback.__table__
    own = (table.c.portal_id == bindparam("c_portal_id")) & (table.c.to_number == bindparam("c_to_number"))
    # The new callback does not need one itself.
    statement = updating(Callback).where(own, table.c.needs_follow_up).values(needs_follow_up=literal_column("FALSE"))
    return statement if after is None else statement.where(_has_rows(after))


def _has_rows(cte: CTE) -> ColumnElement[bool]:
    return select(literal_column("1")).select_from(cte).exists()

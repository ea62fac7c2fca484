"""What lists look for, written together with a callback that is accepted: its words, and that others need no call now.

The statements belong to the guarded write (``guarded_statements.py``), whose parameters they share.
"""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Insert, String, Update, bindparam, func, insert, literal_column, select
from sqlalchemy import update as updating

from bx24app.database import given_rows
from bx24app.models import Callback, CallbackWord
from bx24app.models.callbacks.callback_word import STEM
from bx24app.services.calling.name_words import words_of

_COLUMNS = ["callback_id", "portal_id", "stem", "word"]


def word_values(callback: Callback) -> dict[str, Any]:
    """Return the values of ``inserting_words``; none without a name."""
    return {"words": words_of(callback.customer_name)} if callback.customer_name else {}


def _own() -> list[ColumnElement[Any]]:
    return [bindparam("c_id", type_=Callback.id.type), bindparam("c_portal_id", type_=Callback.portal_id.type)]


def inserting_words(after: CTE | None = None) -> Insert:
    """Insert all words of a name; with ``after`` only where that has inserted the callback."""
    [word] = given_rows(words=String)
    rows = select(*_own(), func.substr(word, literal_column("1"), literal_column(str(STEM))), word)
    return insert(CallbackWord).from_select(_COLUMNS, rows if after is None else rows.where(_has_rows(after)))


def ending_follow_ups(after: CTE | None = None) -> Update:
    """Let no earlier callback of the number wait for a call; with ``after`` only where that has inserted a row."""
    table = Callback.__table__
    own = (table.c.portal_id == bindparam("c_portal_id")) & (table.c.to_number == bindparam("c_to_number"))
    # The new callback does not need one itself.
    statement = updating(Callback).where(own, table.c.needs_follow_up).values(needs_follow_up=literal_column("FALSE"))
    return statement if after is None else statement.where(_has_rows(after))


def _has_rows(cte: CTE) -> ColumnElement[bool]:
    return select(literal_column("1")).select_from(cte).exists()

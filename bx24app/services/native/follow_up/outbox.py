"""News of callbacks: that one has ended, or waits for a person, is recorded in the transaction of the change itself.

A listener runs on every flush, so that no use case can forget it. Nobody is asked and nothing is decided here.
"""

from sqlalchemy import event, insert, inspect
from sqlalchemy.orm import Session, UOWTransaction

from bx24app.models import RETRIABLE, Callback, CallbackNews, State, utcnow

_TELLING = RETRIABLE | {State.COMPLETED}


def _note_changes(session: Session, _: UOWTransaction) -> None:
    changed = (row for row in (*session.new, *session.dirty) if isinstance(row, Callback) and _is_news(row))
    rows = [{"portal_id": row.portal_id, "callback_id": row.id, "made_at": utcnow()} for row in changed]
    if rows:
        session.execute(insert(CallbackNews), rows)


def _is_news(callback: Callback) -> bool:
    attributes = inspect(callback).attrs
    has_ended = bool(attributes.state.history.added) and callback.state in _TELLING
    return has_ended or (bool(attributes.asks_since.history.added) and callback.asks_since is not None)


def init_app() -> None:
    """Listen to the sessions of this process; idempotent."""
    if not event.contains(Session, "after_flush", _note_changes):
        event.listen(Session, "after_flush", _note_changes)

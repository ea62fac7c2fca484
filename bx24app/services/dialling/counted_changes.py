"""Counting for operators what becomes of callbacks and their attempts, once it is committed.

A listener sees every flush, so that no use case can forget it. What is rolled back is not counted, for a session has
one transaction alone.
"""

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, UOWTransaction

from bx24app import metrics
from bx24app.models import Attempt, Callback, Outcome, State

_TO_COUNT = "bx24app.to_count"


def _note_changes(session: Session, _: UOWTransaction) -> None:
    # What is accepted is inserted elsewhere, and counted there (accept.py).
    found: list[Callable[[], None]] = []
    for row in session.dirty:
        if isinstance(row, Callback) and inspect(row).attrs.state.history.added:
            found += _of_callback(row)
        elif isinstance(row, Attempt) and inspect(row).attrs.outcome.history.added:
            found.append(partial(metrics.count_attempt, row.outcome))
    found += [partial(metrics.count_attempt, Outcome.DIALLING) for row in session.new if isinstance(row, Attempt)]
    if found:
        session.info.setdefault(_TO_COUNT, []).extend(found)


def _of_callback(callback: Callback) -> Iterator[Callable[[], None]]:
    yield partial(metrics.count_change, callback.source, callback.state)
    if callback.state == State.ANSWERED and callback.attempts:
        attempt = callback.attempts[-1]
        rang = (attempt.answered_at or attempt.started_at) - attempt.started_at
        yield partial(metrics.note_answer, callback.source, rang.total_seconds())


def _count(session: Session) -> None:
    for count in session.info.pop(_TO_COUNT, ()):
        count()


def init_app() -> None:
    """Listen to the sessions of this process; idempotent."""
    if not event.contains(Session, "after_flush", _note_changes):
        event.listen(Session, "after_flush", _note_changes)
        event.listen(Session, "after_commit", _count)

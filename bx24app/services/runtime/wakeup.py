"""Say after a commit that a row may be due, or was dialled, and wake who waits for it: here and in other processes.

Whoever is woken looks into the database, as they do from time to time anyway.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from bx24app.services.runtime import rings
from bx24app.services.runtime.rings import RowId, hearing

__all__ = ["DIAL", "READ_HISTORY", "WORK_ON_RULES", "RowId", "hearing", "listening", "tell_dialled", "until_dialled"]

# The names of jobs that are woken.
DIAL = "dial"
READ_HISTORY = "read_call_history"
WORK_ON_RULES = "work_on_rules"
# What web processes are woken by.
_DIALLED = "dialled"

Listener = Callable[[str, RowId | None], None]

_listeners: list[Listener] = []


def wake(job: str = DIAL, row_id: RowId | None = None) -> None:
    """Tell that a row of a job may be due, which is committed; None: perhaps several."""
    for listener in tuple(_listeners):
        listener(job, row_id)
    rings.ring(job, row_id)


def listen(listener: Listener) -> None:
    """Call ``listener`` as long as the process lives; idempotent."""
    if listener not in _listeners:
        _listeners.append(listener)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` when something may be due, in the thread that calls ``wake``; ``hearing``: in any process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell_dialled(callback_id: UUID) -> None:
    """Tell whoever waits for it that a callback was dialled, or will not be now, which is committed."""
    rings.ring(_DIALLED, callback_id)


@contextmanager
def until_dialled(callback_id: UUID) -> Iterator[threading.Event]:
    """Give an event that is set when a callback may have been dialled, by whichever process."""
    told = threading.Event()

    def hear(name: str, row_id: RowId | None) -> None:
        if name == rings.ANYTHING or (name == _DIALLED and row_id in (None, callback_id)):
            told.set()

    with hearing(hear):
        yield told

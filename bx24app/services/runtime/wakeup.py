"""Say after a commit that a row may be due, and wake the workers of this process.

Workers of other processes look for what is due by themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

# The names of jobs that are woken.
DIAL = "dial"
WORK_ON_RULES = "work_on_rules"

RowId = UUID | int
Listener = Callable[[str, RowId | None], None]

_listeners: list[Listener] = []


def wake(job: str = DIAL, row_id: RowId | None = None) -> None:
    """Tell that a row of a job may be due, which is committed; None: perhaps several."""
    for listener in tuple(_listeners):
        listener(job, row_id)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` when something may be due, in the thread that calls ``wake``."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)

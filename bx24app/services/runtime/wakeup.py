"""Wake the workers of this process; workers of other processes look for due callbacks every tenth of a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []


def wake() -> None:
    """Tell the workers of this process that a callback may be due."""
    for listener in tuple(_listeners):
        listener()


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """Call ``listener`` when a callback may be due, in the thread that calls ``wake``."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)

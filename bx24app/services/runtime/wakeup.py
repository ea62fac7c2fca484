"""Waking the workers of this process; those of other processes look every tenth of a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []


def wake() -> None:
    """Say that a callback may be due."""
    for listener in tuple(_listeners):
        listener()


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """Call ``listener``, in whichever thread it happens, when a callback may be due."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)

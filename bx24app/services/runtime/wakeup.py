"""Waking the workers of this process; those of other processes look every tenth of a second."""

import threading

_work = threading.Event()


def wake() -> None:
    """Say that a callback may be due."""
    _work.set()


def wait(seconds: float) -> None:
    """Sleep until woken, at most ``seconds``."""
    if _work.wait(seconds):
        _work.clear()

"""How long others take to answer what is asked in a piece of work, however long our own part of it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Stopwatch:
    """What somebody is waited for in one piece of work, which one thread does; others may look at it meanwhile."""

    _before: float = 0.0
    _since: float | None = None

    @property
    def seconds(self) -> float:
        """All of it until now."""
        since = self._since
        return self._before + (time.monotonic() - since if since is not None else 0.0)

    def start(self) -> None:
        """Somebody is asked."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """They have answered, or will not."""
        seconds = self.seconds
        # In this order: whoever looks at it between the two sees too little, and takes nobody for slow.
        self._since = None
        self._before = seconds


_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def timed_by(watch: Stopwatch) -> Iterator[None]:
    """Let a stopwatch count what this thread waits for inside."""
    token = _running.set(watch)
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def awaiting_answer() -> Iterator[None]:
    """Count the time inside as that of whoever answers."""
    watch = _running.get()
    if watch is None:
        yield
        return
    watch.start()
    try:
        yield
    finally:
        watch.stop()

"""What a thread computes, and the database for it: waiting for the interpreter, a lock or a processor is not in it."""

import threading
import time

from sqlalchemy import Engine, event

# What takes no longer was mostly waited for: a processor of the server, and then the interpreter.
SHORT_SECONDS = 0.02


class _Asked(threading.local):
    """The seconds that PostgreSQL computed for this thread, and since when it is asked."""

    seconds = 0.0
    since = 0.0


_asked = _Asked()


def computed_seconds() -> float:
    """What was computed for this thread until now; two such moments tell what a piece of work takes.

    SQLite computes in our own threads, and PostgreSQL in processes of its own, so there longer statements are timed.
    """
    return time.thread_time() + _asked.seconds


def time_statements(engine: Engine) -> None:
    """Time the statements of an engine whose database computes elsewhere."""
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _end)


def _begin(*_: object) -> None:
    _asked.since = time.monotonic()


def _end(*_: object) -> None:
    _asked.seconds += max(0.0, time.monotonic() - _asked.since - SHORT_SECONDS)

"""Ids that begin with the time at which they are made: UUIDs of version 7 (RFC 9562, 5.7)."""

import secrets
import threading
import time
from uuid import UUID

# Of a millisecond, as the 12 bits after it tell (RFC 9562, 6.2, method 3).
_FRACTIONS = 1 << 12
_RANDOM_BITS = 62
# What stands before both: version 7, and the variant of RFC 9562, which Python 3.11 sets for older versions alone.
_KIND = 7 << 76 | 0b10 << _RANDOM_BITS
# An id of this process that was made later than this has seen a clock that was set back since.
_MOST_AHEAD = 1000 * _FRACTIONS


class _Times:
    """The moments of ids, each later than the one before: those that are made together keep their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """A moment, in 4,096ths of a millisecond since the epoch."""
        now = time.time_ns() * _FRACTIONS // 1_000_000
        with self._lock:
            self._last = self._last + 1 if now <= self._last < now + _MOST_AHEAD else now
            return self._last


_TIMES = _Times()


def new_id() -> UUID:
    """Make an id; whoever sees it can tell when, to the millisecond, but not guess another."""
    milliseconds, part = divmod(_TIMES.next(), _FRACTIONS)
    return UUID(int=milliseconds << 80 | part << 64 | _KIND | secrets.randbits(_RANDOM_BITS))

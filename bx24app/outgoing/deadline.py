"""An end for every exchange, however slowly its bytes come, and a bound of what the libraries read line by line.

Time-outs of the library are for single reads.
"""

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# A monotonic time; None: no end was set.
_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)
# A blocking call needs a time-out above zero.
SHORTEST_SECONDS = 0.001
SEND_BYTES = 16 * 1024
# Of an answer's head and of the sizes of its chunks together. An honest head has some 3 KB, and 8 MB in chunks of 1 KB
# have 40 KB of sizes; each line costs Python 10 us and more, however short it is.
LINES_BYTES = 64 * 1024
# Over TLS each record is a read, however little is in it; those of an honest answer bring kilobytes, but for a few.
SMALL_BYTES, MAX_SMALL_READS = 512, 3000


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Let every exchange of this thread inside end in ``seconds``, or sooner where an outer one says so."""
    outer, inner = _ends_at.get(), time.monotonic() + seconds
    token = _ends_at.set(inner if outer is None else min(inner, outer))
    try:
        yield
    finally:
        _ends_at.reset(token)


def is_over() -> bool:
    """Tell whether no time is left."""
    ends_at = _ends_at.get()
    return ends_at is not None and time.monotonic() >= ends_at


def seconds_left(most: float | None, ends_at: float | None = None) -> float | None:
    """How long one blocking call may take, ``most`` at the most; raises ``TimeoutError`` when no time is left."""
    ends_at = _ends_at.get() if ends_at is None else ends_at
    if ends_at is None:
        return most
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the exchange took too long")
    left = max(left, SHORTEST_SECONDS)
    return left if most is None else min(left, most)


class _PunctualReader(io.RawIOBase):
    """What a socket says, until the exchange has to end; a single read waits as long as the socket's time-out says."""

    def __init__(self, raw: Any, opened: socket.socket, ends_at: float | None) -> None:
        self._raw, self._opened, self._ends_at = raw, opened, ends_at
        self._each = opened.gettimeout()
        self._small = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._opened.settimeout(seconds_left(self._each, self._ends_at))
        count: int | None = self._raw.readinto(buffer)
        self._small += (count or 0) < SMALL_BYTES
        if self._small > MAX_SMALL_READS:
            raise ConnectionAbortedError("too many small pieces")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedReader(io.BufferedReader):
    """Lines, of which the libraries would read as many and as long ones as others send, and pieces of a known size."""

    _left = LINES_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        # The library takes "-1" for the size of a chunk, and to read -1 bytes is to read all there will ever be.
        if size is None or size < 0:
            raise http.client.IncompleteRead(b"")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        most = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        line = super().readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("answer")
        return line


class PunctualResponse(http.client.HTTPResponse):
    """An answer that has to be whole when the exchange ends, its body too, wherever that is read.

    Its cookies are left out: the library reads them with more care than time, and nobody asks for them. That it is
    compressed is left out too: the library would decode it, which bounds neither what is read nor how often.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = _BoundedReader(_PunctualReader(raw, sock, _ends_at.get()))

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        for name in ("Set-Cookie", "Set-Cookie2", "Content-Encoding"):
            del self.headers[name]

"""A client's connection on which nobody waits: what the client does not take at once is kept, and sent later."""

import errno
import socket
import struct
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import Any

# What the system keeps of an answer; the rest is kept here, in memory up to a size and in a temporary file beyond it.
SEND_BUFFER_BYTES = 64 * 1024
KEPT_IN_MEMORY = 256 * 1024
# The longest list of numbers is some 80 MB.
MAX_KEPT_BYTES = 512 * 1024 * 1024
SEND_BYTES = 256 * 1024


class BufferingSocket(socket.socket):
    """Takes an accepted socket over. Threads write to it as to a usual one, and never wait."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        super().setblocking(False)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._kept: SpooledTemporaryFile[bytes] | None = None
        self._sent = 0
        self.unsent = 0

    def setblocking(self, flag: bool, /) -> None:
        """Change nothing: gunicorn asks for it before it reads."""

    def settimeout(self, value: float | None, /) -> None:
        """Change nothing."""

    def recv(self, bufsize: int, _flags: int = 0, /) -> bytes:
        """Read for the parser, which finds all of a request here: where it would wait, there is no more."""
        return self.take(bufsize) or b""

    def take(self, bufsize: int) -> bytes | None:
        """Read what has come; ``None`` when nothing has, and no bytes at the end."""
        try:
            return super().recv(bufsize)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def has_gone(self) -> bool:
        """Tell whether the client has closed its side; what it has sent before that stays to be read."""
        try:
            return super().recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def sendall(self, data: Any, _flags: int = 0, /) -> None:
        """Send what goes at once, and keep the rest."""
        rest = memoryview(data)
        if not self.unsent:
            with suppress(BlockingIOError):
                rest = rest[super().send(rest) :]
        if not rest:
            return
        if self.unsent + len(rest) > MAX_KEPT_BYTES:
            raise OSError(errno.EFBIG, "The answer is larger than what is kept for a client")
        if self._kept is None:
            self._kept, self._sent = SpooledTemporaryFile(KEPT_IN_MEMORY), 0  # noqa: SIM115 - it is closed once all is sent
        self._kept.seek(0, 2)
        self._kept.write(rest)
        self.unsent += len(rest)

    def send(self, data: Any, _flags: int = 0, /) -> int:
        """Take all of it, like ``sendall``."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a part of a file; ours are small."""
        file.seek(offset)
        return self.send(file.read(-1 if count is None else count))

    def send_kept(self) -> None:
        """Send a part of what is kept, as much as goes at once."""
        if self._kept is None:
            return
        self._kept.seek(self._sent)
        with suppress(BlockingIOError):
            sent = super().send(self._kept.read(SEND_BYTES))
            self._sent += sent
            self.unsent -= sent
        if not self.unsent:
            self._kept.close()
            self._kept = None

    def close(self) -> None:
        """Close it; what is still kept is thrown away, here and by the system."""
        if self._kept is not None:
            with suppress(OSError):
                self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._kept.close()
            self._kept = None
        super().close()

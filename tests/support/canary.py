"""A server that nobody may talk to: it notes every connection and every byte."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Canary:
    """Listens on a loopback address of its own; ``heard`` is what anybody sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.200", 0))
        self.host = "{}:{}".format(*self._listener.getsockname())
        self.url = f"http://{self.host}"
        self.connections = 0
        self.heard = b""
        self._thread = threading.Thread(target=self._listen, daemon=True, name="canary")
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.connections += 1
                connection.settimeout(1)
                try:
                    self.heard += connection.recv(65536)
                    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"result": {}}'[:-1])
                except OSError:
                    pass

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=2)


@contextmanager
def canary() -> Iterator[Canary]:
    """A canary for the length of a test, which must have heard nothing at its end."""
    bird = Canary()
    try:
        yield bird
        assert (bird.connections, bird.heard) == (0, b"")
    finally:
        bird.close()

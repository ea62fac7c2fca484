"""A server that answers byte for byte."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that gives everybody one answer and ends the connection; its address."""

    def answer_next() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(answer)
            # Closed with something of the request unread, it would take the answer back.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer_next()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)

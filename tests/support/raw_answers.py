"""Servers that answer byte for byte."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A server that serves one connection after the other, and closes each; its port on 127.0.0.1."""

    def run() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that gives everybody one answer and ends the connection; its address."""

    def answer_one(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        # Closed with something of the request unread, it would take the answer back.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with serving(answer_one) as port:
        yield f"http://127.0.0.1:{port}/"

"""gunicorn's worker with threads, which wait for no client.

gunicorn reads a request and sends its answer in the same thread, so that a few senders of half requests, or a few who
read nothing, stop a process. Here the loop that waits for connections collects heads and bodies, and sends what a
client does not take at once, for a bounded time, size and number of clients.
"""

import re
import selectors
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from buffering_socket import MAX_KEPT_BYTES, BufferingSocket

ARRIVING_SECONDS = 10.0
# When more are half-way, the one that began first is closed.
MAX_ARRIVING = 500
MAX_HEAD_BYTES = 32 * 1024
# The app takes no larger body (``web.MAX_REQUEST_BYTES``).
MAX_BODY_BYTES = 256 * 1024
# gunicorn copies what is left of a body for each of its chunks; clients send them of some kilobytes.
MAX_CHUNKS, MAX_CHUNK_HEAD_BYTES = 1000, 1024
MAX_DIGITS = 9
READ_BYTES = 64 * 1024
ONLY_ASKS = ("GET", "HEAD")
# An answer that a client has not taken has so long, and a second more for so many bytes; when more are leaving, the one
# that began first is closed.
LEAVING_SECONDS = 30.0
LEAVING_BYTES_PER_SECOND = 20_000
MAX_LEAVING = 300
# How long, and for how many bytes more, a client may go on sending after its last answer (RFC 9112, 9.6).
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)

TOO_LARGE = "413 Content Too Large"
HEAD_TOO_LARGE = "431 Request Header Fields Too Large"
TOO_SLOW = "408 Request Timeout"


class _TooLarge(Exception):
    """More than is taken; holds the status line's end."""


class _Arriving:
    """A connection whose next request has not come as a whole."""

    def __init__(self, connection: TConn, begun: bytes) -> None:
        self.connection = connection
        self.bytes = bytearray(begun)
        self.ends_at = time.monotonic() + ARRIVING_SECONDS
        self._body_at = self._chunk_at = 0
        self._length: int | None = 0
        self._chunks = 0
        self.is_awaited = False

    def is_whole(self) -> bool:
        """Tell whether all of it is here; raises ``_TooLarge``."""
        if not self._body_at and not self._read_head():
            return False
        body = len(self.bytes) - self._body_at
        if self._length is None:
            if body > MAX_BODY_BYTES:
                raise _TooLarge(TOO_LARGE)
            return self._has_last_chunk()
        return body >= self._length

    def _read_head(self) -> bool:
        end = self.bytes.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self.bytes) > MAX_HEAD_BYTES):
            raise _TooLarge(HEAD_TOO_LARGE)
        if end < 0:
            return False
        head = bytes(self.bytes[: end + 2])
        self._body_at = self._chunk_at = end + 4
        if _CHUNKED.search(head):
            self._length = None
        elif told := _LENGTH.search(head):
            if len(told[1]) > MAX_DIGITS or int(told[1]) > MAX_BODY_BYTES:
                raise _TooLarge(TOO_LARGE)
            self._length = int(told[1])
        self.is_awaited = _EXPECTS.search(head) is not None
        return True

    def _has_last_chunk(self) -> bool:
        """Follow the chunks that are here (RFC 9112, 7.1); what is no chunk is left to the parser, which refuses it."""
        while (end := self.bytes.find(b"\r\n", self._chunk_at)) >= 0:
            try:
                size = int(self.bytes[self._chunk_at : end].partition(b";")[0], 16)
            except ValueError:
                return True
            if size <= 0:
                self._bound(end, MAX_HEAD_BYTES)
                return self.bytes.find(b"\r\n\r\n", end) >= 0
            self._chunk_at = end + 2 + size + 2
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                raise _TooLarge(TOO_LARGE)
        self._bound(self._chunk_at, MAX_CHUNK_HEAD_BYTES)
        return False

    def _bound(self, begin: int, most: int) -> None:
        """What has no end yet is searched anew whenever a byte comes; raises ``_TooLarge``."""
        if len(self.bytes) - begin > most:
            raise _TooLarge(TOO_LARGE)


class _Leaving:
    """A connection whose client has not taken all of its answer, or has taken the last one and may still send."""

    def __init__(self, connection: TConn, done: "Future[Any]") -> None:
        self.connection = connection
        self.done = done
        self.ends_at = time.monotonic() + LEAVING_SECONDS + connection.sock.unsent / LEAVING_BYTES_PER_SECOND
        self.received = 0


class BufferingWorker(ThreadWorker):
    """Serves like its parent; whoever sends or reads slowly costs a little memory and no thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the order in which they began.
        self._arriving: dict[socket.socket, _Arriving] = {}
        self._leaving: dict[BufferingSocket, _Leaving] = {}

    def enqueue_req(self, conn: TConn) -> None:
        """Collect the connection's next request, and then give it to a thread."""
        begun = b""
        if conn.initialized:
            begun = conn.parser.unreader.take_buffered()
        else:
            conn.sock = BufferingSocket(conn.sock)
        if len(self._arriving) >= MAX_ARRIVING:
            self._drop(next(iter(self._arriving.values())), TOO_SLOW)
        arriving = self._arriving[conn.sock] = _Arriving(conn, begun)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_bytes, arriving))
        self._go_on(arriving)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Read the body, all of which is here, before the app begins: what is no body is refused as a bad request.

        gunicorn reads it when the app does, who would take it for a mistake of its own. What only asks is not answered
        when nobody waits for it any more: whoever asks and leaves would have it made a thousand times.
        """
        if req.method in ONLY_ASKS and conn.sock.has_gone():
            return False
        body = req.body.read()
        req.body.buf.write(body)
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """Send what the client has not taken, and only then read its next request, or close the connection."""
        if _is_kept(fs) and not conn.sock.unsent:
            super().finish_request(conn, fs)
            return
        leaving = self._leaving[conn.sock] = _Leaving(conn, fs)
        self._send_on(leaving)
        while len(self._leaving) > MAX_LEAVING or sum(client.unsent for client in self._leaving) > MAX_KEPT_BYTES:
            self._give_up(next(iter(self._leaving.values())))

    def murder_pending(self) -> None:
        """Close what has not come or gone in time; called at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for arriving in [one for one in self._arriving.values() if one.ends_at <= now]:
            self._drop(arriving, TOO_SLOW)
        for leaving in [one for one in self._leaving.values() if one.ends_at <= now]:
            self._give_up(leaving)

    def _on_bytes(self, arriving: _Arriving, _: object) -> None:
        self._go_on(arriving)

    def _go_on(self, arriving: _Arriving) -> None:
        connection = arriving.connection
        received = connection.sock.take(READ_BYTES)
        if received == b"":
            self._drop(arriving, None)
            return
        arriving.bytes += received or b""
        try:
            if arriving.is_whole():
                self._submit(arriving)
            elif arriving.is_awaited:
                arriving.is_awaited = False
                with suppress(OSError):
                    connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except _TooLarge as error:
            self._drop(arriving, str(error))

    def _submit(self, arriving: _Arriving) -> None:
        self._forget(arriving)
        connection = arriving.connection
        connection.init()
        connection.parser.unreader.unread(bytes(arriving.bytes))
        super().enqueue_req(connection)

    def _drop(self, arriving: _Arriving, status: str | None) -> None:
        self._forget(arriving)
        if status and arriving.bytes:
            with suppress(OSError):
                answer = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                arriving.connection.sock.send(answer.encode())
        self.nr_conns -= 1
        arriving.connection.close()

    def _forget(self, arriving: _Arriving) -> None:
        del self._arriving[arriving.connection.sock]
        self._stop_polling(arriving.connection.sock)

    def _stop_polling(self, client: BufferingSocket) -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(client)

    def _send_on(self, leaving: _Leaving, _: object = None) -> None:
        client = leaving.connection.sock
        self._stop_polling(client)
        try:
            client.send_kept()
            if client.unsent:
                self.poller.register(client, selectors.EVENT_WRITE, partial(self._send_on, leaving))
            elif _is_kept(leaving.done):
                del self._leaving[client]
                super().finish_request(leaving.connection, leaving.done)
            else:
                client.shutdown(socket.SHUT_WR)
                leaving.ends_at = time.monotonic() + LINGER_SECONDS
                self.poller.register(client, selectors.EVENT_READ, partial(self._linger, leaving))
        except OSError:
            self._give_up(leaving)

    def _linger(self, leaving: _Leaving, _: object) -> None:
        received = leaving.connection.sock.take(READ_BYTES)
        leaving.received += len(received or b"")
        if received == b"" or leaving.received > LINGER_BYTES:
            self._give_up(leaving)

    def _give_up(self, leaving: _Leaving) -> None:
        del self._leaving[leaving.connection.sock]
        self._stop_polling(leaving.connection.sock)
        self.nr_conns -= 1
        leaving.connection.close()


def _is_kept(done: "Future[Any]") -> bool:
    """Tell whether the connection is used again."""
    return not done.cancelled() and done.exception() is None and bool(done.result())

"""TLS over sockets that we read ourselves: OpenSSL goes on by itself as long as others send what holds no data."""

import socket
import ssl
import time
from functools import cache
from typing import Any, cast

from urllib3.util.ssltransport import SSLTransport

from bx24app.outgoing.deadline import seconds_left

# What a connection may cost beyond its data: certificates, tickets for later sessions, changes of keys; and the heads
# of records, which have 22 bytes each.
BYTES_BESIDE_DATA = 64 * 1024
SHARE_BESIDE_DATA = 0.25
# With others the other side chooses how much we compute: a group of 10,000 bits takes a second, this one 1 ms. Every
# server of TLS 1.3 has it (RFC 8446, 9.1); those of TLS 1.2 with it can have certificates of its curve alone.
GROUP = "prime256v1"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"


class MeteredSocket(socket.socket):
    """A socket under TLS, whose time-out is for a whole read or write of what is above it, however many it needs here.

    Raises ``ConnectionAbortedError`` when far more has come than the data in it.
    """

    def __init__(self, opened: socket.socket) -> None:
        seconds = opened.gettimeout()
        super().__init__(opened.family, opened.type, opened.proto, fileno=opened.detach())
        self._received = self.data = 0
        self.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """The time-out in seconds, whatever of it is left."""
        return self._seconds

    def settimeout(self, value: float | None) -> None:
        """Begin a read or a write that may take so many seconds."""
        self._seconds = value
        self._ends_at = None if value is None else time.monotonic() + value
        super().settimeout(value)

    def recv(self, *args: int) -> bytes:
        """Read a piece of it."""
        self._go_on()
        received = super().recv(*args)
        self._received += len(received)
        if self._received > BYTES_BESIDE_DATA + self.data * (1 + SHARE_BESIDE_DATA):
            raise ConnectionAbortedError("hardly any data")
        return received

    def sendall(self, data: Any, *args: Any) -> None:
        """Write a piece of it.

        The library also writes nothing, after each read: that fails where an answer waits and the other side has gone.
        """
        if data:
            self._go_on()
            super().sendall(data, *args)

    def _go_on(self) -> None:
        if self._ends_at is not None:
            super().settimeout(seconds_left(None, self._ends_at))


class MeteredTransport(SSLTransport):
    """TLS that counts what data its socket has brought."""

    @property
    def has_more(self) -> bool:
        """Whether something came behind what was read: the other side's end, as a rule."""
        return self.incoming.pending > 0

    def recv_into(self, *args: Any) -> int:
        """Read what one record holds."""
        count = cast("int", super().recv_into(*args))
        cast("MeteredSocket", self.socket).data += count
        return count


class MeteredContext(ssl.SSLContext):
    """A client's context for ``MeteredSocket``; all connections share it."""

    def set_alpn_protocols(self, alpn_protocols: object) -> None:
        """Offer none: the library does it for each connection, while others begin."""

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str | None) -> Any:  # type: ignore[override]
        """Begin TLS, and check who the other side is."""
        return MeteredTransport(sock, self, server_hostname)


@cache
def metered_context(authorities: str, *, is_old: bool = False) -> MeteredContext:
    """Make a context as the library's own: names and certificates are checked, and nothing below TLS 1.2 is spoken.

    A connection has one handshake, of a known cost. ``authorities`` is the file of those that vouch for certificates:
    to read it takes 30 ms. ``is_old``: for servers of TLS 1.2 with certificates of any curve.
    """
    context = MeteredContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_RENEGOTIATION
    if is_old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.set_ecdh_curve(GROUP)
    context.set_ciphers(CIPHERS)
    context.load_verify_locations(authorities)
    return context

"""Connections to addresses that others chose, and what their failures prove about the request."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, ClassVar, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, NewConnectionError, ReadTimeoutError
from urllib3.util.connection import create_connection

from bx24app.outgoing.address_policy import AddressPolicy
from bx24app.outgoing.deadline import SEND_BYTES, PunctualResponse, ending_within, is_over, seconds_left
from bx24app.outgoing.errors import (
    AddressForbidden,
    ConnectionReset,
    ExchangeError,
    NotSent,
    ReadTimeout,
)
from bx24app.outgoing.tls import MeteredSocket, MeteredTransport, metered_context

POOL_SIZE = 64
# Of one name: somebody else's may have thousands.
MAX_ADDRESSES = 16
USER_AGENT = "CallbackDesk/0.1"


class _ForbiddenAddress(NewConnectionError):
    """No resolved address is permitted."""


class _NothingInCommon(NewConnectionError):
    """The other side speaks TLS, and in no way that was offered."""


class _GuardedConnection(HTTPConnection):
    """Connects to permitted addresses only, and never waits beyond the exchange's deadline.

    A failure before anything was sent raises its own error type, so that the caller knows it may repeat. The name is
    resolved once and that very address is connected to, so DNS cannot change in between.
    """

    policy: ClassVar[AddressPolicy]
    response_class = PunctualResponse

    def _new_conn(self) -> socket.socket:
        try:
            resolved = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NameResolutionError(self.host, self, socket.gaierror(str(error))) from None
        first = resolved[:MAX_ADDRESSES]
        permitted = [str(entry[4][0]) for entry in first if self.policy.permits(str(entry[4][0]))]
        if not permitted:
            raise _ForbiddenAddress(self, "the address is not permitted")
        for last, address in zip(reversed(range(len(permitted))), permitted, strict=True):
            try:
                return create_connection(
                    (address, self.port or 0), seconds_left(self.timeout), self.source_address, self.socket_options
                )
            except OSError:
                if not last:
                    raise
        raise AssertionError("unreachable")

    def connect(self) -> None:
        try:
            super().connect()
        except NewConnectionError:
            raise
        except (OSError, HTTPError) as error:
            # This covers a time-out and a failed handshake too: no part of the request has been sent yet.
            is_disagreed = isinstance(error, ssl.SSLError) and "HANDSHAKE_FAILURE" in (error.reason or "")
            failure = _NothingInCommon if is_disagreed else NewConnectionError
            raise failure(self, f"not connected: {type(error).__name__}") from None

    def send(self, data: Any) -> None:
        """Send in pieces, each within the time that is left, so that a slow reader cannot block us either."""
        pieces = [data]
        if isinstance(data, bytes):
            pieces = [data[start : start + SEND_BYTES] for start in range(0, len(data), SEND_BYTES)]
        for piece in pieces:
            if self.sock is not None:
                self.sock.settimeout(seconds_left(self.timeout))
            super().send(piece)


class _GuardedTLSConnection(_GuardedConnection, HTTPSConnection):
    """A guarded connection over TLS."""

    _authorities = ""

    def _new_conn(self) -> socket.socket:
        return MeteredSocket(super()._new_conn())

    @property
    def is_connected(self) -> bool:
        """Whether another request can be sent; what has come with the last answer the socket does not tell any more."""
        return super().is_connected and not cast("MeteredTransport", self.sock).has_more

    def connect(self) -> None:
        if self.ca_certs:
            # Our contexts know them; the library would read the file again for each connection.
            self._authorities, self.ca_certs = self.ca_certs, None
        self.ssl_context = metered_context(self._authorities)
        try:
            super().connect()
        except _NothingInCommon:
            self.close()
            self.ssl_context = metered_context(self._authorities, is_old=True)
            super().connect()


class GuardedAdapter(HTTPAdapter):
    """Pooled keep-alive connections under an address policy; it never retries.

    An exchange ends within ``seconds``, from the name server to the last byte of the answer.
    """

    def __init__(self, policy: AddressPolicy, seconds: float, pool_size: int = POOL_SIZE) -> None:
        self._policy, self._seconds = policy, seconds
        super().__init__(pool_connections=pool_size, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools use guarded connections."""
        super().init_poolmanager(*args, **kwargs)
        ours = {"policy": self._policy}
        plain = type("Connection", (_GuardedConnection,), dict(ours))
        secure = type("TLSConnection", (_GuardedTLSConnection,), dict(ours))
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TLSPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request; raises ``ConnectTimeout`` and sends nothing when the time of the caller's work is over."""
        with ending_within(self._seconds):
            if is_over():
                raise requests.ConnectTimeout(request=request)
            return super().send(request, *args, **kwargs)


def guard(session: requests.Session, adapter: GuardedAdapter) -> None:
    """Let a session reach others through an adapter alone, without the machine's proxies, and follow no redirect.

    ``allow_redirects=False`` is not enough: the library then reads the whole body of a redirect, at any length, and
    its ``Location``, however it is written. Nothing compressed is asked for: what it costs to read does not show.
    """
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.get_redirect_target = lambda _: None  # type: ignore[method-assign, assignment]
    session.mount("https://", adapter)
    session.mount("http://", adapter)


@contextmanager
def exchanging() -> Iterator[None]:
    """Raise an ``ExchangeError`` for whatever the libraries make of an answer; their texts hold URLs and tokens."""
    try:
        yield
    except requests.RequestException as error:
        raise _failure_of(error) from None
    except (OSError, ValueError, HTTPError, HTTPException):
        # No library foresees everything that can be sent.
        raise ConnectionReset from None


def _failure_of(error: requests.RequestException) -> ExchangeError:
    """Tell a request that was never sent from one that may have been executed."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, _ForbiddenAddress):
        return AddressForbidden("the host has no permitted address")
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
        return NotSent("no connection")
    # The library reports a body that stops half-way as a broken connection.
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        return ReadTimeout()
    return ConnectionReset()

"""Switches for everything that can go wrong between the app and a Bitrix24 server."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from flask import Response, request

Answer = Callable[[], Response]
DRIP_SECONDS = 0.05
STATUSES = {"expired_token": 401, "QUERY_LIMIT_EXCEEDED": 503, "OPERATION_TIME_LIMIT": 429, "ERROR_CORE": 400}
HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass
class Fault:
    """One thing that will go wrong, ``times`` times.

    ``kind``: ``error`` (``code``, ``words``, ``status``, ``retry_after``; nothing executed), ``drop_before`` and
    ``drop_after`` (the connection is closed without an answer, before or after execution), ``hang_before`` and
    ``hang_after`` (silence for ``seconds``), ``drip_head`` and ``drip_body`` (a byte now and then for ``seconds``,
    after execution; a body comes to its end then, a head does not), ``html_502``, ``html_502_after``, ``empty``,
    ``truncated_json``, ``malformed_result`` (all of these after execution but ``html_502``), ``moved`` (302 to
    ``host``).
    """

    kind: str
    method: str = "*"
    times: int = 1
    code: str = ""
    words: str = ""
    status: int = 0
    seconds: float = 60.0
    host: str = ""
    retry_after: str = ""
    received: threading.Event = field(default_factory=threading.Event)
    executed: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


# What a whole portal may be, and the fault of every method then (docs: _includes/system-errors.md).
CONDITIONS: dict[str, Fault | None] = {
    "open": None,
    "closed for maintenance": Fault("error", code="PORTAL_DELETED", words="Portal was deleted", status=500),
    "on a plan that has ended": Fault(
        "error", code="ACCESS_DENIED", words="REST API is available only on commercial plans", status=403
    ),
}


class Faults:
    """The faults of one server, used up in the order they were added; then that of its ``condition``."""

    def __init__(self) -> None:
        self.condition = "open"
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: str, method: str = "*", **settings: object) -> Fault:
        """Make the next matching request fail; returns the fault, whose ``received`` a test may wait for."""
        fault = Fault(kind, method, **settings)  # type: ignore[arg-type]
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, method: str) -> Fault | None:
        """Use up the first fault for this method."""
        return self._take("*", method) or CONDITIONS[self.condition]

    def take_part(self, method: str) -> Fault | None:
        """Use up the first fault for this method as a part of a batch, which was added as ``batch:<method>``."""
        return self._take(f"batch:{method}")

    def _take(self, *methods: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.method in methods:
                    fault.times -= 1
                    fault.received.set()
                    return fault
        return None

    def release(self) -> None:
        """Let everything that hangs go on."""
        with self._lock:
            for fault in self._faults:
                fault.released.set()


def drop_connection() -> Response:
    """Close the socket under the answer."""
    with suppress(OSError):
        request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response("")


def error_answer(code: str, words: str, status: int) -> Response:
    """An error the way the platform writes it."""
    body = json.dumps({"error": code, "error_description": words})
    return Response(body, status, content_type="application/json; charset=utf-8")


def _error(fault: Fault) -> Response:
    answer = error_answer(fault.code, fault.words, fault.status or STATUSES.get(fault.code, 400))
    if fault.retry_after:
        answer.headers["Retry-After"] = fault.retry_after
    return answer


def suffer(fault: Fault, execute: Answer) -> Response:
    """Answer the request the way the fault says."""
    before: dict[str, Answer] = {
        "error": lambda: _error(fault),
        "drop_before": drop_connection,
        "html_502": lambda: Response(HTML, 502, content_type="text/html"),
        "moved": lambda: Response(
            "", fault.status or 302, headers={"Location": f"http://{fault.host}{request.full_path}"}
        ),
    }
    if fault.kind in before:
        return before[fault.kind]()
    if fault.kind == "hang_before":
        fault.released.wait(fault.seconds)
        return drop_connection()
    answer = execute()
    fault.executed.set()
    after: dict[str, Answer] = {
        "drop_after": drop_connection,
        "html_502_after": lambda: Response(HTML, 502, content_type="text/html"),
        "empty": lambda: Response("", 200),
        "truncated_json": lambda: Response(answer.get_data()[:-7], 200, content_type="application/json"),
        "malformed_result": lambda: Response('{"result":{"RESULT":"yes"}}', 200, content_type="application/json"),
        "hang_after": lambda: _hang(fault, answer),
        "drip_head": lambda: _drip_head(fault),
        "drip_body": lambda: Response(_dripping(fault, answer.get_data()), content_type="application/json"),
    }
    return after[fault.kind]()


def _hang(fault: Fault, answer: Response) -> Response:
    fault.released.wait(fault.seconds)
    return answer


def _dripping(fault: Fault, body: bytes) -> Iterator[bytes]:
    """White space may stand before any JSON text: as much of it as there is time, and then the answer."""
    ends_at = time.monotonic() + fault.seconds
    while time.monotonic() < ends_at and not fault.released.wait(DRIP_SECONDS):
        yield b" "
    yield body


def _drip_head(fault: Fault) -> Response:
    connection, ends_at = request.environ["werkzeug.socket"], time.monotonic() + fault.seconds
    with suppress(OSError):  # The other side has hung up.
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while time.monotonic() < ends_at and not fault.released.wait(DRIP_SECONDS):
            connection.sendall(b"x")
    return drop_connection()

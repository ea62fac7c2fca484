"""A small HTTP client: threads with kept-alive connections that send requests written beforehand."""

import multiprocessing
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

PROCESSES = 2
THREADS = 8
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Measured:
    """What came of one measurement."""

    done: int
    failed: int
    seconds: float
    # Of each answered request, in order of length.
    latencies: tuple[float, ...]

    @property
    def per_second(self) -> float:
        """Answered as expected, a second."""
        return self.done / self.seconds if self.seconds else 0.0

    def percentile(self, part: float) -> float:
        """A latency in seconds."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * part))] if self.latencies else 0.0


def written(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One kept-alive connection; header and body go in one write."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, whole: bytes) -> int:
        """Send a request and read its answer; returns the status."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(whole)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        head = answer[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
        left = end + 4 + length - len(answer)
        while left > 0:
            left -= len(self._more())
        if b"connection: close" in head:
            self.close()
        return int(answer[9:12])

    def _more(self) -> bytes:
        assert self._socket is not None
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("closed early")
        return received

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _send_all(port: int, share: Iterator[bytes], expected: int, until: float, found: list[float]) -> int:
    """Send until the time or the requests are over; returns how many failed."""
    connection, failed = Connection(port), 0
    for whole in share:
        began = time.perf_counter()
        if began >= until:
            break
        try:
            good = connection.send(whole) == expected
        except (OSError, ValueError):
            connection.close()
            good = False
        if good:
            found.append(time.perf_counter() - began)
        else:
            failed += 1
    connection.close()
    return failed


def _client(
    port: int, requests: list[bytes], expected: int, seconds: float, answers: "multiprocessing.Queue[object]"
) -> None:
    until = time.perf_counter() + seconds
    found: list[list[float]] = [[] for _ in range(THREADS)]
    failures = [0] * THREADS

    def run(number: int) -> None:
        failures[number] = _send_all(port, iter(requests[number::THREADS]), expected, until, found[number])

    began = time.perf_counter()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(([one for share in found for one in share], sum(failures), time.perf_counter() - began))


def measure(port: int, requests: list[bytes], expected: int, seconds: float) -> Measured:
    """Send requests from several processes for some seconds, or until they are used up."""
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    clients = [
        fork.Process(target=_client, args=(port, requests[number::PROCESSES], expected, seconds, answers))
        for number in range(PROCESSES)
    ]
    for client in clients:
        client.start()
    try:
        found = [answers.get(timeout=seconds + 2 * TIMEOUT_SECONDS) for _ in clients]
    except queue.Empty:
        raise RuntimeError("a client never came back") from None
    finally:
        for client in clients:
            client.join(TIMEOUT_SECONDS)
            client.kill()
    latencies = sorted(one for share, _, _ in found for one in share)
    return Measured(
        len(latencies), sum(failed for _, failed, _ in found), max(s for _, _, s in found), tuple(latencies)
    )

"""The event queue: delivers in its own time, and never again after a failure (docs: api-reference/events)."""

import http.client
import queue
import ssl
import threading
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.fake_bitrix24.clock import Clock

TIMEOUT_SECONDS = 10
Fields = dict[str, object]


def http_build_query(fields: Fields, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten like PHP: ``{"data": {"CALL_ID": 1}}`` becomes ``data[CALL_ID]=1``; None is left out."""
    pairs: list[tuple[str, str]] = []
    for key, value in fields.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            pairs += http_build_query(value, name)
        elif isinstance(value, list):
            pairs += http_build_query({str(place): one for place, one in enumerate(value)}, name)
        elif value is not None:
            pairs.append((name, str(value)))
    return pairs


@dataclass
class Delivery:
    """One event on its way; ``status`` is None until answered, 0 when nobody answered."""

    url: str
    event: str
    pairs: list[tuple[str, str]]
    status: int | None = None


class EventQueue:
    """The queue of one portal."""

    def __init__(self, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.duplicate = False
        self._clock = clock
        self._tls = tls
        self._waiting: queue.Queue[Delivery | None] = queue.Queue()
        self._open = threading.Event()
        self._open.set()
        self._idle = threading.Condition()
        self._pending = 0
        self._thread = threading.Thread(target=self._deliver_all, daemon=True, name="event-queue")

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more."""
        self._waiting.put(None)
        self._open.set()
        self._thread.join(timeout=TIMEOUT_SECONDS + 2)

    def pause(self) -> None:
        """Hold events back."""
        self._open.clear()

    def resume(self) -> None:
        """Go on delivering."""
        self._open.set()

    def drop_all(self) -> None:
        """Lose what is held back, as the platform may."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
            with self._idle:
                self._pending -= 1

    def put(self, url: str, event: str, fields: Fields) -> Delivery:
        """Queue one event; what a rule posts has no name."""
        named: Fields = {"event": event} if event else {}
        delivery = Delivery(url, event, http_build_query({**named, **fields, "ts": int(self._clock.now())}))
        copies = 2 if self.duplicate else 1
        with self._idle:
            self._pending += copies
        for _ in range(copies):
            self._waiting.put(delivery)
        return delivery

    def wait_until_idle(self, seconds: float = 30.0) -> None:
        """Wait until everything queued was delivered or failed."""
        with self._idle:
            if not self._idle.wait_for(lambda: self._pending == 0, seconds):
                raise TimeoutError("events are still waiting")

    def _deliver_all(self) -> None:
        while (delivery := self._waiting.get()) is not None:
            self._open.wait()
            delivery.status = self._post(delivery)
            self.deliveries.append(delivery)
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()

    def _post(self, delivery: Delivery) -> int:
        url = urlsplit(delivery.url)
        connection: http.client.HTTPConnection
        if url.scheme == "https":
            connection = http.client.HTTPSConnection(
                url.hostname or "", url.port, timeout=TIMEOUT_SECONDS, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(
                "POST",
                url.path or "/",
                urlencode(delivery.pairs),
                {
                    "Content-Type": "application/x-www-form-urlencoded",
                    "User-Agent": "Bitrix24 Webhook Engine",
                },
            )
            with connection.getresponse() as answer:
                return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

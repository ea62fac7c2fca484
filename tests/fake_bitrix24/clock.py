"""The clock of the fake cloud: real time, and what tests add to it."""

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, which tests can turn forward."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """The present moment in seconds."""
        with self._lock:
            return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        with self._lock:
            self._ahead += seconds

    def moment(self) -> datetime:
        """The present moment as an aware time."""
        return datetime.fromtimestamp(self.now(), UTC)

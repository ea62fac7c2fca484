"""Which job is due, and how many threads may do it at once."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Job:
    """Something to do every few ``seconds``, by ``at_once`` threads of a worker at the most.

    Any worker does it; doing it twice harms nothing.
    """

    seconds: float
    work: Callable[[], int]
    at_once: int = 1
    next_at: float = 0.0
    running: int = 0


@dataclass
class Scheduler:
    """Gives out what is due, to each thread something else."""

    chores: list[Job]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Job | None:
        """The chore that waits longest, or None; ``give_back`` ends it."""
        now = time.monotonic()
        with self._lock:
            due = [chore for chore in self.chores if chore.next_at <= now and chore.running < chore.at_once]
            if not due:
                return None
            chore = min(due, key=lambda one: one.next_at)
            chore.next_at, chore.running = now + chore.seconds, chore.running + 1
            return chore

    def give_back(self, chore: Job, done: int | None) -> None:
        """Note that it was done; where there was something to do, there may be more at once."""
        with self._lock:
            chore.running -= 1
            if done and chore.at_once > 1:
                chore.next_at = 0.0

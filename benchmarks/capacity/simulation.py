"""A clock that is turned while everybody waits, and tasks that take turns on it.

One task works at a time, as threads of one Python process do, and what a piece of work takes here it takes on the
simulation's clock. While every task waits for somebody else, the clock is turned to the moment at which the first of
them goes on. So an hour takes as long as the work in it, and all waiting is exact.

A piece of work ends where a task waits for the network or others, and after each transaction: Python lets another
thread go on every few milliseconds. A database with processors of its own works beside the tasks: what a task waits
for it, others may use.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from unittest.mock import patch

import time_machine

from bx24app.services.runtime import clock

# What a piece of work takes: on the wall's clock, or of the processor, which other work of the machine hardly changes.
STOPWATCHES = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(eq=False)
class _Turn:
    """A task's next piece of work: ``go`` is set when it may begin."""

    go: threading.Event = field(default_factory=threading.Event)
    is_taken: bool = False

    def __call__(self) -> None:
        self.go.set()


class Simulation:
    """Tasks in threads of their own, one of them at work at a time."""

    def __init__(self, begins: datetime, stopwatch: str, *, waits_apart: bool = False) -> None:
        self._begins = begins
        self._waits_apart = waits_apart
        # Of the task at work: its clock and its processor's when its turn began; and what it has waited in it.
        self._marks = (0.0, 0.0)
        self._waited = 0.0
        self._now = 0.0
        self._read = STOPWATCHES[stopwatch]
        self._outside = self._outside_wall = 0.0
        self._queue: list[tuple[float, int, _Turn | Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._tasks: set[threading.Thread] = set()
        self._paused = threading.Event()
        self._lock = threading.Lock()
        self.outside_cpu = 0.0

    @contextmanager
    def turning(self) -> Iterator[None]:
        """Let this process live on the simulation's clock inside."""
        with ExitStack() as stack:
            self._traveller = stack.enter_context(time_machine.travel(self._begins, tick=False))
            stack.enter_context(patch.object(time, "monotonic", self.monotonic))
            stack.enter_context(patch.object(time, "sleep", self.sleep))
            # The database lives on the same clock.
            stack.enter_context(patch.object(clock, "_time_of_database", time.time))
            yield

    def monotonic(self) -> float:
        """The simulation's ``time.monotonic``."""
        return self._now

    @staticmethod
    def now() -> datetime:
        """The present moment in the simulation."""
        return datetime.now(UTC)

    def start(self, work: Callable[[], object]) -> None:
        """Begin a task now."""
        turn = _Turn()

        def run() -> None:
            self._await_turn(turn)
            try:
                work()
            finally:
                self._tasks.discard(thread)
                self._paused.set()

        thread = threading.Thread(target=run, daemon=True)
        self._tasks.add(thread)
        thread.start()
        self._put(0.0, turn)

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something that is not the app's worker's: it takes no time."""
        self._put(seconds, work)

    def sleep(self, seconds: float, turn: _Turn | None = None) -> None:
        """Let the others go on for so long; ``turn`` may be called sooner (``hurry``)."""
        if threading.current_thread() not in self._tasks:
            return  # Whoever prepares the simulation waits for nobody.
        turn = turn or _Turn()
        self._waited = self._waited_in_turn()
        self._put(seconds + self._waited, turn)
        self._paused.set()
        self._await_turn(turn)

    def let_others(self) -> None:
        """Let those go on who could have meanwhile."""
        self.sleep(0.0)

    def hurry(self, turn: _Turn) -> None:
        """Give a waiting task its turn now."""
        self._put(0.0, turn)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        ends = self.monotonic() + seconds
        while (next_at := self._next_at()) is not None and next_at <= ends:
            self._turn(next_at - self.monotonic())
            with self._lock:
                what = heapq.heappop(self._queue)[2]
            if not isinstance(what, _Turn):
                with self.outside():
                    what()
            elif not what.is_taken:
                what.is_taken = True
                self._let_work(what)
        self._turn(ends - self.monotonic())

    def skip(self, seconds: float) -> None:
        """Leave time out: what was to be done in it is done afterwards."""
        self._turn(seconds)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Do what other processes do: it takes no time on the clock, and its processor's time is kept apart."""
        began, wall, cpu = self._read(), time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.outside_cpu += time.thread_time() - cpu
            self._outside_wall += time.perf_counter() - wall
            self._outside += self._read() - began

    def _let_work(self, turn: _Turn) -> None:
        """Let a task work until it waits, and move the clock by what that took."""
        self._paused.clear()
        self._waited = 0.0
        began, outside = self._read(), self._outside
        turn()
        self._paused.wait()
        self._turn(self._read() - began - (self._outside - outside) - self._waited)

    def _await_turn(self, turn: _Turn) -> None:
        turn.go.wait()
        self._marks = self._idle_clock()

    def _idle_clock(self) -> tuple[float, float]:
        """This thread's wall clock and processor time, without what was outside."""
        return time.perf_counter() - self._outside_wall, time.thread_time() - self.outside_cpu

    def _waited_in_turn(self) -> float:
        """How long the task at work did nothing itself since its turn began, where that lets others work."""
        if not self._waits_apart:
            return 0.0
        wall, cpu = (now - began for now, began in zip(self._idle_clock(), self._marks, strict=True))
        return max(0.0, wall - cpu)

    def _next_at(self) -> float | None:
        with self._lock:
            return self._queue[0][0] if self._queue else None

    def _turn(self, seconds: float) -> None:
        if seconds > 0:
            self._now += seconds
            self._traveller.shift(seconds)

    def _put(self, seconds: float, what: _Turn | Callable[[], object]) -> None:
        with self._lock:
            heapq.heappush(self._queue, (self.monotonic() + seconds, next(self._numbers), what))


class Condition:
    """``threading.Condition`` for tasks of a simulation, which take turns anyway."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._waiting: list[_Turn] = []

    def __enter__(self) -> None:
        """Others do nothing meanwhile."""

    def __exit__(self, *_: object) -> None:
        """They go on when this task waits."""

    def wait(self, timeout: float) -> None:
        """Wait until somebody notifies, but no longer."""
        self._waiting.append(turn := _Turn())
        self._simulation.sleep(timeout, turn)
        if turn in self._waiting:
            self._waiting.remove(turn)

    def notify_all(self) -> None:
        """Let everybody who waits go on."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            self._simulation.hurry(turn)


class Threads:
    """``bx24app.worker.threads.Threads`` whose threads are tasks of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def start(self, task: Callable[[], object]) -> None:
        """Run a task."""
        self._simulation.start(task)

    def stop(self) -> None:
        """Nothing is kept."""

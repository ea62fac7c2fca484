"""Group commit: short writes to a SQLite file that wait at the same time share one transaction, and so one sync.

To sync the disk takes longer than the statements of such a write, and nobody else can write meanwhile. PostgreSQL does
the same by itself, over all of its connections.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import current_app

from bx24app.database.compiled import Bound, Run, compiled_writing, told_without_values
from bx24app.database.engine import is_postgresql
from bx24app.database.transactions import single_transaction
from bx24app.database.writer_lock import WAIT_SECONDS
from bx24app.errors import DatabaseBusy

T = TypeVar("T")
# As many threads as a web process has: more could not wait in it.
MOST_TOGETHER = 16

_BEGIN, _UNDO, _END = (Bound(f"{words} one_write", []) for words in ("SAVEPOINT", "ROLLBACK TO", "RELEASE"))


def write_together(work: Callable[[Run], T]) -> T:
    """Run statements that write, maybe in one transaction with the writes of other threads; returns what ``work`` does.

    What it raises undoes its own statements alone. On PostgreSQL run only one statement, as in ``compiled_writing``.
    Raises ``DatabaseBusy`` when it did not get its turn within ``WAIT_SECONDS``: nothing was written.
    """
    if is_postgresql():
        with compiled_writing() as run:
            return work(run)
    with single_transaction():
        pass  # A thread that has one open would wait for itself.
    writers: _Writers = current_app.extensions.setdefault("bx24app.writers", _Writers())
    return cast("T", writers.write(work))


class _NothingWritten(Exception):
    """Every write of a transaction was undone: the disk is not synced for them."""


class _Write:
    def __init__(self, work: Callable[[Run], Any]) -> None:
        self.work = work
        self.until = time.monotonic() + WAIT_SECONDS
        # Set when it is done, or when its thread is to lead.
        self.told = threading.Event()
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, run: Run) -> None:
        run(_BEGIN)
        try:
            with told_without_values():
                self.result = self.work(run)
        except Exception as error:
            self.error = error
            try:
                run(_UNDO)
            except Exception:
                # SQLite has rolled everything back by itself, as on a full disk: all of them fail, for this reason.
                raise error from None
        run(_END)

    def seconds_left(self) -> float:
        return max(0.0, self.until - time.monotonic())

    def outcome(self) -> Any:
        """Return the result or raise the error, and keep neither: an error holds on to all of its request."""
        error, self.error = self.error, None
        if error is None:
            return self.result
        try:
            raise error
        finally:
            del error

    def finish(self, error: BaseException | None) -> None:
        self.error = self.error or error
        self.is_done = True
        self.told.set()


class _Writers:
    """Who waits to write to one file in this process: one thread leads, and writes for all who wait by then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Write] = deque()
        self._is_led = False

    def write(self, work: Callable[[Run], Any]) -> Any:
        mine = _Write(work)
        with self._lock:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        if leads or not self._is_told(mine):
            self._lead(mine)
        return mine.outcome()

    def _is_told(self, mine: _Write) -> bool:
        """Wait until the write is done; False: its thread is to lead."""
        if not mine.told.wait(mine.seconds_left()):
            with self._lock:
                is_waiting = mine in self._waiting and not mine.told.is_set()
                if is_waiting:
                    self._waiting.remove(mine)
            if is_waiting:
                raise DatabaseBusy
            # It has its turn in this moment.
            mine.told.wait()
        return mine.is_done

    def _lead(self, mine: _Write) -> None:
        together: list[_Write] = []
        failure: BaseException | None = None
        try:
            with compiled_writing(mine.seconds_left()) as run:
                together = self._take()
                for one in together:
                    one.run(run)
                if all(one.error for one in together):
                    raise _NothingWritten
        except _NothingWritten:
            pass
        except BaseException as error:
            failure = error
        with self._lock:
            if not together:
                self._waiting.remove(mine)
            self._is_led = bool(self._waiting)
            if self._waiting:
                # Under the lock, or the time of the next one could end before it is told, and nobody would ever lead.
                self._waiting[0].told.set()
        for one in together or [mine]:
            one.finish(failure)
        del failure, together

    def _take(self) -> list[_Write]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

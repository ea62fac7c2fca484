"""The threads of a worker: started when they are needed, used again, and left behind by a process that ends."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Threads:
    """Runs each task in a thread of its own and reuses idle threads; the caller bounds how many tasks run at once."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = self._idle = 0

    def start(self, task: Callable[[], object]) -> None:
        """Run a task, which raises nothing, in a thread that has nothing to do."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._started += 1
                # A daemon thread, so that work which waits for a portal does not keep the process from ending.
                threading.Thread(target=self._run, name=f"worker-{self._started}", daemon=True).start()
        self._tasks.put(task)

    def stop(self) -> None:
        """Let every thread end with the task that it has."""
        for _ in range(self._started):
            self._tasks.put(None)

    def _run(self) -> None:
        while task := self._tasks.get():
            task()
            with self._lock:
                self._idle += 1

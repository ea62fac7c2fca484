"""The files in which the processes of one machine keep what they count, so that any web process can tell all of it.

prometheus-client names them by process id. Ours are named by a slot, a number that a process holds while it lives and
another one takes over with its files. So there are never more files than processes at once, and no sum ever falls:
Prometheus would read that as new events. Nothing has to be cleaned, which would take the files from under a worker that
lives, and processes in several containers, whose ids may be the same, never write into one file.
"""

import fcntl
import os
from itertools import count
from pathlib import Path

from prometheus_client import values

from bx24app.settings import SettingsError

# prometheus-client reads it too.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class _Slots:
    """The slot of this process. One that was forked takes another: the lock is its parent's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = self._pid = -1
        self._lock: int | None = None

    def number(self) -> int:
        """Return the slot; prometheus-client asks for it at every count, one thread at a time."""
        if self._pid != os.getpid():
            if self._lock is not None:
                os.close(self._lock)
            self._number, self._lock = next(
                (number, lock) for number in count() if (lock := self._take(number)) is not None
            )
            self._pid = os.getpid()
        return self._number

    def _take(self, number: int) -> int | None:
        lock = os.open(self._folder / f"slot_{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


def shared_folder() -> Path | None:
    """Return the folder of the shared files; None: each process counts for itself."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def share_counts() -> None:
    """Keep what this process counts from now on where the others find it, if the operator has named a folder.

    Each web process and each worker calls it before it counts anything; the operator's commands do not, so that no
    file belongs to whoever runs them. Raises ``SettingsError`` when the folder cannot be used.
    """
    folder = shared_folder()
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        values.ValueClass = values.MultiProcessValue(_Slots(folder).number)
    except OSError as error:
        raise SettingsError(f"{VARIABLE}: {folder} cannot be used: {error.strerror}") from None

"""Rings beside a SQLite file: each process that listens has a named pipe in a folder of its own user's.

A pipe has no limit for the length of its path, as a socket has, and one whose reader was killed says so.
"""

import errno
import os
import secrets
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from bx24app.database.files import FOR_OTHERS, PRIVATE_FILE, PRIVATE_FOLDER
from bx24app.services.runtime.rings.message import ANYTHING, Listener, read_message

log = structlog.get_logger(__name__)

SUFFIX = "-rings"
# How soon it is noticed that listening is over, or that somebody has removed the pipe.
NOTICED_WITHIN_MS = 500
_OF_OURS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LARGEST_READ = 65_536


class UntrustedFolder(OSError):
    """Others may write into the folder of the pipes, or it is no folder of ours."""


class Pipes:
    """The pipes of everybody who listens beside one SQLite file."""

    def __init__(self, database: str) -> None:
        self._database = database

    @property
    def place(self) -> str:
        """The folder of the pipes."""
        return f"{self._database}{SUFFIX}"

    def send(self, message: str) -> None:
        """Write to all pipes without ever waiting; raises ``OSError`` where the folder is not ours.

        A pipe that is full is passed over, one that nobody reads any more is removed.
        """
        with suppress(FileNotFoundError), self._folder() as folder:  # Without a folder nobody listens.
            for name in os.listdir(folder):
                with suppress(OSError):
                    _write(folder, name, message.encode())

    def receive(self, hear: Listener, is_over: Callable[[], bool]) -> None:
        """Hear rings until that is over; raises ``OSError`` where the pipe cannot be made or is gone."""
        with suppress(FileExistsError):
            os.mkdir(self.place, PRIVATE_FOLDER)
        with self._folder() as folder, _made(folder, self._owner()) as (name, pipe):
            hear(ANYTHING, None)
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            while not is_over():
                if poll.poll(NOTICED_WITHIN_MS):
                    for ring in read_message(os.read(pipe, _LARGEST_READ).decode("ascii", "replace")):
                        hear(*ring)
                else:
                    os.stat(name, dir_fd=folder)

    def examine(self) -> None:
        """Raise ``OSError`` where no rings can come through."""
        with suppress(FileNotFoundError), self._folder():
            pass

    @contextmanager
    def _folder(self) -> Iterator[int]:
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(folder)
            if os.geteuid() == 0 and status.st_uid == 0:
                os.fchown(folder, *self._owner())  # As with the lock: its owner's processes use it later.
            if status.st_uid not in {0, os.geteuid(), self._owner()[0]} or status.st_mode & FOR_OTHERS:
                raise UntrustedFolder(f"{os.path.basename(self.place)} is open to others")
            yield folder
        finally:
            os.close(folder)

    def _owner(self) -> tuple[int, int]:
        status = os.stat(self._database)
        return status.st_uid, status.st_gid


def _write(folder: int, name: str, message: bytes) -> None:
    try:
        pipe = os.open(name, os.O_WRONLY | _OF_OURS, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENXIO:
            # Nobody has it open. Should somebody just be making it, they notice that it is gone.
            os.unlink(name, dir_fd=folder)
        return
    try:
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            os.write(pipe, message)
    finally:
        os.close(pipe)


@contextmanager
def _made(folder: int, owner: tuple[int, int]) -> Iterator[tuple[str, int]]:
    """Make a pipe of this process's own and open it, for writing too, so that it never comes to an end."""
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    os.mkfifo(name, PRIVATE_FILE, dir_fd=folder)
    try:
        pipe = os.open(name, os.O_RDWR | _OF_OURS, dir_fd=folder)
        try:
            if os.geteuid() == 0:
                os.fchown(pipe, *owner)
            yield name, pipe
        finally:
            os.close(pipe)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

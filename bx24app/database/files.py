"""The files of a SQLite database: whoever else has an account on the machine neither reads nor holds them."""

import os
import stat
from pathlib import Path

LOCK_SUFFIX = "-turn"
SUFFIXES = ("", "-wal", "-shm", "-journal", LOCK_SUFFIX)
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
FOR_OTHERS = 0o077
FOR_OTHERS_TO_WRITE = 0o022


def keep_private() -> None:
    """Let this process create files and folders for its own user alone, whatever umask it was started with."""
    os.umask(FOR_OTHERS)


def close_to_others(path: str, own_folder: str) -> list[str]:
    """Take the rights of everybody else from the files of a database; returns which of them had some.

    ``own_folder`` is the one folder that is the app's and nothing else's: its rights are mended too. Never opens a
    file, because closing one would end SQLite's locks on it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    folder = os.path.dirname(path)
    targets = [(f"{path}{suffix}", PRIVATE_FILE) for suffix in SUFFIXES]
    if os.path.realpath(own_folder) == folder:
        targets.append((folder, PRIVATE_FOLDER))
    return [os.path.basename(target) for target, mode in targets if _close(target, mode)]


def _close(path: str, mode: int) -> bool:
    status = _status(path)
    if status is None or stat.S_ISLNK(status.st_mode) or not status.st_mode & FOR_OTHERS:
        return False
    try:
        os.chmod(path, mode)
    except OSError:
        return False  # It belongs to somebody else, or nothing is written there: the doctor says so.
    return True


def examine_files(path: str) -> tuple[str, list[str]]:
    """Say the worst that is wrong with the files of a database as they are now, and which files it concerns.

    ``read_only``: nothing can be made in the folder. ``shared``: others may put files into it. ``lock``: the lock is a
    link, no file or somebody else's, so writers do without it. ``open``: others may read files that we cannot close,
    for they are somebody else's. ``listed``: others may look into the folder. ``ok``.
    """
    folder = os.path.dirname(path)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return "read_only", []
    mode = os.stat(folder).st_mode
    if mode & FOR_OTHERS_TO_WRITE:
        return "shared", []
    present = [(Path(path).name + suffix, status) for suffix in SUFFIXES if (status := _status(path + suffix))]
    locks = [name for name, status in present if name.endswith(LOCK_SUFFIX) and not is_lock_trusted(status, path)]
    if locks:
        return "lock", locks
    if still_open := [name for name, status in present if status.st_mode & FOR_OTHERS]:
        return "open", still_open
    return ("listed" if mode & FOR_OTHERS else "ok"), []


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def open_lock(path: str) -> int | None:
    """Open the lock file of a database, or make it; None where it cannot be trusted or made.

    Like SQLite with its own files, root gives it to the database's owner, whose processes have to open it later.
    """
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(f"{path}{LOCK_SUFFIX}", flags, PRIVATE_FILE)
    except OSError:
        return None
    status = os.fstat(file)
    if not is_lock_trusted(status, path):
        os.close(file)
        return None
    if os.geteuid() == 0 and status.st_uid != (owner := os.stat(path)).st_uid:
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


def is_lock_trusted(status: os.stat_result, path: str) -> bool:
    """Tell whether a lock is a file of ours, of the database's owner or root: others could hold it for ever."""
    return stat.S_ISREG(status.st_mode) and status.st_uid in {0, os.geteuid(), os.stat(path).st_uid}

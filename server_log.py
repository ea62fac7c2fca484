"""gunicorn's own log, without what strangers send.

gunicorn quotes each request that it cannot read, four characters for a byte, and one that fails with its address:
customers' links and numbers, as long and as often as somebody wishes. The proxy's log has the status of each.
"""

import logging
import time
from typing import Any

from gunicorn.glogging import Logger

MAX_TOLD = 1000
UNREADABLE = "Invalid request from ip="
# What follows these words was sent by somebody, and so are the words of an exception that is told with them.
QUOTING = (
    UNREADABLE,
    "Error handling request",
    "Error handling HTTP/2 request",
    "Socket error processing request.",
    "Ignored premature client disconnection.",
)
# How many could not be read is told so often, by each process.
PAUSE_SECONDS = 60.0


class ServerLog(Logger):
    """Logs like its parent, but nothing of a request, and no message longer than ``MAX_TOLD``.

    What keeps a process from starting is told whole: nobody has sent it.
    """

    def setup(self, cfg: Any) -> None:
        """Write where the settings say."""
        super().setup(cfg)
        if not any(isinstance(known, _WithoutRequests) for known in self.error_log.filters):
            self.error_log.addFilter(_WithoutRequests())


class _WithoutRequests(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._unreadable = 0
        self._tells_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        words = next((words for words in QUOTING if str(record.msg).startswith(words)), None)
        if words == UNREADABLE:
            return self._tells_how_many(record)
        if words is not None:
            record.msg, record.args = words, ()
            if record.exc_info and record.exc_info[0]:
                record.exc_text = _place(record.exc_info)
        elif len(text := record.getMessage()) > MAX_TOLD:
            record.msg, record.args = "%s ... (%d characters)", (text[:MAX_TOLD], len(text))
        return True

    def _tells_how_many(self, record: logging.LogRecord) -> bool:
        """Threads may miscount by a few."""
        self._unreadable += 1
        if time.monotonic() < self._tells_at:
            return False
        self._tells_at = time.monotonic() + PAUSE_SECONDS
        record.msg, record.args = "Requests that cannot be read were refused: %d", (self._unreadable,)
        self._unreadable = 0
        return True


def _place(exc_info: Any) -> str:
    """Where an exception comes from, the end of it."""
    from bx24app.log import describe_exception  # noqa: PLC0415  The master, which serves nobody, does not need it.

    return describe_exception(exc_info)[-MAX_TOLD:]

"""Work that a job does for all portals together: a row with which something is wrong ends nothing but itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from bx24app.database.errors import raise_for_all
from bx24app.services.runtime.local_memory import is_remembered, remember

log = structlog.get_logger(__name__)

LEFT_ALONE_SECONDS = 60.0
_LEFT_ALONE = "left_alone"


@contextmanager
def apart(work: str, row: object) -> Iterator[None]:
    """Tell what fails inside, and leave this row of this work alone for a minute (``is_left_alone``).

    What concerns all rows goes on: the database is away, or busy.
    """
    try:
        yield
    except Exception as error:
        raise_for_all(error)
        remember(_LEFT_ALONE, f"{work} {row}", LEFT_ALONE_SECONDS)
        log.exception("row_failed", work=work, row=str(row), reason=type(error).__name__)


def is_left_alone(work: str, row: object) -> bool:
    """Tell whether a row failed a moment ago."""
    return is_remembered(_LEFT_ALONE, f"{work} {row}")

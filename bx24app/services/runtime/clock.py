"""A clock that leaps is not believed at once: by one that was three days ahead for a second every planned call is over.

Work that ends, dials or deletes rests meanwhile. That a clock has leapt is seen by the one that only measures how long
something takes. Which of the two is right can be asked where the database is on PostgreSQL, and has a clock of its own;
beside a file of SQLite there is no other, and whoever sets clocks right is given some time.
"""

import time
from datetime import datetime
from threading import Lock
from typing import cast

import structlog
from flask import current_app
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from bx24app.database import is_postgresql, reading
from bx24app.errors import DatabaseBusy

log = structlog.get_logger(__name__)

WATCH = "bx24app.clock"
# NTP moves a clock by less without a leap. Two clocks that differ so much
# from the database's differ by ``lease.CLOCK_SLACK`` from each other.
LEAP_SECONDS = 60.0
# So long a leap is doubted where nobody can be asked. A machine that has slept has a right clock that leapt.
DOUBTED_SECONDS = 120.0
ASKED_EVERY_SECONDS = 1.0
# A clock may also be wrong from the beginning, or run too fast.
COMPARED_EVERY_SECONDS = 60.0


class ClockWatch:
    """What a process has seen of its clock."""

    def __init__(self) -> None:
        self._lock = Lock()
        # When the clock that measures stood at 0, by the other one; None: nothing has been believed yet.
        self._zero: float | None = None
        # By the one that measures; None: nothing is doubted.
        self._doubted_at: float | None = None
        self._ask_at = 0.0

    def is_doubted(self) -> bool:
        """Tell whether the clock may be wrong; asks the database once a minute, and while it doubts once a second."""
        with self._lock:
            now = time.monotonic()
            zero = time.time() - now
            is_steady = self._zero is not None and abs(zero - self._zero) <= LEAP_SECONDS
            if is_steady and (self._doubted_at is not None or now < self._ask_at):
                self._believe(zero)
                return False
            if self._doubted_at is not None and now < self._ask_at:
                return True
            try:
                difference = self._difference(now, zero)
            except (SQLAlchemyError, DatabaseBusy):
                # A process that begins without a database finds out by whatever it does; a doubt stays one.
                self._ask_at = now + ASKED_EVERY_SECONDS
                return not is_steady and (self._zero is not None or self._doubted_at is not None)
            if difference is None:
                self._believe(zero)
                self._ask_at = now + COMPARED_EVERY_SECONDS
                return False
            if is_steady:
                self._zero = None  # It has not leapt: that it goes on like this proves nothing.
            if self._doubted_at is None:
                self._doubted_at = now
                log.error("clock_doubted", seconds=round(difference))
            self._ask_at = now + ASKED_EVERY_SECONDS
            return True

    def _difference(self, now: float, zero: float) -> float | None:
        """By how many seconds the clock seems to be ahead; None: it is right."""
        if is_postgresql():
            difference = time.time() - _time_of_database()
            return difference if abs(difference) > LEAP_SECONDS else None
        leap = 0.0 if self._zero is None else zero - self._zero
        was_doubted_for = now - (now if self._doubted_at is None else self._doubted_at)
        return leap if abs(leap) > LEAP_SECONDS and was_doubted_for < DOUBTED_SECONDS else None

    def _believe(self, zero: float) -> None:
        if self._doubted_at is not None:
            log.warning("clock_believed", after=round(time.monotonic() - self._doubted_at))
        self._zero, self._doubted_at = zero, None


def _time_of_database() -> float:
    """Its clock, in seconds since the epoch."""
    with reading(single_statement=True) as session:
        found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found.timestamp()


def is_doubted() -> bool:
    """Tell whether this process should wait before it believes its clock."""
    known = current_app.extensions.get(WATCH) or current_app.extensions.setdefault(WATCH, ClockWatch())
    return cast("ClockWatch", known).is_doubted()

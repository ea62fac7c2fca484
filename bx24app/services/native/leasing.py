"""Leasing the next row of a job, so that only one thread does something about it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Select, literal

from bx24app.database import reading, writing
from bx24app.models import utcnow
from bx24app.models.lease import Leased

R = TypeVar("R", bound=Leased)


def lease_first(row: type[R], due: Callable[[datetime], Select[R]], length: timedelta) -> R | None:
    """Lease the first row that is due at a moment, or return None; commits.

    The lease ends by itself when its worker dies.
    """
    # Reading first takes no lock, and most of the time there is nothing to lease.
    with reading() as session:
        if session.scalar(due(utcnow()).with_only_columns(literal(1), maintain_column_froms=True)) is None:
            return None
    with writing() as session:
        now = utcnow()
        found = session.scalar(due(now).with_for_update(of=row, skip_locked=True))
        if found is not None:
            found.lease(now, length)
        return found

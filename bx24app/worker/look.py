"""One look at the database for all jobs: a worker with nothing to do asks nothing else."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import cast

from sqlalchemy import BindParameter, Select, select

from bx24app.database import reading
from bx24app.models import utcnow
from bx24app.models.columns import UTCDateTime
from bx24app.worker.scheduler import AnyJob

# A ring that was lost delays what it told of by so long.
LOOK_SECONDS = 1.0
# A look sees a little more than lies before the next one, so that nothing planned is late.
AHEAD = timedelta(seconds=LOOK_SECONDS + 0.5)


class Look:
    """Asks which of some jobs have something to do; its statement is made once, which takes far longer than to run it.

    So what a job says it is ``due`` for may depend on nothing that changes but the moment.
    """

    def __init__(self, jobs: Sequence[AnyJob]) -> None:
        self._dues = {job.name: job.due for job in jobs if job.due is not None}
        self._offsets: dict[str, timedelta] = {}

    @cached_property
    def _statement(self) -> Select[*tuple[bool, ...]]:
        at = cast("datetime", _Moment(AHEAD, self._offsets))
        return select(*(due(at).exists().label(name) for name, due in self._dues.items()))

    def due_jobs(self) -> set[str]:
        """Name the jobs that have something to do, or will have before the next look."""
        statement, now = self._statement, utcnow()
        moments = {name: now + offset for name, offset in self._offsets.items()}
        with reading(single_statement=True) as session:
            found = session.execute(statement, moments).one()
        return {name for name, is_due in zip(self._dues, found, strict=True) if is_due}


class _Moment(BindParameter[datetime]):
    """A moment so far from now, whenever the statement runs; ``offsets`` is told the name of each that is made."""

    inherit_cache = True

    def __init__(self, offset: timedelta, offsets: dict[str, timedelta]) -> None:
        name = f"at_{offset // timedelta(microseconds=1)}".replace("-", "minus_")
        super().__init__(name, required=True, type_=UTCDateTime())
        self._offset, self._offsets = offset, offsets
        offsets[name] = offset

    def __add__(self, other: timedelta) -> "_Moment":
        return _Moment(self._offset + other, self._offsets)

    def __sub__(self, other: timedelta) -> "_Moment":
        return _Moment(self._offset - other, self._offsets)

"""One look at the database for all jobs: a worker with nothing to do asks nothing else."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import utcnow
from bx24app.worker.scheduler import AnyJob

# A ring that was lost delays what it told of by so long.
LOOK_SECONDS = 1.0
# A look sees a little more than lies before the next one, so that nothing planned is late.
AHEAD = timedelta(seconds=LOOK_SECONDS + 0.5)


def look(jobs: Sequence[AnyJob]) -> set[str]:
    """Name the jobs that have something to do, or will have before the next look; one statement for all of them."""
    at = utcnow() + AHEAD
    questions = [job.due(at).exists().label(job.name) for job in jobs if job.due is not None]
    with reading(single_statement=True) as session:
        found = session.execute(select(*questions)).one()
    return {question.name for question, is_due in zip(questions, found, strict=True) if is_due}

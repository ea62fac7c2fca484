"""Accept a callback: the only way to insert one, for staff, websites and API keys."""

import random
import time
from collections.abc import Callable, Iterator

from bx24app import metrics
from bx24app.database import reading
from bx24app.errors import DatabaseBusy
from bx24app.models import Callback, DecoyRequest
from bx24app.models.ids import new_id
from bx24app.services.callbacks.conditions import Candidate, Obstacle, find_earlier, obstacles
from bx24app.services.callbacks.guarded_write import write
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.local_memory import is_any_remembered, remember

# When two requests meet, the one that lost tries again and then sees what the other has stored: for so many seconds,
# after a pause of so many seconds at most. So nobody is turned away because others came at the same time.
COLLISION_SECONDS, COLLISION_PAUSE = 5.0, 0.03
# For so long what was refused, or is used up, is looked for before anything is written.
LOOKED_FOR_SECONDS = 600.0
_LOOKED_FOR = "refused_candidates"


def accept(make: Callable[[], Candidate]) -> Callback | DecoyRequest | Obstacle:
    """Store a candidate if every condition holds, and wake a worker; commits.

    If a condition does not hold, nothing is stored or taken, and the first such condition is returned as an obstacle.
    If only hidden ones do not hold, the candidate's decoy is stored and returned instead, where it has one.
    ``make`` is called again for every try, outside of transactions. Raises ``IdempotencyKeyReused``, and
    ``DatabaseBusy`` when other requests were faster in every try.
    """
    until = time.monotonic() + COLLISION_SECONDS
    while True:
        candidate = make()
        if candidate.has_money or is_any_remembered(_LOOKED_FOR, _names(candidate)):
            # The same again, or more of what was too much: reading first keeps no other writer waiting. Where there is
            # a budget of money it is looked up here, once all else that its sender may learn holds.
            obstacle = _told_obstacle(candidate)
            if obstacle is not None:
                return obstacle
        stored = write(candidate)
        if candidate.callback.idempotency_key is not None:
            remember(_LOOKED_FOR, _key_name(candidate), LOOKED_FOR_SECONDS)
        if stored is not None:
            if isinstance(stored, Callback):
                metrics.count_accepted(stored.source)
            wakeup.wake(row_id=stored.id)
            return stored
        obstacle = _told_obstacle(candidate)
        if obstacle is not None:
            if obstacle.rate_limit is not None:
                remember(_LOOKED_FOR, obstacle.rate_limit.digest, LOOKED_FOR_SECONDS)
            return obstacle
        if time.monotonic() > until:
            raise DatabaseBusy
        time.sleep(random.uniform(0, COLLISION_PAUSE))  # noqa: S311  It is no secret.


def _told_obstacle(candidate: Candidate) -> Obstacle | None:
    """Find the first condition that does not hold; what a decoy hides is not even looked for, which takes time."""
    with reading() as session:
        return next(obstacles(session, candidate, with_hidden=candidate.decoy is None), None)


def _key_name(candidate: Candidate) -> str:
    return f"{candidate.callback.portal_id} {candidate.callback.idempotency_key}"


def _names(candidate: Candidate) -> Iterator[str]:
    """What a candidate has in common with the next one that is refused like it."""
    if candidate.callback.idempotency_key is not None:
        yield _key_name(candidate)
    yield from (limit.digest for limit in candidate.open_limits)


def earlier_answer(
    portal_id: int, key: str | None, digest: str, former_key: str | None = None
) -> Callback | DecoyRequest | None:
    """Find what the same request under the same key led to before; None: nothing. Raises ``IdempotencyKeyReused``.

    ``former_key``: the key as an earlier version stored it.
    """
    if key is None:
        return None
    with reading() as session:
        return find_earlier(session, portal_id, [key, *filter(None, [former_key])], digest)


def prepare_for_insert(callback: Callback) -> Callback:
    """Set what SQLAlchemy would set on flush, because the guarded write bypasses it.

    That is the id, the version, the state, and the callback id of its decisions. Returns the same callback.
    """
    callback.id, callback.version = new_id(), 1
    callback.accept(callback.created_at)
    for decision in callback.decisions:
        decision.callback_id = callback.id
    return callback

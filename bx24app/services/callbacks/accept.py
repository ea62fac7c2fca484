"""Accept a callback: the only way to insert one, for staff, websites and API keys."""

from collections.abc import Callable

from uuid6 import uuid7

from bx24app.database import reading
from bx24app.errors import NumberInHand
from bx24app.models import Callback, DecoyRequest
from bx24app.services.callbacks.conditions import Candidate, Obstacle, find_earlier, obstacles
from bx24app.services.callbacks.guarded_write import write
from bx24app.services.runtime import wakeup

# When two requests meet, the one that lost tries again and then sees what the other has stored.
COLLISION_TRIES = 5


def accept(make: Callable[[], Candidate]) -> Callback | DecoyRequest | Obstacle:
    """Store a candidate if every condition holds, and wake a worker; commits.

    If a condition does not hold, nothing is stored or taken, and the first such condition is returned as an obstacle.
    If only hidden ones do not hold, the candidate's decoy is stored and returned instead, where it has one.
    ``make`` is called again for every try, outside of transactions. Raises ``IdempotencyKeyReused``, and
    ``NumberInHand`` when other requests were faster in every try.
    """
    for _ in range(COLLISION_TRIES):
        candidate = make()
        stored = write(candidate)
        if stored is not None:
            wakeup.wake()
            return stored
        with reading() as session:
            obstacle = next(obstacles(session, candidate), None)
        if obstacle is not None and not (obstacle.is_hidden and candidate.decoy is not None):
            return obstacle
    raise NumberInHand(None)


def earlier_answer(portal_id: int, key: str | None, digest: str) -> Callback | DecoyRequest | None:
    """Find what the same request under the same key led to before; None: nothing. Raises ``IdempotencyKeyReused``."""
    if key is None:
        return None
    with reading() as session:
        return find_earlier(session, portal_id, key, digest)


def prepare_for_insert(callback: Callback) -> Callback:
    """Set what SQLAlchemy would set on flush, because the guarded write bypasses it.

    That is the id, the version, the state, and the callback id of its decisions. Returns the same callback.
    """
    callback.id, callback.version = uuid7(), 1
    callback.accept(callback.created_at)
    for decision in callback.decisions:
        decision.callback_id = callback.id
    return callback

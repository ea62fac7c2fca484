"""How many reports are read at once: a long period takes seconds, and each one holds a thread."""

from collections.abc import Iterator
from contextlib import contextmanager

from bx24app.errors import RateLimited
from bx24app.services.runtime.slots import Slots

READ_OF_PORTAL, READ_AT_ONCE = 2, 4
ASKED_AGAIN_SECONDS = 2
_turns = Slots[int](READ_OF_PORTAL, READ_AT_ONCE)


@contextmanager
def report_turn(portal_id: int) -> Iterator[None]:
    """Let a report of a portal be read inside; raises ``RateLimited`` where too many are read already."""
    with _turns.hold(portal_id) as is_held:
        if not is_held:
            refusal = RateLimited("list")
            refusal.retry_after = ASKED_AGAIN_SECONDS
            raise refusal
        yield

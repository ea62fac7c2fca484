"""How many reports are read at once: a long period takes seconds, and each one holds a thread."""

from contextlib import AbstractContextManager

from bx24app.services.runtime.slots import Slots, turn

READ_OF_PORTAL, READ_AT_ONCE = 2, 4
_turns = Slots[int](READ_OF_PORTAL, READ_AT_ONCE)


def report_turn(portal_id: int) -> AbstractContextManager[None]:
    """Let a report of a portal be read inside; raises ``RateLimited`` where too many are read already."""
    return turn(_turns, portal_id)

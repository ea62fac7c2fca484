"""Erasing what stands of callbacks in the CRM: their entries outlive them until the cards are clean."""

from sqlalchemy import ColumnElement, select

from bx24app.database import change_many
from bx24app.models import Callback, TimelineEntry, utcnow


def detach_entries(condition: ColumnElement[bool]) -> None:
    """Let what stands of some callbacks be taken away; call it before they are deleted. Commits.

    It is a change, so that a worker who shows one of them in this moment looks again, and finds that it is erased.
    """
    theirs = TimelineEntry.callback_id.in_(select(Callback.id).where(condition))
    changes = TimelineEntry.changes + 1
    values = {"callback_id": None, "due_at": utcnow(), "ended_at": None, "tries": 0, "changes": changes}
    while change_many(TimelineEntry, theirs, values):
        pass

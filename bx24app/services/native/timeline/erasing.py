"""Erasing what stands of callbacks in the CRM: their activities outlive them until the cards are clean."""

from sqlalchemy import ColumnElement, select

from bx24app.database import change_many, reading, writing
from bx24app.models import Callback, TimelineEntry, ToDo, utcnow


def detach_entries(condition: ColumnElement[bool]) -> None:
    """Let what stands of some callbacks be taken away; call it before they are deleted. Commits.

    It is a change, so that a worker who shows one of them in this moment looks again, and finds that it is erased.
    """
    _detach_to_dos(condition)
    theirs = TimelineEntry.callback_id.in_(select(Callback.id).where(condition))
    changes = TimelineEntry.changes + 1
    values = {"callback_id": None, "due_at": utcnow(), "ended_at": None, "tries": 0, "changes": changes}
    while change_many(TimelineEntry, theirs, values):
        pass


def _detach_to_dos(condition: ColumnElement[bool]) -> None:
    """A to-do is an activity as well, completed or not, and goes the way of the others."""
    to_dos = select(ToDo).join(Callback, Callback.id == ToDo.callback_id)
    with reading() as session:
        made = session.scalars(to_dos.where(condition, ToDo.activity_id.is_not(None))).all()
    with writing() as session:
        for one in made:
            activity = {"activity_id": one.activity_id, "entity_type": "", "entity_id": 0}
            session.add(TimelineEntry(portal_id=one.portal_id, origin=one.callback_id, due_at=utcnow(), **activity))

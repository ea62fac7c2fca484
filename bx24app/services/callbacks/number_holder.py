"""The holder of a number: at most one callback of a portal at a time (``uq_callback_in_hand``)."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from bx24app.models import Callback


def number_is_held(portal_id: Any, to_number: Any, callback: type[Callback] = Callback) -> ColumnElement[bool]:
    """Make the condition that ``callback`` holds a number of a portal, both given as values, columns or parameters.

    Pass an alias as ``callback`` where the statement is about other callbacks too.
    """
    return and_(callback.portal_id == portal_id, holds(to_number, callback))


def holds(to_number: Any, callback: type[Callback] = Callback) -> ColumnElement[bool]:
    """Make the condition that ``callback`` holds a number, of whichever portal."""
    return and_(callback.to_number == to_number, callback.holds_number)


def holder_of(session: Session, portal_id: int, to_number: str, other_than: UUID | None = None) -> Callback | None:
    """Find the callback that holds a number, not counting the one with the id ``other_than``; None: nobody holds it."""
    holder = session.scalar(select(Callback).where(number_is_held(portal_id, to_number)))
    return None if holder is None or holder.id == other_than else holder

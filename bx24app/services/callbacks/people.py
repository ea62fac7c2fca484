"""The names of portal users; we know the users who have opened the app."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import User


def read_names(session: Session, portal_id: int, user_ids: Iterable[int | None]) -> dict[int, str]:
    """Read names by user id, inside the caller's transaction; users who never opened the app are left out."""
    wanted = {user_id for user_id in user_ids if user_id is not None}
    if not wanted:
        return {}
    query = select(User.user_id, User.name).where(User.portal_id == portal_id, User.user_id.in_(wanted))
    return dict(session.execute(query).all())


def names_of(portal_id: int, user_ids: Iterable[int | None]) -> dict[int, str]:
    """Read names by user id in a transaction of its own; users who never opened the app are left out."""
    with reading() as session:
        return read_names(session, portal_id, user_ids)

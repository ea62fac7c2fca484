"""The names of the people whom we know by their visits."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import User


def read_names(session: Session, portal_id: int, user_ids: Iterable[int | None]) -> dict[int, str]:
    """Names by the portal's numbers of people; who never opened the app has none."""
    wanted = {user_id for user_id in user_ids if user_id is not None}
    if not wanted:
        return {}
    query = select(User.user_id, User.name).where(User.portal_id == portal_id, User.user_id.in_(wanted))
    return dict(session.execute(query).all())


def names_of(portal_id: int, user_ids: Iterable[int | None]) -> dict[int, str]:
    """The same in a transaction of its own."""
    with reading() as session:
        return read_names(session, portal_id, user_ids)

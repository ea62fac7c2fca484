"""The names of portal users; we know the users who have opened the app."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import User

# Enough to find one who is at work.
MAX_NAMED = 5
# So many are offered where somebody types a name.
MAX_KNOWN = 300


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


def find_user(portal_id: int, user_id: int | None) -> User | None:
    """Read the row of a user; None for one who never opened the app."""
    with reading() as session:
        return session.scalar(select(User).where(User.portal_id == portal_id, User.user_id == user_id))


def administrators(portal_id: int) -> list[str]:
    """Name a few administrators of a portal who have opened the app, whoever did so last first."""
    with reading() as session:
        return read_administrators(session, portal_id)


def read_administrators(session: Session, portal_id: int) -> list[str]:
    """The same inside the caller's transaction."""
    query = select(User.name).where(User.portal_id == portal_id, User.is_administrator)
    return list(session.scalars(query.order_by(User.seen_at.desc()).limit(MAX_NAMED)))


def known_people(portal_id: int) -> list[tuple[int, str]]:
    """People of a portal who have opened the app and are no administrators, whoever did so last first."""
    return _known(User.portal_id == portal_id, ~User.is_administrator)


def everybody_known(portal_id: int) -> list[tuple[int, str]]:
    """People of a portal who have opened the app, administrators among them, whoever did so last first."""
    return _known(User.portal_id == portal_id)


def _known(*conditions: ColumnElement[bool]) -> list[tuple[int, str]]:
    query = select(User.user_id, User.name).where(*conditions)
    with reading() as session:
        return [(id, name) for id, name in session.execute(query.order_by(User.seen_at.desc()).limit(MAX_KNOWN))]

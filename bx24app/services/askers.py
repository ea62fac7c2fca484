"""Who asks for a callback in the portal, and what their request meets: read in one go."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, exists, select

from bx24app.errors import PortalDisconnected
from bx24app.extensions import reading
from bx24app.models import Callback, Portal, User


@dataclass(frozen=True)
class Asker:
    """A member of staff with their portal; ``is_repeated``: the idempotency key came before."""

    portal: Portal
    user: User | None
    is_repeated: bool


# Made once: putting it together costs more than running it.
_LOOK = (
    select(
        Portal,
        User,
        exists().where(Callback.portal_id == bindparam("portal_id"), Callback.idempotency_key == bindparam("key")),
    )
    .outerjoin(User, and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id")))
    .where(Portal.id == bindparam("portal_id"))
)


def look(portal_id: int, user_id: int, key: str | None) -> Asker:
    """Read them; ``user`` is None for somebody who never opened the app. Raises ``PortalDisconnected``."""
    with reading() as session:
        row = session.execute(_LOOK, {"portal_id": portal_id, "user_id": user_id, "key": key}).one_or_none()
    if row is None:
        raise PortalDisconnected
    return Asker(*row)

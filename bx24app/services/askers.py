"""Who asks for a callback in the portal."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select

from bx24app.errors import TicketExpired
from bx24app.extensions import reading
from bx24app.models import Portal, PortalState, User


@dataclass(frozen=True)
class Asker:
    """A member of staff with their portal; ``user`` is None for somebody who never opened the app."""

    portal: Portal
    user: User | None


# Made once: putting it together costs more than running it.
_LOOK = (
    select(Portal, User)
    .outerjoin(User, and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id")))
    .where(Portal.id == bindparam("portal_id"))
)


def look(portal_id: int, user_id: int) -> Asker:
    """Read them; raises ``TicketExpired`` when the portal does not have the app any more."""
    with reading() as session:
        row = session.execute(_LOOK, {"portal_id": portal_id, "user_id": user_id}).one_or_none()
    if row is None or row[0].state == PortalState.UNINSTALLED:
        raise TicketExpired
    return Asker(*row)

"""Who asks for a callback in the portal."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, select

from bx24app.errors import TicketExpired
from bx24app.extensions import reading
from bx24app.models import Portal, PortalState, User
from bx24app.services import remembered


@dataclass(frozen=True)
class Asker:
    """A member of staff with their portal, and what they chose last; ``id`` is None for who never opened the app."""

    portal: Portal
    id: int | None
    line_id: str | None
    voice_id: str | None


# Made once: putting it together costs more than running it.
_LOOK = (
    select(Portal.revision, User.id, User.last_line_id, User.last_voice_id)
    .outerjoin_from(Portal, User, and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id")))
    .where(Portal.id == bindparam("portal_id"))
)


def look(portal_id: int, user_id: int) -> Asker:
    """Read them; raises ``TicketExpired`` when the portal does not have the app any more."""
    with reading() as session:
        known = session.connection().execute(_LOOK, {"portal_id": portal_id, "user_id": user_id}).one_or_none()
        if known is None:
            raise TicketExpired
        revision, *chosen = known
        portal = remembered.recall(("portal", portal_id), (revision,))
        if portal is None:
            portal = session.get_one(Portal, portal_id)
            remembered.keep(("portal", portal_id), (portal.revision,), portal)
    if portal.state == PortalState.UNINSTALLED:
        raise TicketExpired
    return Asker(portal, *chosen)

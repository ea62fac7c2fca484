"""Who asks for a callback in the portal."""

from dataclasses import dataclass

from sqlalchemy import Select, and_, bindparam, select

from bx24app.database import reading
from bx24app.database.compiled import CompiledStatement, compiled_reading
from bx24app.errors import TicketExpired
from bx24app.models import Portal, PortalState, User
from bx24app.services.runtime import row_cache


@dataclass(frozen=True)
class Employee:
    """A member of staff (``user_id`` is the portal's number) with their portal, and what they chose last.

    ``id`` is that of our row, None for somebody who never opened the app.
    """

    portal: Portal
    user_id: int
    id: int | None
    line_id: str | None
    voice_id: str | None


def _look() -> Select[int, int, str | None, str | None]:
    user = and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id"))
    found = select(Portal.revision, User.id, User.last_line_id, User.last_voice_id).outerjoin_from(Portal, User, user)
    return found.where(Portal.id == bindparam("portal_id"))


_LOOK = CompiledStatement(_look)


def load_employee(portal_id: int, user_id: int) -> Employee:
    """Read them; raises ``TicketExpired`` when the portal does not have the app any more."""
    with compiled_reading() as run:
        known = run(_LOOK, {"portal_id": portal_id, "user_id": user_id}).fetchone()
    if known is None:
        raise TicketExpired
    portal = _portal(portal_id, known[0])
    if portal.state == PortalState.UNINSTALLED:
        raise TicketExpired
    return Employee(portal, user_id, *known[1:])


def _portal(portal_id: int, revision: int) -> Portal:
    portal: Portal | None = row_cache.get_cached(("portal", portal_id), (revision,))
    if portal is None:
        with reading() as session:
            portal = session.get_one(Portal, portal_id)
        row_cache.put_cached(("portal", portal_id), (portal.revision,), portal)
    return portal

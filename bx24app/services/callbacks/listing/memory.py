"""How people left the desk, and the filters they have named: what the next opening begins with.

Neither holds what somebody has searched for: a number or a name that was typed is kept nowhere. Both go with their
person, and with the portal.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import undefer

from bx24app.database import reading, writing
from bx24app.errors import LimitReached, NotFound, NotPermitted
from bx24app.models import PortalSetup, SavedFilter, User, utcnow
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role

# Whoever comes back later begins with the first view of their role; filters and columns stay.
VIEW_LASTS = timedelta(hours=12)
MAX_FILTERS = 10


@dataclass(frozen=True)
class LeftDesk:
    """What a page begins with: ``desk`` as it was put, empty at first; ``keeps_view``: the view is still fresh.

    ``setup`` is for administrators: how the portal is set up, None where nothing is kept of it.
    """

    desk: dict[str, Any]
    left_at: datetime | None
    filters: list[SavedFilter]
    setup: PortalSetup | None = None

    @property
    def keeps_view(self) -> bool:
        """Tell whether the view may be shown again at once."""
        return self.left_at is not None and utcnow() - self.left_at <= VIEW_LASTS


def load_left_desk(principal: Principal) -> LeftDesk:
    """Read how somebody left the desk, with their own filters and the shared ones, by name."""
    offered = or_(SavedFilter.owner_id == (principal.row_id or 0), SavedFilter.is_shared)
    filters = select(SavedFilter).where(SavedFilter.portal_id == principal.portal.id, offered)
    user = select(User).options(undefer(User.desk), undefer(User.desk_left_at)).where(User.id == principal.row_id)
    with reading() as session:
        found = session.scalars(user).one_or_none()
        shown = list(session.scalars(filters.order_by(SavedFilter.name, SavedFilter.id)))
        manages = principal.role is Role.ADMINISTRATOR
        setup = session.get(PortalSetup, principal.portal.id) if manages else None
    return LeftDesk((found.desk or {}) if found else {}, found.desk_left_at if found else None, shown, setup)


def keep_desk(principal: Principal, desk: dict[str, Any]) -> None:
    """Keep how somebody leaves the desk; commits. Somebody who never opened the app leaves nothing."""
    with writing(single_statement=True) as session:
        session.execute(update(User).where(User.id == principal.row_id).values(desk=desk, desk_left_at=utcnow()))


def keep_filter(principal: Principal, name: str, wanted: dict[str, Any], *, is_shared: bool) -> SavedFilter:
    """Keep a filter under a name, in the place of one that the person had under the same; commits.

    Raises ``NotPermitted`` where somebody else than an administrator shares it, and ``LimitReached``.
    """
    if principal.row_id is None or (is_shared and principal.role is not Role.ADMINISTRATOR):
        raise NotPermitted
    own = select(SavedFilter).where(SavedFilter.owner_id == principal.row_id)
    try:
        with writing() as session:
            # One at a time for a person, or two at once would pass the limit.
            session.execute(select(User.id).where(User.id == principal.row_id).with_for_update())
            kept = session.scalar(own.where(SavedFilter.name == name))
            if kept is None:
                if session.scalars(select(func.count()).select_from(own.subquery())).one() >= MAX_FILTERS:
                    raise LimitReached("name")
                kept = SavedFilter(portal_id=principal.portal.id, owner_id=principal.row_id, name=name)
                session.add(kept)
            kept.wanted, kept.is_shared = wanted, is_shared
    except IntegrityError:
        # The person was forgotten in this moment.
        raise NotPermitted from None
    return kept


def remove_filter(principal: Principal, filter_id: int) -> None:
    """Remove a filter of one's own, or as an administrator a shared one; commits. Raises ``NotFound``."""
    own = SavedFilter.owner_id == (principal.row_id or 0)
    may = or_(own, SavedFilter.is_shared) if principal.role is Role.ADMINISTRATOR else own
    where = (SavedFilter.id == filter_id, SavedFilter.portal_id == principal.portal.id, may)
    with writing() as session:
        if session.scalar(delete(SavedFilter).where(*where).returning(SavedFilter.id)) is None:
            raise NotFound

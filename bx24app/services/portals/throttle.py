"""How fast a portal is asked, counted as the platform counts it and shared by all processes (docs: limits.md)."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.errors import Overloaded, PortalClosed, RefusedForNow
from bx24app.models import Portal, Throttle, utcnow
from bx24app.models.portals.throttle import ENTERPRISE_LIMIT, LONGEST_PAUSE, STANDARD_LIMIT, RequestLimit

QUERY_LIMIT = "query_limit_exceeded"
OPERATION_TIME = "operation_time_limit"
# The platform counts working time over 10 minutes. If it names no time, part of that is free again sooner.
OPERATION_TIME_PAUSE = timedelta(minutes=2)
CLOSED_PAUSE = timedelta(minutes=10)


def limit_of(portal: Portal) -> RequestLimit | None:
    """Return the portal's request limit; None for an on-premise portal, which has none by default."""
    family = (portal.license_family or "").casefold()
    if family == "selfhosted":
        return None
    return ENTERPRISE_LIMIT if family.startswith("ent") else STANDARD_LIMIT


def lock_throttle(session: Session, portal_id: int) -> Throttle | None:
    """Lock the portal's throttle for a change; None while another worker holds it."""
    return session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update(skip_locked=True))


def count_requests(session: Session, portal_id: int, at: datetime, requests: int) -> None:
    """Count requests that were sent, inside the caller's transaction."""
    pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
    if pace is not None:
        pace.count_requests(at, limit_of(session.get_one(Portal, portal_id)), requests)


def has_spare(session: Session, portal_id: int) -> bool:
    """Tell whether a portal may be asked for something that can wait: half of its pace is for dials and people."""
    pace, limit = session.get(Throttle, portal_id), limit_of(session.get_one(Portal, portal_id))
    if pace is None or limit is None:
        return True
    return pace.room(utcnow(), limit) > limit.size / 2


def pause_as_told(session: Session, portal_id: int, error: RefusedForNow, at: datetime) -> None:
    """Let the portal's dials wait as long as its refusal asks for, inside the caller's transaction."""
    pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
    code = error.foreign_code.casefold()
    if pace is None:
        return
    if code == QUERY_LIMIT:
        pace.mark_full(at, limit_of(session.get_one(Portal, portal_id)))
    elif code == OPERATION_TIME:
        told = pace.operating_reset_at
        known = told is not None and at < told <= at + LONGEST_PAUSE
        pace.wait_until(told if told and known else at + OPERATION_TIME_PAUSE, code)
    elif isinstance(error, Overloaded | PortalClosed):
        pace.wait_until(at + CLOSED_PAUSE, code)
    if error.asked_wait is not None:
        # A portal in a company's own network may stand behind a server that limits requests in its own way.
        pace.wait_until(at + min(error.asked_wait, LONGEST_PAUSE), code)


def note_operating_reset(session: Session, portal_id: int, reset_at: datetime | None) -> None:
    """Keep when the platform will forget the dialling method's working time, as its good answer said."""
    if reset_at is not None:
        pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
        if pace is not None:
            pace.operating_reset_at = reset_at

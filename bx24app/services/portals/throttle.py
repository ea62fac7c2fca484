"""How fast a portal is asked, counted as the platform counts it and shared by all processes (docs: limits.md)."""

import math
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from bx24app.bitrix24.errors import Overloaded, PortalClosed, RefusedForNow
from bx24app.database import reading, writing
from bx24app.errors import RateLimited
from bx24app.models import Portal, Throttle, utcnow
from bx24app.models.lease import is_lasting
from bx24app.models.portals.throttle import ENTERPRISE_LIMIT, LONGEST_PAUSE, STANDARD_LIMIT, RequestLimit
from bx24app.services.runtime.local_limit import LocalLimit, take_local

QUERY_LIMIT = "query_limit_exceeded"
OPERATION_TIME = "operation_time_limit"
# The platform counts working time over 10 minutes. If it names no time, part of that is free again sooner.
OPERATION_TIME_PAUSE = timedelta(minutes=2)
CLOSED_PAUSE = timedelta(minutes=10)
# Questions of one kind, of all people of a portal: they count against the pace of its dials. By each process.
ASKED_BY_PEOPLE = LocalLimit("asked_by_people", 6)


def limit_of(portal: Portal) -> RequestLimit | None:
    """Return the portal's request limit; None for an on-premise portal, which has none by default."""
    family = (portal.license_family or "").casefold()
    if family == "selfhosted":
        return None
    return ENTERPRISE_LIMIT if family.startswith("ent") else STANDARD_LIMIT


def lock_throttle(session: Session, portal_id: int) -> Throttle | None:
    """Lock the portal's throttle for a change; None while another worker holds it."""
    return session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update(skip_locked=True))


def count_requests(
    session: Session, portal_id: int, at: datetime, requests: int, refusal: RefusedForNow | None = None
) -> None:
    """Count requests that were sent, inside the caller's transaction; ``refusal``: how the last of them ended."""
    pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
    if pace is None:
        return
    limit = limit_of(session.get_one(Portal, portal_id))
    pace.count_requests(at, limit, requests)
    if refusal is None:
        pace.note_answer(at)
        return
    pace.note_refusal(at, refusal.asked_wait)
    if refusal.foreign_code.casefold() == QUERY_LIMIT:
        pace.mark_full(at, limit)


def note_refusal(portal_id: int, refusal: RefusedForNow) -> None:
    """Ask the portal nothing for a while that can wait; commits.

    It refused a command of a batch: the request itself was answered, and so was counted as such.
    """
    with writing() as session:
        pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
        if pace is not None:
            pace.note_refusal(utcnow(), refusal.asked_wait)


def take_question(portal_id: int, kind: str) -> None:
    """Count a question to a portal that one of its people has pressed for; raises ``RateLimited``."""
    if not take_local(ASKED_BY_PEOPLE, (portal_id, kind)):
        raise _later()


def require_spare(portal_id: int) -> None:
    """Leave what remains of a portal's pace to dials, jobs, and people who open pages; raises ``RateLimited``.

    Each kind of question has a bound of its own, and one person may ask all of them at once: they end well below what
    jobs need (``without_spare``), or rules and to-dos would wait for as long as somebody asks.
    """
    with reading() as session:
        pace, portal = session.get(Throttle, portal_id), session.get(Portal, portal_id)
    if pace is not None and portal is not None and pace.is_third_full(utcnow(), limit_of(portal)):
        raise _later()


def _later() -> RateLimited:
    refusal = RateLimited("questions")
    refusal.retry_after = math.ceil(ASKED_BY_PEOPLE.seconds / ASKED_BY_PEOPLE.size)
    return refusal


def without_spare(now: datetime) -> Select[int]:
    """Select the portals that are asked for nothing that can wait.

    Half of a portal's pace is for dials and people, and one that has refused a request because of a limit is left
    alone. For all portals at once, as a part of whatever selects what is due: of those that have no spare hundreds may
    have thousands of things that wait.
    """
    told_to_wait = Throttle.paused_for.is_not(None) & is_lasting(Throttle.dial_at, now, LONGEST_PAUSE)
    is_refusing = is_lasting(Throttle.spare_at, now, LONGEST_PAUSE)
    is_half_full = is_lasting(Throttle.half_free_at, now, LONGEST_PAUSE)
    return select(Throttle.portal_id).where(or_(is_refusing, is_half_full, told_to_wait))


def pause_as_told(session: Session, portal_id: int, error: RefusedForNow, at: datetime) -> None:
    """Let the portal's dials wait as long as its refusal asks for, inside the caller's transaction."""
    pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
    code = error.foreign_code.casefold()
    if pace is None:
        return
    pace.note_refusal(at, error.asked_wait)
    if code == QUERY_LIMIT:
        pace.mark_full(at, limit_of(session.get_one(Portal, portal_id)))
    elif code == OPERATION_TIME:
        told = pace.operating_reset_at
        known = told is not None and at < told <= at + LONGEST_PAUSE
        pace.wait(at, told - at if told and known else OPERATION_TIME_PAUSE, code)
    elif isinstance(error, Overloaded | PortalClosed):
        pace.wait(at, CLOSED_PAUSE, code)
    if error.asked_wait is not None:
        # A portal in a company's own network may stand behind a server that limits requests in its own way.
        pace.wait(at, min(error.asked_wait, LONGEST_PAUSE), code)


def look_again(session: Session, portal_id: int) -> bool:
    """Let a portal that rests because all of its calls had to wait do so no longer; tells whether one did.

    A full bucket says so again as soon as it is looked at.
    """
    rests = Throttle.dial_at.is_not(None) & Throttle.paused_for.is_(None)
    ended = update(Throttle).where(Throttle.portal_id == portal_id, rests).values(dial_at=None)
    return session.execute(ended.returning(Throttle.portal_id)).first() is not None


def note_operating_reset(session: Session, portal_id: int, reset_at: datetime | None) -> None:
    """Keep when the platform will forget the dialling method's working time, as its good answer said."""
    if reset_at is not None:
        pace = session.scalar(select(Throttle).where(Throttle.portal_id == portal_id).with_for_update())
        if pace is not None:
            pace.operating_reset_at = reset_at

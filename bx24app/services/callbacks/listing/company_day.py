"""The company's days: in which zone they are counted, and when today begins and ends."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.models import Portal, User, utcnow
from bx24app.services.callbacks.listing.filters import Day
from bx24app.services.calling.business_hours import hours_in_force, is_zone


def company_zone(portal: Portal) -> str:
    """The zone in which a portal's days are counted: that of its hours, else of its first administrator, else UTC."""
    return known_zone(portal) or "UTC"


def known_zone(portal: Portal) -> str | None:
    """The same; None: nobody has a zone."""
    with reading() as session:
        return _read_zone(session, portal)


def read_company_zone(session: Session, portal: Portal) -> str:
    """As ``company_zone``, inside the caller's transaction."""
    return _read_zone(session, portal) or "UTC"


def _read_zone(session: Session, portal: Portal) -> str | None:
    hours = hours_in_force(portal)
    if hours is not None:
        return hours.zone
    zones = select(User.time_zone).where(
        User.portal_id == portal.id, User.is_administrator, User.time_zone.is_not(None)
    )
    found = session.scalar(zones.order_by(User.id).limit(1))
    return found if found and is_zone(found) else None


def hours_of(
    zone: str, since: datetime, until: datetime, weekday: int, hour: int
) -> tuple[tuple[datetime, datetime], ...]:
    """One hour (0 to 23) of a weekday (1 is Monday) in each week between two moments, by the clock of a zone.

    An hour that the clock repeats is two hours long, and one that it skips is not there.
    """
    local, found = ZoneInfo(zone), []
    day, last = since.astimezone(local).date(), until.astimezone(local).date()
    day += timedelta(days=(weekday - day.isoweekday()) % 7)
    while day <= last:
        begin = datetime.combine(day, time(hour), local).astimezone(UTC)
        following = datetime.combine(day, time(), local) + timedelta(hours=hour + 1)
        end = following.astimezone(UTC)
        if begin < end:
            found.append((begin, end))
        day += timedelta(days=7)
    return tuple(found)


def today_of(portal: Portal) -> Day:
    """The company's day, also where the clock changes meanwhile."""
    return today_in(company_zone(portal))


def today_in(zone: str) -> Day:
    """The day of a zone."""
    day = utcnow().astimezone(ZoneInfo(zone)).date()
    return Day(day_begins(day, zone), day_begins(day + timedelta(days=1), zone))


def day_begins(day: date, zone: str) -> datetime:
    """The moment (UTC) at which a day of a zone begins."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)

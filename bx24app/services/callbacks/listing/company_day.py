"""The company's days: in which zone they are counted, and when today begins and ends."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Portal, User, utcnow
from bx24app.services.calling.business_hours import hours_in_force


def company_zone(portal: Portal) -> str:
    """The zone in which a portal's days are counted: that of its hours, else of its first administrator, else UTC."""
    hours = hours_in_force(portal)
    if hours is not None:
        return hours.zone
    zones = select(User.time_zone).where(
        User.portal_id == portal.id, User.is_administrator, User.time_zone.is_not(None)
    )
    with reading() as session:
        found = session.scalars(zones.order_by(User.id)).first()
    return found if found and is_zone(found) else "UTC"


def is_zone(name: str) -> bool:
    """Tell whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def today_of(portal: Portal) -> tuple[datetime, datetime]:
    """The moments (UTC) at which the company's day begins and ends, also where the clock changes meanwhile."""
    zone = ZoneInfo(company_zone(portal))
    day = utcnow().astimezone(zone).date()
    begins, ends = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
    return begins.astimezone(UTC), ends.astimezone(UTC)

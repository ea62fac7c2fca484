"""Waits that are longer than any can be: a process whose clock was wrong has written them, and they end now.

What is worked on in the order in which it is due is found by an index that holds nothing else, and a bound in the query
would have all that waits read at each look. So these are put right where they stand; leases and pauses are not believed
where they are asked for (``models/lease.py``). By a clock that is behind all waits are overlong: no job begins by one
that is doubted (``clock.py``).
"""

from datetime import timedelta

from sqlalchemy import or_, select

from bx24app.database import change_many
from bx24app.models import (
    KeptClick,
    Notification,
    NotifiedPerson,
    Portal,
    RuleRun,
    Throttle,
    TimelineEntry,
    ToDo,
    WebhookDelivery,
    WebsiteRequest,
    utcnow,
)
from bx24app.models.lease import CLOCK_SLACK

# Every back-off is shorter, and so is what a site may ask for.
LONGER_THAN_ANY = timedelta(hours=3)
# Only where a portal is, is asked for so rarely (``new_address.ASK_AGAIN``).
_LONGEST_OF_ADDRESSES = timedelta(days=1)


def end_overlong_waits() -> int:
    """Let be due now what waits longer than it can, and drain what is counted ahead; returns how many rows."""
    now = utcnow()
    ahead, latest, due = now + CLOCK_SLACK, now + LONGER_THAN_ANY, {"due_at": now}
    # Until then no request drains, and a portal stands behind all others.
    ended = change_many(Throttle, Throttle.level_at > ahead, {"level_at": now})
    ended += change_many(Throttle, Throttle.claimed_at > ahead, {"claimed_at": now})
    ended += change_many(Portal, Portal.address_due_at > ahead + _LONGEST_OF_ADDRESSES, {"address_due_at": now})
    ended += change_many(WebsiteRequest, WebsiteRequest.crm_due_at > latest, {"crm_due_at": now})
    ended += change_many(WebhookDelivery, WebhookDelivery.done_at.is_(None) & (WebhookDelivery.due_at > latest), due)
    for model in (KeptClick, RuleRun, TimelineEntry, ToDo):
        ended += change_many(model, model.due_at > latest, due)
    # What nobody has tried to send yet may wait for the company's next opening.
    is_tried = or_(Notification.is_held, Notification.tries > 0, Notification.made_at > ahead)
    ended += change_many(Notification, is_tried & (Notification.due_at > latest), due)
    theirs = (Notification.portal_id == NotifiedPerson.portal_id, Notification.user_id == NotifiedPerson.user_id)
    is_waited_for = select(Notification.id).where(*theirs, Notification.due_at <= now).exists()
    return ended + change_many(NotifiedPerson, (NotifiedPerson.due_at > latest) & is_waited_for, due)

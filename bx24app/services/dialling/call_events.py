"""Telephony events: stored first, then applied; late, doubled and out of order ones change nothing twice."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.events import CallEvent, Event, read_call_event
from bx24app.database import purge, reading, writing
from bx24app.models import Portal, ReceivedEvent, utcnow
from bx24app.services.calling.phone_numbers import digits
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.reconcile import END, INIT, START
from bx24app.services.security import digests

TELEPHONY = frozenset({INIT, START, END})
# Calls that are not ours keep a digest of the number for a day, no more (docs/operating.md).
UNMATCHED_KEPT = timedelta(hours=24)
# And not more of them than this at once, whatever a portal sends.
MAX_UNMATCHED = 5_000


def receive_call_event(portal: Portal, event: Event) -> None:
    """Store a telephony event and apply it; a repeated one changes nothing. Raises ``Malformed``.

    Of calls that cannot be callbacks only the successful end is stored: the customer need not be called any more.
    """
    call = read_call_event(event.fields)
    if call.CALL_TYPE not in (None, telephony.CALLBACK) and not _has_served(event, call):
        return
    row = _row(portal, event, call)
    try:
        with writing() as session:
            session.add(row)
    except IntegrityError:
        return  # The queue delivered it twice.
    if call.CALL_TYPE in (None, telephony.CALLBACK):
        reconcile.reconcile_pending(portal.id, row.call_id)


def _has_served(event: Event, call: CallEvent) -> bool:
    return event.name == END and call.CALL_FAILED_CODE == telephony.SUCCESS and bool(digits(call.PHONE_NUMBER))


def _row(portal: Portal, event: Event, call: CallEvent) -> ReceivedEvent:
    said = "\0".join([event.name, *(f"{key}={value}" for key, value in sorted(event.fields.items()))])
    number = digits(call.PHONE_NUMBER)
    return ReceivedEvent(
        portal_id=portal.id,
        digest=digests.digest("event", f"{portal.member_id}\0{said}"),
        event=event.name,
        call_id=call.CALL_ID,
        call_type=call.CALL_TYPE,
        line_id=call.line_id or None,
        number_digest=digests.digest("number", number) if number else None,
        fields=_kept(call),
    )


def _kept(call: CallEvent) -> dict[str, str | int]:
    """What an event says beyond call, line and number, without anything personal."""
    values = {
        "user_id": call.USER_ID or call.PORTAL_USER_ID,
        "duration": call.CALL_DURATION,
        "cost": None if call.COST is None else str(call.COST),
        "currency": call.COST_CURRENCY or None,
        "code": call.CALL_FAILED_CODE or None,
        "words": call.CALL_FAILED_REASON or None,
        "began_at": _aware(call.CALL_START_DATE),
    }
    return {name: value for name, value in values.items() if value is not None}


def _aware(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def purge_unmatched() -> int:
    """Delete stored events that matched no attempt within a day, or are too many; returns how many."""
    pending = ReceivedEvent.applied_at.is_(None)
    gone = purge(ReceivedEvent, pending & (ReceivedEvent.received_at < utcnow() - UNMATCHED_KEPT))
    with reading() as session:
        floods = session.scalars(
            select(ReceivedEvent.portal_id)
            .where(pending)
            .group_by(ReceivedEvent.portal_id)
            .having(func.count() > MAX_UNMATCHED)
        ).all()
    return gone + sum(_purge_flood(portal_id) for portal_id in floods)


def _purge_flood(portal_id: int) -> int:
    """Delete a portal's events that match nothing, but for the newest."""
    row = aliased(ReceivedEvent)
    newest = select(row.id).where(row.portal_id == portal_id, row.applied_at.is_(None)).order_by(row.id.desc())
    too_old = newest.offset(MAX_UNMATCHED).limit(1).scalar_subquery()
    is_flood = ReceivedEvent.applied_at.is_(None) & (ReceivedEvent.portal_id == portal_id)
    return purge(ReceivedEvent, is_flood & (ReceivedEvent.id <= too_old))

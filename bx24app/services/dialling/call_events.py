"""Telephony events: each is stored first and then applied, so late, repeated or unordered ones do no harm."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from bx24app.bitrix24.events import Event, read_call_event
from bx24app.database import purge, reading, writing
from bx24app.models import Portal, ReceivedEvent, utcnow
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.call_report import CallReport, ReportKind, report_of_event, row_of_report
from bx24app.services.security import digests

TELEPHONY = frozenset({ReportKind.INIT, ReportKind.START, ReportKind.END})
# Calls that are not ours keep a digest of the number for a day, no more (docs/operating.md).
UNMATCHED_KEPT = timedelta(hours=24)
# No more than this many are kept per portal, whatever it sends.
MAX_UNMATCHED = 5_000


def receive_call_event(portal: Portal, event: Event) -> None:
    """Store a telephony event and apply it; a repeated one changes nothing. Raises ``Malformed``.

    Of calls that cannot be callbacks only the successful end is stored: the customer need not be called any more.
    """
    report = report_of_event(event.name, read_call_event(event.fields))
    if not report.may_be_callback and not _has_served(report):
        return
    row = row_of_report(portal.id, report, _digest(portal, event))
    try:
        with writing() as session:
            session.add(row)
    except IntegrityError:
        return  # Bitrix24 has delivered it twice.
    if report.may_be_callback:
        reconcile.reconcile_pending(portal.id, report.call_id)


def _has_served(report: CallReport) -> bool:
    return report.kind == ReportKind.END and report.is_success and report.number_digest is not None


def _digest(portal: Portal, event: Event) -> str:
    """Return the digest that recognises a repeated event."""
    said = [event.name, *(f"{key}={value}" for key, value in sorted(event.fields.items()))]
    return digests.digest("event", "\0".join([portal.member_id, *said]))


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
    """Delete a portal's events that matched no attempt, except the newest ones."""
    row = aliased(ReceivedEvent)
    newest = select(row.id).where(row.portal_id == portal_id, row.applied_at.is_(None)).order_by(row.id.desc())
    too_old = newest.offset(MAX_UNMATCHED).limit(1).scalar_subquery()
    is_flood = ReceivedEvent.applied_at.is_(None) & (ReceivedEvent.portal_id == portal_id)
    return purge(ReceivedEvent, is_flood & (ReceivedEvent.id <= too_old))

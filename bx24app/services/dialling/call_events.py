"""Telephony events: a reason to look, not the truth. Late, repeated, unordered or invented ones do no harm."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24.events import CallEvent, Event, read_call_event
from bx24app.database import purge, reading, writing
from bx24app.database.errors import is_duplicate, is_missing_reference
from bx24app.models import FINAL, Attempt, Callback, Outcome, Portal, ReceivedEvent, utcnow
from bx24app.services.calling.phone_numbers import digits
from bx24app.services.dialling import call_history, reconcile
from bx24app.services.dialling.call_report import CallReport, ReportKind, report_of_event, row_of_report
from bx24app.services.dialling.nameless_attempts import IS_WITHOUT_CALL
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.security import digests

TELEPHONY = frozenset({ReportKind.START, ReportKind.END})
# Calls that are not ours keep a digest of the number for a day, no more (docs/operating.md).
UNMATCHED_KEPT = timedelta(hours=24)
# No more than this many are kept per portal, whatever it sends.
MAX_UNMATCHED = 5_000
# More sayings of one call than an honest portal has, and more calls than begin elsewhere while the app dials.
MAX_PENDING_OF_CALL, MAX_PENDING_STARTS = 3, 200
DIALS_TAKE = timedelta(minutes=2)
# Each end of a call that no attempt of ours has named is a row and a look into the history, of which a process takes so
# many a minute and portal; without its event an end is read a little later.
ENDS_OF_UNKNOWN_CALLS = LocalLimit("ends_of_unknown_calls", 60)
_PENDING = ReceivedEvent.applied_at.is_(None)


def receive_call_event(portal: Portal, event: Event) -> None:
    """Store a telephony event that concerns a callback; a repeated one changes nothing. Raises ``Malformed``.

    What proves an event is known to everybody who ever opened the app. So a start only shows that somebody picked up,
    and an end only makes us read the call history, which says what happened.
    """
    call = read_call_event(event.fields)
    report = report_of_event(event.name, call)
    row, haste = row_of_report(portal.id, report, _digest(portal, event.name, call)), call_history.haste_of(portal.id)
    with reading() as session:
        if not _concerns_callback(session, portal.id, report, f"+{digits(call.PHONE_NUMBER)}"):
            return
        if _is_too_much(session, portal.id, report):
            return
    try:
        with writing() as session:
            # The portal is locked first, as everywhere: its new row holds a part of that lock, and two events of one
            # portal would wait for each other.
            if report.kind == ReportKind.END:
                call_history.hurry(session, portal.id, haste)
            session.add(row)
    except IntegrityError as error:
        if not is_duplicate(error) and not is_missing_reference(error):
            raise
        return  # Bitrix24 has delivered it twice, or the portal was deleted in this moment.
    if report.kind == ReportKind.START:
        reconcile.reconcile_call(portal.id, report.call_id)
    wakeup.wake(wakeup.READ_HISTORY)


def _concerns_callback(session: Session, portal_id: int, report: CallReport, number: str) -> bool:
    """Tell whether an event is about a call of ours that goes on, or may be, or may have served a waiting customer."""
    ours = select(Attempt.outcome).where(Attempt.portal_id == portal_id, Attempt.call_id == report.call_id)
    nameless = select(Attempt.id).where(Attempt.portal_id == portal_id, IS_WITHOUT_CALL)
    is_dialled = nameless.where(Attempt.outcome == Outcome.DIALLING).exists()
    may_be_called = nameless.where(Attempt.number_digest == report.number_digest).exists()
    # In one statement: between two of them an answer that is being recorded may give a nameless attempt its call.
    outcome, is_any_dialled, may_be_ours = session.execute(
        select(ours.limit(1).scalar_subquery(), is_dialled, may_be_called)
    ).one()
    if outcome is not None:
        # Once somebody has picked up, another start says nothing new.
        return outcome == Outcome.STARTED or (outcome == Outcome.ANSWERED and report.kind == ReportKind.END)
    if report.kind == ReportKind.START:
        # The answer that names its call is still on its way.
        return bool(is_any_dialled)
    if not (report.may_be_callback or report.is_success) or _exists(session, _told_by_history(portal_id, report)):
        return False
    waiting = select(Callback.id).where(
        Callback.portal_id == portal_id, Callback.to_number == number, Callback.state.not_in(FINAL)
    )
    return (may_be_ours or _exists(session, waiting)) and take_local(ENDS_OF_UNKNOWN_CALLS, portal_id)


def _is_too_much(session: Session, portal_id: int, report: CallReport) -> bool:
    """Tell whether so much was told of the call, or of calls that the app has not begun, that no portal does so."""
    pending = select(ReceivedEvent.id).where(ReceivedEvent.portal_id == portal_id, _PENDING)
    of_call = pending.where(ReceivedEvent.call_id == report.call_id, ReceivedEvent.event == report.kind)
    if _exists(session, of_call.offset(MAX_PENDING_OF_CALL - 1)):
        return True
    starts = pending.where(
        ReceivedEvent.event == ReportKind.START, ReceivedEvent.received_at > utcnow() - DIALS_TAKE
    ).offset(MAX_PENDING_STARTS - 1)
    return report.kind == ReportKind.START and _exists(session, starts)


def _told_by_history(portal_id: int, report: CallReport) -> Select[int]:
    return select(ReceivedEvent.id).where(
        ReceivedEvent.portal_id == portal_id,
        ReceivedEvent.call_id == report.call_id,
        ReceivedEvent.event == ReportKind.HISTORY,
        _PENDING,
    )


def _exists(session: Session, query: Select[Any]) -> bool:
    return session.scalar(query.limit(1)) is not None


def _digest(portal: Portal, name: str, call: CallEvent) -> str:
    """Return the digest that recognises a repeated event, by what is read of it: all else could be made up anew."""
    said = [f"{field}={value}" for field, value in call]
    return digests.digest("event", "\0".join([portal.member_id, name, *said]))


def purge_unmatched() -> int:
    """Delete stored events that matched no attempt within a day, or are too many; returns how many."""
    gone = purge(ReceivedEvent, _PENDING & (ReceivedEvent.received_at < utcnow() - UNMATCHED_KEPT))
    with reading() as session:
        floods = session.scalars(
            select(ReceivedEvent.portal_id)
            .where(_PENDING)
            .group_by(ReceivedEvent.portal_id)
            .having(func.count() > MAX_UNMATCHED)
        ).all()
    return gone + sum(_purge_flood(portal_id) for portal_id in floods)


def _purge_flood(portal_id: int) -> int:
    """Delete a portal's events that matched no attempt, except the newest ones."""
    row = aliased(ReceivedEvent)
    newest = select(row.id).where(row.portal_id == portal_id, row.applied_at.is_(None)).order_by(row.id.desc())
    too_old = newest.offset(MAX_UNMATCHED).limit(1).scalar_subquery()
    is_flood = _PENDING & (ReceivedEvent.portal_id == portal_id)
    return purge(ReceivedEvent, is_flood & (ReceivedEvent.id <= too_old))

"""Applying call reports to attempts: states only move forward, and each report is applied once.

A report belongs to the attempt that has its call id; one of unknown outcome has none yet (``nameless_attempts``). An
event of a start shows that somebody picked up a call that the portal has named to us; all else is told by the history
(docs/calls.md).
"""

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Select, literal, or_, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import (
    FINAL,
    Attempt,
    Callback,
    IllegalTransition,
    MovedBackwards,
    Outcome,
    Portal,
    ReceivedEvent,
    State,
    utcnow,
)
from bx24app.models.portals.portal import STOPPED_LINE_PAUSE
from bx24app.services.callbacks import retry_policy
from bx24app.services.callbacks.number_holder import keep_waiting, pass_on_unrung
from bx24app.services.callbacks.retry_policy import NextStep
from bx24app.services.dialling.call_report import CallReport, ReportKind, stored_report
from bx24app.services.dialling.nameless_attempts import (
    PENDING,
    attempts_without_call,
    is_any_told_of,
    report_that_fits,
    worth_a_look,
)
from bx24app.services.portals import throttle
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.apart import apart, is_left_alone

log = structlog.get_logger(__name__)

# What is left is applied by the next run: whoever holds a lease on a history meanwhile holds it for seconds.
APPLIED_AT_ONCE = 200
# The end of a call that only an event tells is never applied.
_MAY_BE_APPLIED = PENDING & ReceivedEvent.event.in_((ReportKind.START, ReportKind.HISTORY))


def reconcile_pending(portal_id: int | None = None) -> int:
    """Apply stored reports whose attempt is known by now (all, or of one portal); returns how many."""
    lost = attempts_without_call()
    with reading() as session:
        nameless = session.execute(lost if portal_id is None else lost.where(Attempt.portal_id == portal_id)).all()
    # A settled attempt knows its call: other reports of that call follow by its id.
    settled = 0
    for attempt_id, newest in worth_a_look(nameless):
        with apart("settle", attempt_id):
            event_id = report_that_fits(attempt_id, newest)
            settled += event_id is not None and _apply_one(event_id, attempt_id)
    query = _reports_of_known_calls()
    return settled + _apply_found(query if portal_id is None else query.where(ReceivedEvent.portal_id == portal_id))


def reconcile_call(portal_id: int, call_id: str) -> int:
    """Apply the stored reports of one call that an attempt has named; returns how many."""
    of_call = (ReceivedEvent.portal_id == portal_id, ReceivedEvent.call_id == call_id)
    return _apply_found(_reports_of_known_calls().where(*of_call))


def _apply_found(query: Select[int, int]) -> int:
    with reading() as session:
        found = session.execute(query.limit(APPLIED_AT_ONCE)).all()
    return sum(_apply_apart(event_id, attempt_id) for event_id, attempt_id in found)


def _apply_apart(event_id: int, attempt_id: int) -> bool:
    is_applied = False
    if not is_left_alone("apply", event_id):
        with apart("apply", event_id):
            is_applied = _apply_one(event_id, attempt_id)
    return is_applied


def due_reports(_: datetime) -> Select[int]:
    """Select something where ``reconcile_pending`` may find what it can apply."""
    return select(literal(1)).where(or_(_reports_of_known_calls().exists(), is_any_told_of()))


def _reports_of_known_calls() -> Select[int, int]:
    """Select stored reports and the attempts whose calls they name, oldest first."""
    return (
        select(ReceivedEvent.id, Attempt.id)
        .join(Attempt, (Attempt.portal_id == ReceivedEvent.portal_id) & (Attempt.call_id == ReceivedEvent.call_id))
        .where(_MAY_BE_APPLIED)
        .order_by(ReceivedEvent.id)
    )


def _apply_one(event_id: int, attempt_id: int) -> bool:
    """Apply one report in a transaction of its own.

    The callback is locked before the event, here and where an answer is recorded: the other order would deadlock.
    """
    with writing() as session:
        found = session.scalar(select(Attempt.callback_id).where(Attempt.id == attempt_id))
        callback = session.get(Callback, found, with_for_update=True) if found else None
        row = session.get(ReceivedEvent, event_id, with_for_update=True)
        if callback is None or row is None or row.applied_at is not None:
            return False
        _apply(session, row, callback, session.get_one(Attempt, attempt_id))
        is_awaited = not callback.holds_number and throttle.look_again(session, callback.portal_id)
    update_line(attempt_id)
    if is_awaited:
        wakeup.wake()
    return True


def reconcile_attempt(session: Session, callback: Callback, attempt: Attempt) -> None:
    """Apply the reports that came before the answer which named their call, inside the caller's transaction.

    The caller has locked the callback.
    """
    session.flush()
    rows = session.scalars(
        select(ReceivedEvent)
        .where(_MAY_BE_APPLIED, ReceivedEvent.portal_id == callback.portal_id)
        .where(ReceivedEvent.call_id == attempt.call_id)
        .order_by(ReceivedEvent.id)
        .with_for_update()
    )
    for row in rows:
        _apply(session, row, callback, attempt)


@dataclass(frozen=True)
class _AppliedReport:
    """One report to apply to its attempt; ``callback`` is None where it must not move the callback any more."""

    session: Session
    callback: Callback | None
    attempt: Attempt
    report: CallReport
    now: datetime


def _apply(session: Session, row: ReceivedEvent, callback: Callback, attempt: Attempt) -> None:
    """Move attempt and callback forward as far as the report says; one that says nothing new moves nothing."""
    now, report = utcnow(), stored_report(row)
    row.apply_to(attempt.id, now)
    attempt.call_id = report.call_id
    callback.count_again()
    moved = callback if _may_move(callback, attempt, report) else None
    try:
        _MOVES[report.kind](_AppliedReport(session, moved, attempt, report, now))
    except (MovedBackwards, IllegalTransition):
        return
    callback.decide("event_applied", now, event=report.kind, attempt=attempt.number)


def _may_move(callback: Callback, attempt: Attempt, report: CallReport) -> bool:
    if callback.attempts[-1].id != attempt.id:
        return False
    # A person's decision about an unknown outcome stands, but a report may correct a refusal that we do not list.
    if callback.state in FINAL and not (callback.state == State.FAILED and callback.reason == "portal_refused"):
        return False
    return report.kind == ReportKind.HISTORY or callback.state == State.STARTED


def _answered(applied: _AppliedReport) -> None:
    if applied.callback is not None:
        applied.callback.answer(applied.attempt, applied.report.user_id, applied.now)
    else:
        applied.attempt.answer(applied.report.user_id, applied.now)


def _ended(applied: _AppliedReport) -> None:
    callback, attempt, report = applied.callback, applied.attempt, applied.report
    _fill(attempt, report)
    if report.is_success:
        attempt.end(Outcome.COMPLETED, applied.now, None, None)
        if callback is not None:
            callback.complete(applied.now)
            pass_on_unrung(applied.session, callback, applied.now)
        return
    attempt.end(Outcome.MISSED, applied.now, report.failed_code, report.failed_reason)
    if callback is None:
        return
    if callback.state == State.FAILED:
        callback.miss(applied.now, retry_policy.code_reason(report.failed_code), report.failed_reason)
    elif callback.state != State.QUEUED:
        retry_policy.after_miss(applied.session, callback, attempt, report.failed_reason, applied.now)
        if callback.state == State.SCHEDULED:
            keep_waiting(applied.session, callback, applied.now)
    if callback.state == State.MISSED:
        # Whoever asked after the call, and before its end was read, was told that they would be called.
        pass_on_unrung(applied.session, callback, applied.now)
    # A callback that a person sent back to the queue stays there, because the customer was not reached.


def _fill(attempt: Attempt, report: CallReport) -> None:
    """Store what the portal's history adds, such as the cost, which arrives after the call."""
    if report.duration_seconds is not None:
        attempt.duration_seconds = report.duration_seconds
    if report.cost is not None:
        attempt.cost, attempt.cost_currency = report.cost, report.currency
    # Before the history has told of the end only an event has named somebody, who may be anybody.
    if report.user_id is not None or attempt.ended_at is None:
        attempt.answered_by = report.user_id
    if report.activity_id:
        attempt.activity_id = report.activity_id


_MOVES = {ReportKind.START: _answered, ReportKind.HISTORY: _ended}


def update_line(attempt_id: int) -> None:
    """Stop or resume a line when the end of an attempt shows that it has no money, or has money again."""
    with reading() as session:
        attempt = session.get(Attempt, attempt_id)
        portal = session.get(Portal, attempt.portal_id) if attempt else None
    if attempt is None or portal is None or attempt.ended_at is None:
        return
    stops = retry_policy.next_step(attempt.failed_code or "") == NextStep.STOP_LINE
    resumes = attempt.outcome == Outcome.COMPLETED and attempt.line_id in portal.stopped_lines
    if not (stops or resumes):
        return
    with writing() as session:
        portal = session.get_one(Portal, attempt.portal_id, with_for_update=True)
        if stops:
            portal.stop_line(attempt.line_id, attempt.ended_at + STOPPED_LINE_PAUSE)
            log.warning("line_stopped", member_id=portal.member_id, line=attempt.line_id)
        else:
            portal.resume_line(attempt.line_id)

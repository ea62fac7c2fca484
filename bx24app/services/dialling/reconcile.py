"""Applying call reports to attempts: states only move forward, and each report is applied once.

A report belongs to the attempt that has its call id. An attempt of unknown outcome has no call id yet. It is matched by
line and number, if its row of the history is later than the attempt and exactly one call fits. If several fit, a person
decides. An event of a start shows that somebody picked up a call that the portal has named to us; all else is told by
the history (docs/calls.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVarTuple
from uuid import UUID

import structlog
from sqlalchemy import Select, literal, or_, select, text
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24 import telephony
from bx24app.database import reading, writing
from bx24app.models import (
    FINAL,
    RESTORED,
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
from bx24app.services.callbacks import retry_policy
from bx24app.services.callbacks.retry_policy import NextStep
from bx24app.services.dialling.call_report import CallReport, ReportKind, stored_report

log = structlog.get_logger(__name__)

CLOCK_SKEW = timedelta(minutes=2)
# A call begins during its request or soon after, but a report of it may come much later.
BEGINS_WITHIN = timedelta(minutes=10)
MAY_BE_LATE = timedelta(hours=24)
# A line without money is tried again after this time, or when an administrator resumes it.
STOPPED_LINE_PAUSE = timedelta(hours=1)
_PENDING = ReceivedEvent.applied_at.is_(None)
_IS_TOLD_BY_HISTORY = ReceivedEvent.event == ReportKind.HISTORY
# The end of a call that only an event tells is never applied.
_MAY_BE_APPLIED = _PENDING & ReceivedEvent.event.in_((ReportKind.START, ReportKind.HISTORY))
# Written out, so that every plan can use the index over these few attempts.
IS_WITHOUT_CALL = text("attempt.outcome IN ('dialling', 'unknown')")
Ts = TypeVarTuple("Ts")


def reconcile_pending(portal_id: int | None = None, call_id: str | None = None) -> int:
    """Apply stored reports whose attempt is known by now (all, or of one portal or call); returns how many."""
    with reading() as session:
        nameless = session.scalars(_narrowed(_attempts_without_call(), portal_id, call_id)).all()
    # A settled attempt knows its call: other reports of that call follow by its id.
    settled = sum(_settle(attempt_id) for attempt_id in sorted(set(nameless)))
    with reading() as session:
        found = session.execute(_narrowed(_reports_of_known_calls(), portal_id, call_id)).all()
    return settled + sum(_apply_one(event_id, attempt_id) for event_id, attempt_id in found)


def due_reports(_: datetime) -> Select[int]:
    """Select something where ``reconcile_pending`` may find what it can apply."""
    known, nameless = _reports_of_known_calls().exists(), _attempts_without_call().exists()
    return select(literal(1)).where(or_(known, nameless))


def _reports_of_known_calls() -> Select[int, int]:
    """Select stored reports and the attempts whose calls they name, oldest first."""
    return (
        select(ReceivedEvent.id, Attempt.id)
        .join(Attempt, (Attempt.portal_id == ReceivedEvent.portal_id) & (Attempt.call_id == ReceivedEvent.call_id))
        .where(_MAY_BE_APPLIED)
        .order_by(ReceivedEvent.id)
    )


def _attempts_without_call() -> Select[int]:
    """Select attempts of unknown outcome that a row of the history may be about."""
    return (
        select(Attempt.id)
        .join(
            ReceivedEvent,
            (Attempt.portal_id == ReceivedEvent.portal_id) & (Attempt.number_digest == ReceivedEvent.number_digest),
        )
        .where(_PENDING, _IS_TOLD_BY_HISTORY, ReceivedEvent.call_type == telephony.CALLBACK)
        .where(IS_WITHOUT_CALL, Attempt.outcome == Outcome.UNKNOWN)
    )


def _narrowed(query: Select[*Ts], portal_id: int | None, call_id: str | None) -> Select[*Ts]:
    if portal_id is not None:
        query = query.where(ReceivedEvent.portal_id == portal_id)
    return query if call_id is None else query.where(ReceivedEvent.call_id == call_id)


def _settle(attempt_id: int) -> int:
    """Apply reports to an attempt of unknown outcome if exactly one call fits it; returns 1 if so, else 0."""
    with reading() as session:
        attempt = session.get_one(Attempt, attempt_id)
        is_restored = session.get_one(Callback, attempt.callback_id).reason == RESTORED
        candidates = [row for row in _candidates(session, attempt) if _fits(row, attempt, is_restored=is_restored)]
        rivals = session.scalars(_rivals(attempt)).all()
    calls = {row.call_id for row in candidates}
    # While another attempt is being dialled, its answer may name the call in a moment.
    if not calls or Outcome.DIALLING in rivals:
        return 0
    if len(calls) == 1 and not rivals:
        return int(_apply_one(candidates[0].id, attempt_id))
    _ask_about(attempt.callback_id, len(calls), len(rivals) + 1)
    return 0


def _candidates(session: Session, attempt: Attempt) -> Sequence[ReceivedEvent]:
    """Return rows of the history with the attempt's number and line whose call belongs to no other attempt."""
    other = aliased(Attempt)
    of_another = select(other.id).where(
        other.portal_id == ReceivedEvent.portal_id, other.call_id == ReceivedEvent.call_id
    )
    query = select(ReceivedEvent).where(
        _PENDING,
        _IS_TOLD_BY_HISTORY,
        ReceivedEvent.portal_id == attempt.portal_id,
        ReceivedEvent.number_digest == attempt.number_digest,
        ReceivedEvent.call_type == telephony.CALLBACK,
        ReceivedEvent.line_id.is_(None) | (ReceivedEvent.line_id == attempt.line_id),
        ~of_another.exists(),
    )
    return session.scalars(query.order_by(ReceivedEvent.id)).all()


def _rivals(attempt: Attempt) -> Select[str]:
    """Select the outcomes of other attempts that the same reports may fit."""
    return select(Attempt.outcome).where(
        IS_WITHOUT_CALL,
        Attempt.portal_id == attempt.portal_id,
        Attempt.number_digest == attempt.number_digest,
        Attempt.line_id == attempt.line_id,
        Attempt.started_at > attempt.started_at - MAY_BE_LATE,
        Attempt.id != attempt.id,
    )


def _fits(row: ReceivedEvent, attempt: Attempt, *, is_restored: bool) -> bool:
    """Tell whether a row of the history can be about the call that the attempt began.

    Of what was restored nobody knows when it was dialled: any call since the backup can be the one.
    """
    report = stored_report(row)
    if report.began_at is not None:
        after = report.began_at - attempt.started_at
        if after < -CLOCK_SKEW or (after > BEGINS_WITHIN and not is_restored):
            return False
    if attempt.history_cursor is not None:
        return (report.history_id or 0) > attempt.history_cursor
    # Without a time we cannot tell whether the row is older than the attempt.
    return report.began_at is not None


def _ask_about(callback_id: UUID, calls: int, attempts: int) -> None:
    with writing() as session:
        callback = session.get(Callback, callback_id, with_for_update=True)
        if callback is not None and callback.state == State.UNKNOWN and callback.asks_since is None:
            now = utcnow()
            callback.ask_person(now)
            callback.decide("ambiguous", now, calls=calls, attempts=attempts)


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
    update_line(attempt_id)
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
        return
    attempt.end(Outcome.MISSED, applied.now, report.failed_code, report.failed_reason)
    if callback is None:
        return
    if callback.state == State.FAILED:
        callback.miss(applied.now, retry_policy.code_reason(report.failed_code), report.failed_reason)
    elif callback.state != State.QUEUED:
        retry_policy.after_miss(applied.session, callback, attempt, report.failed_reason, applied.now)
    # A callback that a person sent back to the queue stays there, because the customer was not reached.


def _fill(attempt: Attempt, report: CallReport) -> None:
    """Store what this report adds, such as the cost, which arrives after the call."""
    if report.duration_seconds is not None:
        attempt.duration_seconds = report.duration_seconds
    if report.cost is not None:
        attempt.cost, attempt.cost_currency = report.cost, report.currency
    if report.user_id is not None:
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

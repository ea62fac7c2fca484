"""Applying what a portal tells of calls, by events or by its history: only ever forward, and each word once.

A word belongs to the attempt whose call it names. An attempt whose outcome is not known has no call yet: then line
and number decide, if the word came after the fence and speaks of one call only. Two candidates: a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVarTuple

import structlog
from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24 import telephony
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
from bx24app.services.callbacks import retry_policy
from bx24app.services.callbacks.retry_policy import NextStep

log = structlog.get_logger(__name__)

INIT, START, END = "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND"
HISTORY = "HISTORY"
CLOCK_SKEW = timedelta(minutes=2)
# A call begins while its request is under way, or soon after; what is said of it may come much later.
BEGINS_WITHIN = timedelta(minutes=10)
MAY_BE_LATE = timedelta(hours=24)
# A line without money is tried again after this, or when an administrator says so.
STOPPED_LINE_PAUSE = timedelta(hours=1)
_PENDING = ReceivedEvent.applied_at.is_(None)
# Written out, so that every plan can use the index over these few attempts.
_IS_WITHOUT_CALL = text("attempt.outcome IN ('dialling', 'unknown')")
Ts = TypeVarTuple("Ts")


def reconcile_pending(portal_id: int | None = None, call_id: str | None = None) -> int:
    """Apply stored words whose attempt is known by now (all, or of one portal or call); returns how many."""
    with reading() as session:
        nameless = session.scalars(_narrowed(_attempts_without_call(), portal_id, call_id)).all()
    # A settled attempt knows its call: what else was said of that call follows by name.
    settled = sum(_settle(attempt_id) for attempt_id in sorted(set(nameless)))
    named = (
        select(ReceivedEvent.id, Attempt.id)
        .join(Attempt, (Attempt.portal_id == ReceivedEvent.portal_id) & (Attempt.call_id == ReceivedEvent.call_id))
        .where(_PENDING)
        .order_by(ReceivedEvent.id)
    )
    with reading() as session:
        found = session.execute(_narrowed(named, portal_id, call_id)).all()
    return settled + sum(_apply_one(event_id, attempt_id) for event_id, attempt_id in found)


def _attempts_without_call() -> Select[int]:
    """Lost attempts of which something may have been said."""
    return (
        select(Attempt.id)
        .join(
            ReceivedEvent,
            (Attempt.portal_id == ReceivedEvent.portal_id) & (Attempt.number_digest == ReceivedEvent.number_digest),
        )
        .where(_PENDING, ReceivedEvent.call_type == telephony.CALLBACK)
        .where(_IS_WITHOUT_CALL, Attempt.outcome == Outcome.UNKNOWN)
    )


def _narrowed(query: Select[*Ts], portal_id: int | None, call_id: str | None) -> Select[*Ts]:
    if portal_id is not None:
        query = query.where(ReceivedEvent.portal_id == portal_id)
    return query if call_id is None else query.where(ReceivedEvent.call_id == call_id)


def _settle(attempt_id: int) -> int:
    """Decide whether one call, and no other, can be a lost attempt's own; returns how many words were applied."""
    with reading() as session:
        attempt = session.get_one(Attempt, attempt_id)
        candidates = [event for event in _candidates(session, attempt) if _fits(event, attempt)]
        rivals = session.scalars(_rivals(attempt)).all()
    calls = {event.call_id for event in candidates}
    # While another attempt is being dialled, its answer may name the call in a moment.
    if not calls or Outcome.DIALLING in rivals:
        return 0
    if len(calls) == 1 and not rivals:
        return int(_apply_one(candidates[0].id, attempt_id))
    _ask_about(attempt.callback_id, len(calls), len(rivals) + 1)
    return 0


def _candidates(session: Session, attempt: Attempt) -> Sequence[ReceivedEvent]:
    """What is said of calls with the attempt's number and line that are nobody else's."""
    other = aliased(Attempt)
    anothers = select(other.id).where(
        other.portal_id == ReceivedEvent.portal_id, other.call_id == ReceivedEvent.call_id
    )
    query = select(ReceivedEvent).where(
        _PENDING,
        ReceivedEvent.portal_id == attempt.portal_id,
        ReceivedEvent.number_digest == attempt.number_digest,
        ReceivedEvent.call_type == telephony.CALLBACK,
        ReceivedEvent.line_id.is_(None) | (ReceivedEvent.line_id == attempt.line_id),
        ~anothers.exists(),
    )
    return session.scalars(query.order_by(ReceivedEvent.id)).all()


def _rivals(attempt: Attempt) -> Select[str]:
    """How far other attempts are that the same words would fit."""
    return select(Attempt.outcome).where(
        _IS_WITHOUT_CALL,
        Attempt.portal_id == attempt.portal_id,
        Attempt.number_digest == attempt.number_digest,
        Attempt.line_id == attempt.line_id,
        Attempt.started_at > attempt.started_at - MAY_BE_LATE,
        Attempt.id != attempt.id,
    )


def _fits(event: ReceivedEvent, attempt: Attempt) -> bool:
    """Whether the word can speak of a call that the attempt began."""
    told, row_id = event.fields.get("began_at"), event.fields.get("row")
    if told is not None:
        early = datetime.fromisoformat(told) - attempt.started_at
        if not -CLOCK_SKEW <= early <= BEGINS_WITHIN:
            return False
    if row_id is not None and attempt.history_cursor is not None:
        return bool(row_id > attempt.history_cursor)
    if row_id is not None:
        # Nothing tells whether a row without a comparable time came before.
        return told is not None
    return -CLOCK_SKEW <= event.received_at - attempt.started_at <= MAY_BE_LATE


def _ask_about(callback_id: Any, calls: int, attempts: int) -> None:
    with writing() as session:
        callback = session.get(Callback, callback_id, with_for_update=True)
        if callback is not None and callback.state == State.UNKNOWN and callback.asks_since is None:
            now = utcnow()
            callback.ask_person(now)
            callback.decide("ambiguous", now, calls=calls, attempts=attempts)


def _apply_one(event_id: int, attempt_id: int) -> bool:
    """Apply one word in a transaction of its own.

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
    """Apply what came before the answer which named its call, inside the caller's transaction.

    The caller has locked the callback.
    """
    session.flush()
    rows = session.scalars(
        select(ReceivedEvent)
        .where(_PENDING, ReceivedEvent.portal_id == callback.portal_id, ReceivedEvent.call_id == attempt.call_id)
        .order_by(ReceivedEvent.id)
        .with_for_update()
    )
    for row in rows:
        _apply(session, row, callback, attempt)


@dataclass(frozen=True)
class _Report:
    """One word about an attempt; ``callback`` is None where it must not move the callback any more."""

    session: Session
    callback: Callback | None
    attempt: Attempt
    call_id: str
    fields: Mapping[str, Any]
    now: datetime


def _apply(session: Session, row: ReceivedEvent, callback: Callback, attempt: Attempt) -> None:
    """Move attempt and callback forward as far as the word says; one that says nothing new moves nothing."""
    now = utcnow()
    row.apply_to(attempt.id, now)
    attempt.call_id = row.call_id
    moved = callback if _may_move(session, callback, attempt, row.event) else None
    try:
        _MOVES[row.event](_Report(session, moved, attempt, row.call_id, row.fields, now))
    except (MovedBackwards, IllegalTransition):
        return
    callback.decide("event_applied", now, event=row.event, attempt=attempt.number)


def _may_move(session: Session, callback: Callback, attempt: Attempt, event: str) -> bool:
    if callback.attempts[-1].id != attempt.id:
        return False
    # A person's word about an unknown outcome stands; the portal's unlisted refusal may be overturned.
    if callback.state in FINAL and not (callback.state == State.FAILED and callback.reason == "portal_refused"):
        return False
    return event in (END, HISTORY) or _number_is_free(session, callback)


def _number_is_free(session: Session, callback: Callback) -> bool:
    """Whether taking the number in hand again would collide with a newer callback for it."""
    if callback.holds_number:
        return True
    other = select(Callback.id).where(
        Callback.portal_id == callback.portal_id,
        Callback.to_number == callback.to_number,
        Callback.holds_number,
        Callback.id != callback.id,
    )
    return session.scalar(other.limit(1)) is None


def _initiated(word: _Report) -> None:
    if word.callback is not None:
        word.callback.start(word.attempt, word.call_id, word.now)
    else:
        word.attempt.start(word.call_id)


def _answered(word: _Report) -> None:
    user_id = word.fields.get("user_id")
    if word.callback is not None:
        word.callback.answer(word.attempt, user_id, word.now)
    else:
        word.attempt.answer(user_id, word.now)


def _ended(word: _Report) -> None:
    _fill(word.attempt, word.fields)
    code, words = str(word.fields.get("code") or ""), word.fields.get("words")
    succeeded = code == telephony.SUCCESS
    outcome = Outcome.COMPLETED if succeeded else Outcome.MISSED
    word.attempt.end(outcome, word.now, None if succeeded else code or None, None if succeeded else words)
    if word.callback is None:
        return
    if succeeded:
        word.callback.complete(word.now)
    elif word.callback.state == State.FAILED:
        word.callback.miss(word.now, f"code_{code.lower().replace('-', '_') or 'other'}", words)
    elif word.callback.state != State.QUEUED:
        retry_policy.after_miss(word.session, word.callback, word.attempt, words, word.now)
    # One that a person has sent to be dialled again goes on: the customer was not reached.


def _fill(attempt: Attempt, fields: Mapping[str, Any]) -> None:
    """Keep what a later word knows better: the cost arrives after the call."""
    if fields.get("duration") is not None:
        attempt.duration_seconds = fields["duration"]
    if fields.get("cost") is not None:
        attempt.cost, attempt.cost_currency = Decimal(fields["cost"]), fields.get("currency")
    attempt.answered_by = attempt.answered_by or fields.get("user_id")


_MOVES = {INIT: _initiated, START: _answered, END: _ended, HISTORY: _ended}


def update_line(attempt_id: int) -> None:
    """What the end of an attempt says about its line: no money any more, or some again."""
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

"""Telephony events: stored first, then applied; late, doubled and out of order ones change nothing twice."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.payloads import CallEvent, Event, read_call_event
from bx24app.extensions import reading, writing
from bx24app.models import (
    FINAL,
    IN_HAND,
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
from bx24app.services import digests
from bx24app.services.numbers import digits

log = structlog.get_logger(__name__)

INIT, START, END = "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND"
TELEPHONY = frozenset({INIT, START, END})
# Events of calls that are not ours keep a digest of the number for a day, no more (design.md, section 4).
KEEP_STRANGERS = timedelta(hours=24)
CLOCK_SKEW = timedelta(seconds=10)


def receive(portal: Portal, event: Event) -> None:
    """Store a telephony event and apply it; a repeated one changes nothing. Raises ``Malformed``.

    Calls that cannot be callbacks are not stored at all.
    """
    call = read_call_event(event.fields)
    if call.CALL_TYPE not in (None, telephony.CALLBACK):
        return
    row = _row(portal, event, call)
    try:
        with writing() as session:
            session.add(row)
    except IntegrityError:
        return  # The queue delivered it twice.
    apply_pending(portal.id, row.call_id)


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


def apply_pending(portal_id: int | None = None, call_id: str | None = None) -> int:
    """Apply stored events whose attempt is known by now (all, or those of one call); returns how many."""
    digests.digest("number", "")  # Makes the key, if need be, before a transaction opens.
    query = select(ReceivedEvent).where(ReceivedEvent.applied_at.is_(None)).order_by(ReceivedEvent.id)
    if portal_id is not None:
        query = query.where(ReceivedEvent.portal_id == portal_id, ReceivedEvent.call_id == call_id)
    with reading() as session:
        found = [(row, _attempt_of(session, row)) for row in session.scalars(query)]
    return sum(_apply_one(row.id, attempt) for row, attempt in found if attempt is not None)


def _apply_one(event_id: int, attempt: Attempt) -> bool:
    """Apply one event in a transaction of its own.

    The callback is locked before the event, here and where an answer is recorded: the other order would deadlock.
    """
    with writing() as session:
        callback = session.get(Callback, attempt.callback_id, with_for_update=True)
        row = session.get(ReceivedEvent, event_id, with_for_update=True)
        if callback is None or row is None or row.applied_at is not None:
            return False
        _apply(session, row, callback, session.get_one(Attempt, attempt.id))
    return True


def apply_stored(session: Session, callback: Callback, attempt: Attempt) -> None:
    """Apply the events that came before the answer which named their call, inside the caller's transaction.

    The caller has locked the callback.
    """
    session.flush()
    rows = session.scalars(
        select(ReceivedEvent)
        .where(
            ReceivedEvent.portal_id == callback.portal_id,
            ReceivedEvent.call_id == attempt.call_id,
            ReceivedEvent.applied_at.is_(None),
        )
        .order_by(ReceivedEvent.id)
        .with_for_update()
    )
    for row in rows:
        _apply(session, row, callback, attempt)


def _attempt_of(session: Session, row: ReceivedEvent) -> Attempt | None:
    """The attempt that an event speaks of: by its call, else the only lost one with that line and number.

    While another of them is being dialled the event may be its: the answer will tell.
    """
    by_call = session.scalar(select(Attempt).where(Attempt.portal_id == row.portal_id, Attempt.call_id == row.call_id))
    if by_call is not None or row.call_type != telephony.CALLBACK or row.number_digest is None:
        return by_call
    lost = session.scalars(
        select(Attempt).where(
            Attempt.portal_id == row.portal_id,
            Attempt.outcome.in_((Outcome.UNKNOWN, Outcome.DIALLING)),
            Attempt.call_id.is_(None),
            Attempt.started_at <= row.received_at + CLOCK_SKEW,
        )
    ).all()
    candidates = [
        attempt
        for attempt in lost
        if row.number_digest == digests.digest("number", digits(attempt.to_number))
        and row.line_id in (None, attempt.line_id)
    ]
    return candidates[0] if len(candidates) == 1 and candidates[0].outcome == Outcome.UNKNOWN else None


def _apply(session: Session, row: ReceivedEvent, callback: Callback, attempt: Attempt) -> None:
    """Move attempt and callback forward as far as the event says; one that says nothing new moves nothing."""
    now = utcnow()
    row.apply_to(attempt.id, now)
    attempt.call_id = row.call_id
    moves = _moves(callback) if _is_latest(session, callback, attempt) else False
    try:
        _MOVES[row.event](callback if moves else None, attempt, row.fields, now)
    except (MovedBackwards, IllegalTransition):
        return
    callback.decide("event_applied", now, event=row.event, attempt=attempt.number)


def _is_latest(session: Session, callback: Callback, attempt: Attempt) -> bool:
    return callback.attempts[-1].id == attempt.id and _number_is_free(session, callback)


def _number_is_free(session: Session, callback: Callback) -> bool:
    """Whether taking the callback in hand again would collide with a newer one for the same number."""
    if callback.state in IN_HAND:
        return True
    other = select(Callback.id).where(
        Callback.portal_id == callback.portal_id,
        Callback.to_number == callback.to_number,
        Callback.state.in_(IN_HAND),
        Callback.id != callback.id,
    )
    return session.scalar(other.limit(1)) is None


def _moves(callback: Callback) -> bool:
    """A person's word about an unknown outcome stands; the portal's unlisted refusal may be overturned."""
    return callback.state not in FINAL or (callback.state == State.FAILED and callback.reason == "portal_refused")


def _initiated(callback: Callback | None, attempt: Attempt, _: Mapping[str, Any], now: datetime) -> None:
    assert attempt.call_id is not None
    if callback is not None:
        callback.start(attempt, attempt.call_id, now)
    else:
        attempt.start(attempt.call_id)


def _answered(callback: Callback | None, attempt: Attempt, fields: Mapping[str, Any], now: datetime) -> None:
    user_id = fields.get("user_id")
    if callback is not None:
        callback.answer(attempt, user_id, now)
    else:
        attempt.answer(user_id, now)


def _ended(callback: Callback | None, attempt: Attempt, fields: Mapping[str, Any], now: datetime) -> None:
    code, words = str(fields.get("code") or ""), fields.get("words")
    succeeded = code == telephony.SUCCESS
    outcome = Outcome.COMPLETED if succeeded else Outcome.MISSED
    attempt.end(outcome, now, None if succeeded else code or None, None if succeeded else words)
    attempt.duration_seconds = fields.get("duration")
    attempt.cost = None if fields.get("cost") is None else Decimal(fields["cost"])
    attempt.cost_currency = fields.get("currency")
    attempt.answered_by = attempt.answered_by or fields.get("user_id")
    if callback is None:
        return
    if succeeded:
        callback.complete(now)
    else:
        callback.miss(now, f"code_{code.lower().replace('-', '_') or 'other'}", words)


_MOVES = {INIT: _initiated, START: _answered, END: _ended}


def forget_strangers() -> int:
    """Delete stored events that matched no attempt within a day; returns how many."""
    with writing() as session:
        return len(
            session.execute(
                delete(ReceivedEvent)
                .where(ReceivedEvent.applied_at.is_(None), ReceivedEvent.received_at < utcnow() - KEEP_STRANGERS)
                .returning(ReceivedEvent.id)
            ).all()
        )

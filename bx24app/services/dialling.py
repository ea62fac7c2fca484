"""Dialling a due callback: claim, fence, exactly one request, and the answer sorted into four outcomes.

started      the portal accepted it and named the call (or handed it to another telephony app)
refused      for good: the portal said no before anything rang
put back     proven not executed: the callback waits and another attempt follows by itself
unknown      everything else: nothing is dialled again until somebody or some evidence decides
"""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Select, func, or_, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.errors import (
    ApplicationRemoved,
    Bitrix24Error,
    CredentialRefused,
    Moved,
    NotSent,
    NoUsableAnswer,
    PaymentRequired,
    Refused,
    RefusedForNow,
    TokenExpired,
)
from bx24app.bitrix24.telephony import Accepted
from bx24app.errors import NotPermitted, Refusal
from bx24app.extensions import reading, writing
from bx24app.log import mask_number
from bx24app.models import IN_HAND, WAITING, Attempt, Callback, Portal, Source, State, utcnow
from bx24app.services import credentials, events, rest
from bx24app.services.connections import portals
from bx24app.services.credentials import Access

log = structlog.get_logger(__name__)

# Longer than connecting (5 s) and reading (65 s) together: a lease ends only when its worker is gone.
LEASE = timedelta(seconds=90)
DIALS_PER_PORTAL = 2
BACKOFF_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)
# Together well below what a lease has left after the longest dial.
RECORD_PAUSES = (0.05, 0.2, 1.0, 3.0, 6.0)


@dataclass(frozen=True)
class Claim:
    """A waiting callback that this worker alone may dial, while the lease's number stands."""

    callback_id: UUID
    portal_id: int
    lease_fence: int


@dataclass(frozen=True)
class Dial:
    """A fenced attempt: what to ask the portal, once."""

    callback_id: UUID
    attempt_id: int
    parameters: dict[str, str]


def _due(now: datetime) -> Select[Callback]:
    """Waiting callbacks of portals with a dial to spare, oldest first, each for one worker only."""
    other = aliased(Callback)
    dialling = (
        select(func.count())
        .select_from(other)
        .where(other.portal_id == Callback.portal_id, other.state == State.DIALLING)
        .scalar_subquery()
    )
    number_in_hand = (
        select(other.id)
        .where(other.portal_id == Callback.portal_id, other.to_number == Callback.to_number)
        .where(other.state.in_(IN_HAND), other.id != Callback.id)
        .exists()
    )
    return (
        select(Callback)
        .where(Callback.state.in_(WAITING), Callback.due_at <= now)
        .where(or_(Callback.leased_until.is_(None), Callback.leased_until < now))
        .where(dialling < DIALS_PER_PORTAL, ~number_in_hand)
        .order_by(Callback.due_at)
        .limit(1)
    )


def claim() -> Claim | None:
    """Take the next due callback, or None. Commits; a claim that is not followed up ends with its lease."""
    with reading() as session:
        # Looking costs no lock: most of the time there is nothing to claim.
        if session.scalar(_due(utcnow()).with_only_columns(Callback.id)) is None:
            return None
    try:
        with writing() as session:
            return _claim(session, utcnow())
    except IntegrityError:
        return None  # A request for the same number was accepted in between: the scheduled one waits for it.


def _claim(session: Session, now: datetime) -> Claim | None:
    callback = session.scalar(_due(now).with_for_update(skip_locked=True))
    if callback is None:
        return None
    if callback.expires_at < now:
        _expire(callback, now)
        return None
    if callback.state == State.SCHEDULED:
        callback.queue(now)
    return Claim(callback.id, callback.portal_id, callback.lease(now, now + LEASE))


def _expire(callback: Callback, now: datetime) -> None:
    callback.expire(now)
    callback.decide("expired", now, expires_at=callback.expires_at.isoformat())


def process(claim: Claim) -> None:
    """Follow a claim to a recorded outcome. Raises nothing: whatever happens is kept with the callback."""
    log_here = log.bind(callback=str(claim.callback_id))
    try:
        access = _access_for(claim)
    except (Bitrix24Error, Refusal) as error:
        _not_dialled(claim, error)
        return
    dial = _fence(claim)
    if dial is None:
        log_here.info("claim_lost")
        return
    outcome: Accepted | Bitrix24Error
    try:
        with rest.logged(access, "voximplant.callback.start", dial.parameters):
            outcome = _dial_once(access, dial)
    except Bitrix24Error as error:
        outcome = error
    _record(dial, outcome)
    number = mask_number(dial.parameters["TO_NUMBER"])
    log_here.info("dialled", outcome=getattr(outcome, "code", "started"), number=number)
    _follow_up(access, dial, outcome)


def _access_for(claim: Claim) -> Access:
    """The identity under which the callback was accepted: the person's own, or the portal's."""
    with reading() as session:
        callback = session.get_one(Callback, claim.callback_id)
    if callback.source != Source.STAFF or callback.requested_by is None:
        return credentials.access(credentials.service_credential_id(claim.portal_id))
    credentials.service_credential_id(claim.portal_id)  # A disconnected or unpaid portal dials for nobody.
    credential_id = credentials.person_credential_id(claim.portal_id, callback.requested_by)
    if credential_id is None:
        raise NotPermitted
    return credentials.access(credential_id)


def _not_dialled(claim: Claim, error: Bitrix24Error | Refusal) -> None:
    """There was no way to the portal; no attempt was made."""
    with writing() as session:
        callback = _claimed(session, claim)
        if callback is None:
            return
        now = utcnow()
        if _is_passing(error):
            callback.due_at = now + timedelta(seconds=BACKOFF_SECONDS[0])
            callback.leased_until = None
            callback.decide("waits", now, reason=error.code)
        else:
            callback.fail(now, error.code if isinstance(error, Refusal) else _reason(error))
            callback.decide("not_dialled", now, reason=error.code)


def _is_passing(error: Bitrix24Error | Refusal) -> bool:
    return isinstance(error, NotSent | NoUsableAnswer | RefusedForNow) or error.code == "bitrix24_unavailable"


def _claimed(session: Session, claim: Claim) -> Callback | None:
    """The claimed callback, locked, if the claim still stands."""
    callback = session.get(Callback, claim.callback_id, with_for_update=True)
    stands = callback is not None and callback.state == State.QUEUED and callback.lease_fence == claim.lease_fence
    return callback if stands else None


def _fence(claim: Claim) -> Dial | None:
    """Commit that this attempt is about to dial; None when it was cancelled or taken over meanwhile."""
    with writing() as session:
        # The portal's row orders its dials: without it two workers could both see one dial in flight.
        session.get_one(Portal, claim.portal_id, with_for_update=True)
        callback = _claimed(session, claim)
        if callback is None:
            return None
        dialling = select(func.count()).where(Callback.portal_id == claim.portal_id)
        if (session.scalar(dialling.where(Callback.state == State.DIALLING)) or 0) >= DIALS_PER_PORTAL:
            callback.leased_until = None
            return None
        now = utcnow()
        attempt = callback.fence(now, now + LEASE)
        callback.decide("fenced", now, attempt=attempt.number, line=callback.line_id)
        session.flush()
        parameters = telephony.callback_parameters(
            callback.line_id, callback.to_number, callback.text, callback.voice_id
        )
        return Dial(callback.id, attempt.id, parameters)


def _dial_once(access: Access, dial: Dial) -> Accepted:
    """The one request of the attempt, on a fresh connection. Raises ``Bitrix24Error``."""
    with portals.dialler(access.client_endpoint, access.access_token) as client:
        return telephony.read_accepted(client.invoke("voximplant.callback.start", dial.parameters))


def _record(dial: Dial, outcome: Accepted | Bitrix24Error) -> None:
    """Write the answer down; a database that fails just now must not make an unknown out of what is known."""
    for pause in RECORD_PAUSES:
        try:
            return _record_once(dial, outcome)
        except OperationalError as error:
            log.warning("record_failed", callback=str(dial.callback_id), reason=type(error.orig).__name__)
            time.sleep(pause)
    return _record_once(dial, outcome)


def _record_once(dial: Dial, outcome: Accepted | Bitrix24Error) -> None:
    """Events of the call that came before its answer are applied with it."""
    with writing() as session:
        callback = session.get_one(Callback, dial.callback_id, with_for_update=True)
        attempt = session.get_one(Attempt, dial.attempt_id)
        now = utcnow()
        if callback.state != State.DIALLING or callback.attempts[-1] is not attempt:
            return  # Given up by a sweep, and perhaps already decided about: evidence only comes by events now.
        if isinstance(outcome, Accepted):
            _accepted(session, callback, attempt, outcome, now)
        else:
            _refused_or_lost(callback, attempt, outcome, now)


def _accepted(session: Session, callback: Callback, attempt: Attempt, outcome: Accepted, now: datetime) -> None:
    if outcome.call_id is None:
        callback.hand_over(attempt, now)
        callback.decide("dialled_started", now, attempt=attempt.number)
        return
    callback.start(attempt, outcome.call_id, now)
    callback.decide("dialled_started", now, attempt=attempt.number, call_id=outcome.call_id)
    events.apply_stored(session, callback, attempt)


def _refused_or_lost(callback: Callback, attempt: Attempt, error: Bitrix24Error, now: datetime) -> None:
    if isinstance(error, NotSent | RefusedForNow | TokenExpired | Moved):
        waits = isinstance(error, NotSent | RefusedForNow) or _repeated(callback, error)
        due_at = now + timedelta(seconds=_backoff(attempt.number)) if waits else now
        callback.put_back(attempt, now, due_at, error.code)
        callback.decide("dialled_not_executed", now, attempt=attempt.number, reason=error.code)
    elif isinstance(error, Refused):
        callback.refuse(attempt, now, _reason(error), error.words or error.error or None)
        callback.decide("dialled_refused", now, attempt=attempt.number, reason=error.code, words=error.words)
    else:
        callback.lose_sight(attempt, now, f"dial_{error.code}")
        callback.decide("dialled_unknown", now, attempt=attempt.number, reason=error.code)


def _repeated(callback: Callback, error: Bitrix24Error) -> bool:
    """Renewal and move are tried once without waiting."""
    return any(attempt.failed_code == error.code for attempt in callback.attempts[:-1])


def _backoff(attempt_number: int) -> float:
    base = BACKOFF_SECONDS[min(attempt_number, len(BACKOFF_SECONDS)) - 1]
    return base * random.uniform(0.8, 1.2)  # noqa: S311  Jitter is no secret.


def _reason(error: Bitrix24Error) -> str:
    """The promised reason code for a refusal for good."""
    if isinstance(error, CredentialRefused):
        return "not_permitted"
    if isinstance(error, ApplicationRemoved | PaymentRequired):
        return "portal_disconnected"
    return error.code if error.code.startswith("bitrix24_") else "portal_refused"


def _follow_up(access: Access, dial: Dial, outcome: Accepted | Bitrix24Error) -> None:
    """What the answer says about the line, the credential or the address, for the next attempt."""
    try:
        if isinstance(outcome, Accepted):
            _mark_line(access.portal_id, dial, outcome)
        elif isinstance(outcome, TokenExpired):
            credentials.renew(access.credential_id, access.generation)
        elif isinstance(outcome, Moved):
            rest.follow_move(access)
        elif isinstance(outcome, CredentialRefused | ApplicationRemoved | PaymentRequired):
            credentials.bury(access.credential_id, outcome)
    except (Bitrix24Error, Refusal) as error:
        log.warning("follow_up_failed", member_id=access.member_id, reason=type(error).__name__)


def _mark_line(portal_id: int, dial: Dial, outcome: Accepted) -> None:
    if outcome.call_id is None:
        with writing() as session:
            portal = session.get_one(Portal, portal_id, with_for_update=True)
            portal.mark_foreign(dial.parameters["FROM_LINE"])


def sweep() -> int:
    """Give up attempts whose worker is gone, and waiting callbacks whose time is over; returns how many."""
    with writing() as session:
        now = utcnow()
        abandoned = session.scalars(
            select(Callback)
            .where(Callback.state == State.DIALLING, Callback.leased_until < now)
            .with_for_update(skip_locked=True)
        ).all()
        for callback in abandoned:
            callback.lose_sight(callback.attempts[-1], now, "dial_interrupted")
            callback.decide("abandoned", now, attempt=callback.attempts[-1].number)
        late = session.scalars(
            select(Callback)
            .where(Callback.state.in_(WAITING), Callback.expires_at < now)
            .where(or_(Callback.leased_until.is_(None), Callback.leased_until < now))
            .with_for_update(skip_locked=True)
        ).all()
        for callback in late:
            _expire(callback, now)
    return len(abandoned) + len(late)

"""Dialling a due callback: lease, fence, exactly one request, and the answer sorted into four outcomes.

started      the portal accepted it and named the call (or handed it to another telephony app)
refused      for good: the portal said no before anything rang
put back     proven not executed: the callback waits and another attempt follows by itself
unknown      everything else: nothing is dialled again until a person or a call report decides
"""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from bx24app import metrics
from bx24app.bitrix24 import telephony
from bx24app.bitrix24.client import DIAL_SECONDS
from bx24app.bitrix24.connections import portal_clients
from bx24app.bitrix24.errors import (
    CredentialRefused,
    RefusedForNow,
)
from bx24app.bitrix24.telephony import StartedCall
from bx24app.database import reading, writing
from bx24app.errors import DatabaseBusy, Executed, NotFound, NotPermitted, Refusal, Retry
from bx24app.log import mask_number
from bx24app.models import Attempt, Callback, Portal, State, utcnow
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks import roles
from bx24app.services.callbacks.number_holder import pass_on_unrung
from bx24app.services.callbacks.retry_policy import retry_policy_of
from bx24app.services.calling import do_not_call
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.preflight import PreflightContext, apply_result, run_preflight
from bx24app.services.dialling.queue import DIAL_LEASE, DialLease, leased_callback
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import throttle, token_renewal, tokens
from bx24app.services.portals.tokens import Access
from bx24app.services.runtime import slow_portals, wakeup

log = structlog.get_logger(__name__)

DIAL_BACKOFF_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)
# Together these are well below the time that a lease has left after the longest dial.
RECORD_PAUSES = (0.05, 0.2, 1.0, 3.0, 6.0)


@dataclass(frozen=True)
class FencedAttempt:
    """A fenced attempt: what to ask the portal, once."""

    callback_id: UUID
    attempt_id: int
    parameters: dict[str, str]
    source: str
    # Since the moment for which the call was asked, or put off to.
    waited_seconds: float


def dial(lease: DialLease) -> None:
    """Dial a leased callback and record the outcome. Raises nothing: every failure is recorded with the callback."""
    with slow_portals.working(wakeup.DIAL, lease.callback_id):
        _dial(lease)


def _dial(lease: DialLease) -> None:
    log_here = log.bind(callback=str(lease.callback_id))
    try:
        access, number_digest = _access_for(lease), _number_digest(lease)
    except (ExchangeError, Refusal) as error:
        _not_dialled(lease, error)
        wakeup.tell_dialled(lease.callback_id)
        return
    # The request is closed before its lease ends, and until then no other attempt begins.
    with ending_within(DIAL_SECONDS):
        dial = _fence(lease, number_digest)
        if dial is None:
            log_here.info("not_dialled")
            wakeup.tell_dialled(lease.callback_id)
            return
        metrics.note_dial(dial.source, dial.waited_seconds)
        requests = portal_api.LoggedRequests(portal_api.RequestLabel("voximplant.callback.start", dial.parameters))
        outcome = _send_once(access, dial, requests)
    failure = outcome if isinstance(outcome, ExchangeError) else None
    # The answer is recorded before anything else is written: if the process died in between, it would be lost.
    _record(dial, outcome)
    wakeup.tell_dialled(lease.callback_id)
    requests.write(access.portal_id, access.user_id, counted=True)  # It was counted when it was leased.
    number = mask_number(dial.parameters["TO_NUMBER"])
    log_here.info("dialled", outcome=failure.code if failure else "started", number=number)
    _follow_up(access, dial, outcome)


def _access_for(lease: DialLease) -> Access:
    """Return the access under which the callback is dialled: the person's own, or the portal's."""
    with reading() as session:
        callback, portal = session.get(Callback, lease.callback_id), session.get(Portal, lease.portal_id)
        if callback is None or portal is None:
            raise NotFound  # Erased, or the app was removed, since it was leased.
        stands_in = portal.settings.stands_in and roles.is_vouched_for(session, callback)
    if not callback.is_persons:
        return token_renewal.service_access(lease.portal_id)
    tokens.service_credential_id(lease.portal_id)  # A disconnected or unpaid portal dials for nobody.
    try:
        access = token_renewal.person_access(lease.portal_id, callback.requested_by or 0)
        roles.confirm_rights(portal, access)
    except (CredentialRefused, NotPermitted):
        if not stands_in:
            raise
        return token_renewal.service_access(lease.portal_id)
    return access


def _not_dialled(lease: DialLease, error: ExchangeError | Refusal) -> None:
    """Record that no attempt was made, because there is no access to the portal."""
    with writing() as session:
        callback = leased_callback(session, lease)
        if callback is None:
            return
        now = utcnow()
        if error.retry is Retry.LATER:
            callback.due_at = now + timedelta(seconds=DIAL_BACKOFF_SECONDS[0])
            callback.release()
            # Recorded once only: a portal may be silent for an hour, and is asked every two seconds.
            callback.wait_for(error.code, now)
        else:
            callback.fail(now, error.callback_reason)
            callback.decide("not_dialled", now, reason=error.code)
            pass_on_unrung(session, callback, now)


def _fence(lease: DialLease, number_digest: str) -> FencedAttempt | None:
    """Commit that this attempt is about to dial; None when the lease has ended or the preflight forbids the dial."""
    with writing() as session:
        callback = leased_callback(session, lease)
        if callback is None:
            return None
        now = utcnow()
        portal = session.get_one(Portal, lease.portal_id)
        policy = retry_policy_of(session, portal, callback)
        context = PreflightContext(session, portal, callback, policy, number_digest, now)
        if not apply_result(run_preflight(context), context, policy.expiry):
            return None
        # What only puts a dial off for a while leaves the time at which the callback expires as it is.
        waited = now - (callback.expires_at - policy.expiry)
        attempt = callback.fence(now, now + DIAL_LEASE, number_digest, portal.history_cursor)
        callback.decide("fenced", now, attempt=attempt.number, line=callback.line_id, cursor=portal.history_cursor)
        session.flush()
        parameters = telephony.callback_parameters(
            callback.line_id, callback.to_number, callback.text, callback.voice_id
        )
        return FencedAttempt(callback.id, attempt.id, parameters, callback.source, waited.total_seconds())


def _number_digest(lease: DialLease) -> str:
    """What the number of a callback is recognised by; made outside of transactions."""
    with reading() as session:
        number = session.scalar(select(Callback.to_number).where(Callback.id == lease.callback_id))
    if number is None:
        raise NotFound  # Erased since it was leased.
    return do_not_call.number_digest(number)


def _send_once(access: Access, dial: FencedAttempt, requests: portal_api.LoggedRequests) -> StartedCall | ExchangeError:
    """Send the one request of the attempt, on a fresh connection."""
    try:
        clients = portal_clients(access.member_id)
        with clients.dialler(access.client_endpoint, access.access_token, requests.watch) as client:
            return telephony.start_callback(client, dial.parameters)
    except ExchangeError as error:
        requests.fail(error)
        return error


def _record(dial: FencedAttempt, outcome: StartedCall | ExchangeError) -> None:
    """Record the answer, and try again when the database fails: a known outcome must not become unknown."""
    for pause in RECORD_PAUSES:
        try:
            return _record_once(dial, outcome)
        except (OperationalError, DatabaseBusy) as error:
            reason = type(getattr(error, "orig", error)).__name__
            log.warning("record_failed", callback=str(dial.callback_id), reason=reason)
            time.sleep(pause)
    return _record_once(dial, outcome)


def _record_once(dial: FencedAttempt, outcome: StartedCall | ExchangeError) -> None:
    """Record the answer in one transaction, and apply the events of the call that came before it."""
    with writing() as session:
        callback = session.get_one(Callback, dial.callback_id, with_for_update=True)
        attempt = session.get_one(Attempt, dial.attempt_id)
        now = utcnow()
        given_up = callback.state == State.UNKNOWN and isinstance(outcome, StartedCall)
        if callback.attempts[-1] is not attempt or not (callback.state == State.DIALLING or given_up):
            return  # A person or a deadline has decided meanwhile.
        # A call that has begun counts even after the attempt was given up.
        if isinstance(outcome, StartedCall):
            _accepted(session, callback, attempt, outcome, now)
            throttle.note_operating_reset(session, callback.portal_id, outcome.operating_reset_at)
        else:
            if isinstance(outcome, RefusedForNow):
                throttle.pause_as_told(session, callback.portal_id, outcome, now)
            portal = session.get_one(Portal, callback.portal_id)
            _refused_or_lost(portal, callback, attempt, outcome, now)
            if callback.state == State.FAILED:
                pass_on_unrung(session, callback, now)


def _accepted(session: Session, callback: Callback, attempt: Attempt, outcome: StartedCall, now: datetime) -> None:
    if outcome.call_id is None:
        callback.hand_over(attempt, now)
        callback.decide("dialled_started", now, attempt=attempt.number)
        return
    callback.start(attempt, outcome.call_id, now)
    callback.decide("dialled_started", now, attempt=attempt.number, call_id=outcome.call_id)
    reconcile.reconcile_attempt(session, callback, attempt)


def _refused_or_lost(portal: Portal, callback: Callback, attempt: Attempt, error: ExchangeError, now: datetime) -> None:
    # The next administrator takes over, or the portal stands in for the person; else it was for good.
    taken_over = isinstance(error, CredentialRefused) and (portal.settings.stands_in or not callback.is_persons)
    if error.executed is Executed.UNKNOWN:
        callback.mark_unknown(attempt, now, f"dial_{error.code}")
        callback.decide("dialled_unknown", now, attempt=attempt.number, reason=error.code)
    elif taken_over or error.retry is not Retry.NEVER:
        waits = error.retry is Retry.LATER or _repeated(callback, error)
        due_at = now + timedelta(seconds=_backoff(attempt.number)) if waits else now
        callback.put_back(attempt, now, due_at, error.code)
        callback.decide("dialled_not_executed", now, attempt=attempt.number, reason=error.code)
    else:
        callback.refuse(attempt, now, error.callback_reason, error.words or error.foreign_code or None)
        callback.decide("dialled_refused", now, attempt=attempt.number, reason=error.code, words=error.words or "")


def _repeated(callback: Callback, error: ExchangeError) -> bool:
    """Tell whether an earlier attempt failed in the same way: a remedy is tried only once without waiting."""
    return any(attempt.failed_code == error.code for attempt in callback.attempts[:-1])


def _backoff(attempt_number: int) -> float:
    base = DIAL_BACKOFF_SECONDS[min(attempt_number, len(DIAL_BACKOFF_SECONDS)) - 1]
    return base * random.uniform(0.8, 1.2)  # noqa: S311  Jitter is no secret.


def _follow_up(access: Access, dial: FencedAttempt, outcome: StartedCall | ExchangeError) -> None:
    """Use what the answer says about the line, the credential or the address, so that the next attempt can succeed."""
    try:
        if isinstance(outcome, StartedCall):
            _mark_line(access.portal_id, dial, outcome)
            reconcile.update_line(dial.attempt_id)
        elif outcome.retry is Retry.AFTER_RENEWAL:
            token_renewal.renew(access.credential_id, access.generation, on_portals_word=True)
        elif outcome.retry is Retry.AFTER_MOVE:
            portal_api.follow_move(access)
        elif outcome.revokes_credential:
            tokens.invalidate(access, outcome)
    except (ExchangeError, Refusal) as error:
        log.warning("follow_up_failed", member_id=access.member_id, reason=type(error).__name__)


def _mark_line(portal_id: int, dial: FencedAttempt, outcome: StartedCall) -> None:
    if outcome.call_id is None:
        with writing() as session:
            portal = session.get_one(Portal, portal_id, with_for_update=True)
            portal.mark_foreign(dial.parameters["FROM_LINE"])

"""The retry policy: what follows each result code of a call, and how often the app dials again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.models import RESTORED, Attempt, Callback, Form, Outcome, Portal, RuleRun, Source, State, UnknownPolicy
from bx24app.services.calling.business_hours import Hours, hours_in_force

# These hold where no form says how long a callback may wait (docs/calls.md): after that people expect no call.
_EXPIRY_BY_SOURCE: dict[str, timedelta] = {
    Source.STAFF: timedelta(minutes=2),
    Source.WEBSITE: timedelta(minutes=60),
    Source.API: timedelta(minutes=60),
    Source.ROBOT: timedelta(hours=24),
}


def expiry_of(source: str, form: Form | None = None) -> timedelta:
    """Return how long a callback may wait once it is due: as its form says, else by its source."""
    return timedelta(minutes=form.expiry_minutes) if form is not None else _EXPIRY_BY_SOURCE[source]


class NextStep(StrEnum):
    """What the app does after a call that ended with a code."""

    NONE = "none"
    AGAIN_LATER = "again_later"
    NEVER = "never"
    STOP_LINE = "stop_line"


# docs: CALL_FAILED_CODE. After a code that is not listed here the app does not dial again.
NEXT_STEPS: dict[str, NextStep] = {
    "200": NextStep.NONE,  # the call took place
    "304": NextStep.AGAIN_LATER,  # nobody answered
    "480": NextStep.AGAIN_LATER,  # temporarily unavailable
    "486": NextStep.AGAIN_LATER,  # busy
    "603-S": NextStep.AGAIN_LATER,  # the call was cancelled
    "500": NextStep.AGAIN_LATER,  # internal error
    "402": NextStep.STOP_LINE,  # no money on the account
    "402-B24": NextStep.STOP_LINE,  # no money on the portal's account
    "403": NextStep.NEVER,  # forbidden
    "404": NextStep.NEVER,  # no such number
    "423": NextStep.NEVER,  # blocked
    "484": NextStep.NEVER,  # the direction is not available
    "503": NextStep.NEVER,  # the direction is not available
    "603": NextStep.NEVER,  # declined: the customer was reached and does not want to talk
    "OTHER": NextStep.NEVER,  # not defined by the platform
}


def next_step(code: str) -> NextStep:
    """Return the next step for a code; upper and lower case are the same."""
    return NEXT_STEPS.get(code.upper(), NextStep.NEVER)


@dataclass(frozen=True)
class RetryPolicy:
    """How a callback is followed up: as its form says, or as the portal says where there is no form."""

    retries: int
    retry_after: timedelta
    unknown: str
    expiry: timedelta
    hours: Hours | None


def retry_policy_of(session: Session, portal: Portal, callback: Callback) -> RetryPolicy:
    """Read the present policy of a callback, inside the caller's transaction."""
    form = session.get(Form, callback.form_id) if callback.form_id else None
    if form is not None:
        return retry_policy_of_form(portal, form)
    return RetryPolicy(
        retries=portal.settings.retries,
        retry_after=timedelta(minutes=portal.settings.retry_minutes),
        unknown=UnknownPolicy.ASK,
        expiry=expiry_of(callback.source),
        hours=hours_in_force(portal) if _keeps_hours(session, callback) else None,
    )


def _keeps_hours(session: Session, callback: Callback) -> bool:
    """Tell whether it waits for working hours; one of an automation rule does where its rule says so."""
    if callback.source != Source.ROBOT:
        return True
    chosen = select(RuleRun.id).where(RuleRun.callback_id == callback.id, RuleRun.in_hours)
    return session.scalar(chosen.limit(1)) is not None


def retry_policy_of_form(portal: Portal, form: Form) -> RetryPolicy:
    """Return the present policy of the callbacks of a form."""
    return RetryPolicy(
        retries=form.retries,
        retry_after=timedelta(minutes=form.retry_minutes),
        unknown=form.unknown_policy,
        expiry=timedelta(minutes=form.expiry_minutes),
        hours=hours_in_force(portal, form),
    )


def dials_left(policy: RetryPolicy, callback: Callback) -> int:
    """Count the dials that the app may still make; attempts that were proven not to be executed do not count."""
    executed = [a for a in callback.attempts if a.outcome not in (Outcome.NOT_EXECUTED, Outcome.REFUSED)]
    return policy.retries + 1 - len(executed)


@dataclass(frozen=True)
class PlannedCall:
    """The call that the app makes next by itself: ``number`` of ``of`` calls that the customer gets at the most."""

    at: datetime
    number: int
    of: int


def planned_call(session: Session, portal: Portal, callback: Callback) -> PlannedCall | None:
    """Tell which call comes next, inside the caller's transaction; None: the app plans none."""
    if callback.state not in (State.SCHEDULED, State.QUEUED):
        return None
    policy = retry_policy_of(session, portal, callback)
    made = policy.retries + 1 - dials_left(policy, callback)
    return PlannedCall(callback.due_at, made + 1, max(policy.retries, made) + 1)


def code_reason(code: str | None) -> str:
    """Make the reason of a callback whose call ended with a code: ``code_603_s`` for ``603-S``."""
    return f"code_{(code or 'OTHER').lower().replace('-', '_')}"


def after_miss(session: Session, callback: Callback, attempt: Attempt, words: str | None, now: datetime) -> None:
    """Follow up a call that did not connect the two: postpone the callback if the policy says so, else miss it.

    ``words`` is the platform's explanation. Runs inside the caller's transaction.
    """
    portal = session.get_one(Portal, callback.portal_id)
    policy = retry_policy_of(session, portal, callback)
    code = attempt.failed_code or "OTHER"
    reason = code_reason(code)
    step, left = next_step(code), dials_left(policy, callback)
    why = _why_not(portal, callback, step, policy, left)
    if why is not None:
        callback.miss(now, reason, words)
        callback.decide("not_repeated", now, code=code, why=why, retries=policy.retries)
        return
    due_at = now + policy.retry_after
    callback.postpone(now, due_at, due_at + policy.expiry, f"retry_{reason}")
    callback.decide("repeats", now, code=code, left=left, due_at=due_at.isoformat())


def _why_not(portal: Portal, callback: Callback, step: NextStep, policy: RetryPolicy, left: int) -> str | None:
    if step != NextStep.AGAIN_LATER:
        return str(step)
    # The call that follows this one may have been made before the database was restored.
    if callback.reason == RESTORED:
        return RESTORED
    if policy.retries == 0:
        return "off"
    # The line redials by itself, so our own retry would ring the customer twice.
    if portal.redials(callback.line_id):
        return "line_redials"
    return "used_up" if left < 1 else None

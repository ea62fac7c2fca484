"""What follows after a call: the next step for every code of the platform, and who may dial again how often."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from bx24app.models import Attempt, Callback, Form, Outcome, Portal, Source, UnknownPolicy
from bx24app.services.calling.business_hours import Hours, hours_in_force

# Without a form (docs/calls.md): people have moved on by then.
_EXPIRY_BY_SOURCE: dict[str, timedelta] = {
    Source.STAFF: timedelta(minutes=2),
    Source.WEBSITE: timedelta(minutes=60),
    Source.API: timedelta(minutes=60),
    Source.ROBOT: timedelta(hours=24),
}


def expiry_of(source: str, form: Form | None = None) -> timedelta:
    """Tell how long a callback may wait once it is due: as its form says, else as is usual for its source."""
    return timedelta(minutes=form.expiry_minutes) if form is not None else _EXPIRY_BY_SOURCE[source]


class NextStep(StrEnum):
    """What may follow a call that ended with a code."""

    NONE = "none"
    AGAIN_LATER = "again_later"
    NEVER = "never"
    STOP_LINE = "stop_line"


# docs: CALL_FAILED_CODE. A code that is not listed is never dialled again by itself.
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
    """The next step for a code, in whichever case it came."""
    return NEXT_STEPS.get(code.upper(), NextStep.NEVER)


@dataclass(frozen=True)
class RetryPolicy:
    """How a callback is followed up: by its form, or by the portal for staff and rules."""

    retries: int
    retry_after: timedelta
    unknown: str
    expiry: timedelta
    hours: Hours | None


def retry_policy_of(session: Session, portal: Portal, callback: Callback) -> RetryPolicy:
    """The policy of a callback as it is now; inside the caller's transaction."""
    form = session.get(Form, callback.form_id) if callback.form_id else None
    if form is not None:
        return RetryPolicy(
            retries=form.retries,
            retry_after=timedelta(minutes=form.retry_minutes),
            unknown=form.unknown_policy,
            expiry=expiry_of(callback.source, form),
            hours=hours_in_force(portal, form),
        )
    return RetryPolicy(
        retries=portal.settings.retries,
        retry_after=timedelta(minutes=portal.settings.retry_minutes),
        unknown=UnknownPolicy.ASK,
        expiry=expiry_of(callback.source),
        hours=hours_in_force(portal),
    )


def dials_left(policy: RetryPolicy, callback: Callback) -> int:
    """How often the app may still dial by itself; attempts that were proven not to be executed do not count."""
    executed = [a for a in callback.attempts if a.outcome not in (Outcome.NOT_EXECUTED, Outcome.REFUSED)]
    return policy.retries + 1 - len(executed)


def code_reason(code: str | None) -> str:
    """The reason of a callback whose call ended with a code: ``code_603_s`` for ``603-S``."""
    return f"code_{(code or 'OTHER').lower().replace('-', '_')}"


def after_miss(session: Session, callback: Callback, attempt: Attempt, words: str | None, now: datetime) -> None:
    """A call ended without joining the two: plan another attempt if the policy says so, else it is missed."""
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
    if policy.retries == 0:
        return "off"
    # Never beside the line's own redial: the customer would be rung twice.
    if portal.redials(callback.line_id):
        return "line_redials"
    return "used_up" if left < 1 else None

"""The check before a dial: whether the number may be called now, and whether the customer still waits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from bx24app.models import Callback, Portal, ReceivedEvent, Source, State
from bx24app.services.callbacks.number_holder import pass_on_unrung
from bx24app.services.callbacks.retry_policy import RetryPolicy
from bx24app.services.callbacks.roles import Role, role_of_user
from bx24app.services.calling import do_not_call
from bx24app.services.dialling.call_report import MOST_ROWS_OF_NUMBER, ReportKind, stored_report

PreflightFacts = dict[str, str]
NUMBER_LISTED = "do_not_call"
# A time that was chosen stands, whoever calls long before it.
SERVES_BEFORE = timedelta(hours=1)


@dataclass(frozen=True)
class PreflightResult:
    """What one rule decided; ``step`` None: the dial goes on."""

    rule: str
    step: Literal["fail", "withdraw", "postpone"] | None = None
    until: datetime | None = None
    inputs: PreflightFacts = field(default_factory=dict)


@dataclass(frozen=True)
class PreflightContext:
    """What the rules check; ``number_digest`` is the keyed digest of the number."""

    session: Session
    portal: Portal
    callback: Callback
    policy: RetryPolicy
    number_digest: str
    now: datetime

    @property
    def is_automatic(self) -> bool:
        """Tell whether no employee chose this moment: a form, an automation rule or a retry of the app did."""
        return self.callback.source != Source.STAFF or any(attempt.ended_at for attempt in self.callback.attempts)


def _permitted(context: PreflightContext) -> PreflightResult | None:
    """Check whether the person whose callback it is may start callbacks still."""
    callback = context.callback
    if not callback.is_persons or callback.requested_by is None:
        return None
    if role_of_user(context.session, context.portal, callback.requested_by) >= Role.OPERATOR:
        return None
    return PreflightResult("not_permitted", "fail", inputs={"user": str(callback.requested_by)})


def _listed(context: PreflightContext) -> PreflightResult | None:
    if do_not_call.is_listed(context.session, context.portal.id, context.number_digest):
        return PreflightResult(NUMBER_LISTED, "fail")
    return None


def _served(context: PreflightContext) -> PreflightResult | None:
    """Check whether another call has reached the customer since the request, or since our last attempt.

    Of a time that was chosen it must be shortly before it: anybody who knows the number can have it called earlier.
    """
    if not context.is_automatic:
        return None
    since = _waited_since(context.callback)
    other = select(Callback).where(
        Callback.portal_id == context.portal.id,
        Callback.to_number == context.callback.to_number,
        Callback.id != context.callback.id,
        Callback.ended_at > since,
        # A call that was handed over to another app does not count: whether it reached anybody is not known here.
        and_(Callback.state == State.COMPLETED, or_(Callback.reason.is_(None), Callback.reason == "resolved_reached")),
    )
    for found in context.session.scalars(other.limit(MOST_ROWS_OF_NUMBER)):
        # The end of a call is read some time after it; that the customer was reached, a person says when they know.
        if found.reason is not None or found.attempts[-1].rang_until > since:
            return PreflightResult("already_served", "withdraw", inputs={"callback": str(found.id)})
    strangers = select(ReceivedEvent).where(
        ReceivedEvent.portal_id == context.portal.id,
        ReceivedEvent.number_digest == context.number_digest,
        # The event of a call proves nothing, and a row without a time may be of an old call.
        ReceivedEvent.event == ReportKind.HISTORY,
        ReceivedEvent.applied_at.is_(None),
        ReceivedEvent.received_at > since,
    )
    # More than a number has are made up, and each is read while the callback is held.
    newest = strangers.order_by(ReceivedEvent.id.desc()).limit(MOST_ROWS_OF_NUMBER)
    for report in map(stored_report, context.session.scalars(newest)):
        if report.is_success and report.began_at is not None and report.began_at > since:
            return PreflightResult("already_served", "withdraw", inputs={"call": report.call_id})
    return None


def _waited_since(callback: Callback) -> datetime:
    """Return from when on a call with the customer makes another one needless."""
    chosen = [] if callback.scheduled_at is None else [callback.scheduled_at - SERVES_BEFORE]
    return max([callback.created_at, *chosen, *(attempt.started_at for attempt in callback.attempts)])


def _closed(context: PreflightContext) -> PreflightResult | None:
    hours = context.policy.hours
    if not context.is_automatic or hours is None or hours.is_open(context.now):
        return None
    opens_at = hours.next_open(context.now)
    inputs = {"zone": hours.zone}
    if opens_at is None:
        return PreflightResult("outside_hours", "fail", inputs=inputs)
    return PreflightResult("outside_hours", "postpone", opens_at, inputs | {"opens_at": opens_at.isoformat()})


_RULES: tuple[Callable[[PreflightContext], PreflightResult | None], ...] = (_permitted, _listed, _served, _closed)


def run_preflight(context: PreflightContext) -> PreflightResult:
    """Return the result of the first rule that has one; the caller's transaction has locked the callback."""
    return next((result for rule in _RULES if (result := rule(context))), PreflightResult("looked"))


def apply_result(result: PreflightResult, context: PreflightContext, expiry: timedelta) -> bool:
    """Change the callback as the result says and record why; returns whether the dial goes on."""
    callback, now = context.callback, context.now
    if result.step is None:
        return True
    callback.decide(result.rule, now, **result.inputs)
    if result.step == "fail":
        callback.fail(now, result.rule)
    elif result.step == "withdraw":
        callback.cancel(now, result.rule)
    elif result.step == "postpone" and result.until is not None:
        callback.postpone(now, result.until, result.until + expiry, result.rule)
    if result.rule != NUMBER_LISTED:
        # Nobody's request for a number on the list is called.
        pass_on_unrung(context.session, callback, now)
    return False

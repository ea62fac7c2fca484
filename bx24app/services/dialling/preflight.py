"""The look before a dial: whether the number may be called, at this hour, and whether anybody still waits for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from bx24app.models import Callback, Portal, ReceivedEvent, Source, State
from bx24app.services.callbacks.retry_policy import RetryPolicy
from bx24app.services.calling import do_not_call
from bx24app.services.dialling.call_report import stored_report

PreflightFacts = dict[str, str]


@dataclass(frozen=True)
class PreflightResult:
    """What one rule says: ``step`` None lets the dial go on."""

    rule: str
    step: Literal["fail", "withdraw", "postpone"] | None = None
    until: datetime | None = None
    inputs: PreflightFacts = field(default_factory=dict)


@dataclass(frozen=True)
class PreflightContext:
    """What a rule may look at; ``number_digest`` is the keyed digest of the number."""

    session: Session
    portal: Portal
    callback: Callback
    policy: RetryPolicy
    number_digest: str
    now: datetime

    @property
    def is_automatic(self) -> bool:
        """Nobody of staff chose this very moment: a form, a rule, or a repetition by the app itself."""
        return self.callback.source != Source.STAFF or any(attempt.ended_at for attempt in self.callback.attempts)


def _listed(scene: PreflightContext) -> PreflightResult | None:
    if do_not_call.is_listed(scene.session, scene.portal.id, scene.number_digest):
        return PreflightResult("do_not_call", "fail")
    return None


def _served(scene: PreflightContext) -> PreflightResult | None:
    """Another call has reached the customer since they asked, or since our last attempt."""
    if not scene.is_automatic:
        return None
    since = max([scene.callback.created_at, *(a.started_at for a in scene.callback.attempts)])
    other = select(Callback.id).where(
        Callback.portal_id == scene.portal.id,
        Callback.to_number == scene.callback.to_number,
        Callback.id != scene.callback.id,
        Callback.ended_at > since,
        # Whether a call that was handed over has reached anybody is not known here.
        and_(Callback.state == State.COMPLETED, or_(Callback.reason.is_(None), Callback.reason == "resolved_reached")),
    )
    if found := scene.session.scalar(other.limit(1)):
        return PreflightResult("already_served", "withdraw", inputs={"callback": str(found)})
    strangers = select(ReceivedEvent).where(
        ReceivedEvent.portal_id == scene.portal.id,
        ReceivedEvent.number_digest == scene.number_digest,
        ReceivedEvent.applied_at.is_(None),
        ReceivedEvent.received_at > since,
    )
    for report in map(stored_report, scene.session.scalars(strangers)):
        if report.is_success and (report.began_at is None or report.began_at > since):
            return PreflightResult("already_served", "withdraw", inputs={"call": report.call_id})
    return None


def _closed(scene: PreflightContext) -> PreflightResult | None:
    hours = scene.policy.hours
    if not scene.is_automatic or hours is None or hours.is_open(scene.now):
        return None
    opens_at = hours.next_open(scene.now)
    inputs = {"zone": hours.zone}
    if opens_at is None:
        return PreflightResult("outside_hours", "fail", inputs=inputs)
    return PreflightResult("outside_hours", "postpone", opens_at, inputs | {"opens_at": opens_at.isoformat()})


_RULES: tuple[Callable[[PreflightContext], PreflightResult | None], ...] = (_listed, _served, _closed)


def run_preflight(scene: PreflightContext) -> PreflightResult:
    """The verdict of the first rule that has one; inside the caller's transaction, which has locked the callback."""
    return next((verdict for rule in _RULES if (verdict := rule(scene))), PreflightResult("looked"))


def apply_result(verdict: PreflightResult, scene: PreflightContext, expiry: timedelta) -> bool:
    """Do as the verdict says, and record why; returns whether the dial goes on."""
    callback, now = scene.callback, scene.now
    if verdict.step is None:
        return True
    callback.decide(verdict.rule, now, **verdict.inputs)
    if verdict.step == "fail":
        callback.fail(now, verdict.rule)
    elif verdict.step == "withdraw":
        callback.cancel(now, verdict.rule)
    elif verdict.step == "postpone" and verdict.until is not None:
        callback.postpone(now, verdict.until, verdict.until + expiry, verdict.rule)
    return False

"""The quotas of a website form: limits by address, number and form, proofs that are used once, budgets of a day.

They are conditions for accepting a callback (``callbacks/conditions.py``). This module takes their numbers from the
form and turns them into rejections. A proof counts as a bucket of one token, so that one statement takes everything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import writing
from bx24app.errors import BudgetExhausted, LaterBudgetExhausted, NotHuman, OnDoNotCallList, RateLimited, RuleRefused
from bx24app.models import BudgetDay, Callback, Form, Rejection, Source, utcnow
from bx24app.models.websites.form import MOST_OF_NUMBER
from bx24app.services.callbacks.conditions import (
    BUDGET_CALLS,
    BUDGET_MONEY,
    NOT_LISTED,
    NUMBER_DAY,
    Candidate,
    Obstacle,
    obstacles,
)
from bx24app.services.callbacks.guarded.budget import CALLS_STAYING, Budget, DayMoney, calls_taken
from bx24app.services.calling import do_not_call
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import DAY, HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.services.security.networks import wider_networks
from bx24app.services.websites import budgets, rejections
from bx24app.services.websites.budgets import LocalDay, PortalCosts
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.rules import RuleFacts
from bx24app.services.websites.submission import Submission, SubmittedNumber

# A request without JavaScript brings no proof of work, so such requests may use only this part of the limits.
NO_SCRIPT_DIVISOR = 3
# Whoever has one network has the addresses in it: the widest has four times the limit of an address, the next one
# twice, and the widest may use only a third of what the form has. Many customers of one provider are below that.
NETWORK_TIMES = (4, 2)
NETWORK_DIVISOR = 3
OF_THE_ADDRESS = frozenset({"address_hour", "network_hour", "network_day"})
# What counts over all forms of a portal.
OF_THE_PORTAL = frozenset({NUMBER_DAY})
# A used proof is remembered for so many seconds longer than it is valid.
PROOF_KEPT_SECONDS = 60.0


def rate_limits_of(submission: Submission) -> list[RateLimit]:
    """Return the buckets from which a submission takes a token; call it outside of transactions."""
    wanted = submission.form.limits
    values = [
        *_of_the_address(submission),
        (NUMBER_DAY, submission.number.digest, of_number(submission.form), DAY),
        ("form_hour", "", wanted["form_hour"], HOUR),
        ("form_day", "", wanted["form_day"], DAY),
    ]
    whole = [
        RateLimit(name, _digest(submission, name, value), size, seconds, is_hidden=name == NUMBER_DAY)
        for name, value, size, seconds in values
    ]
    if submission.has_script:
        return [*_proof(submission), *whole]
    for_no_script = [
        replace(
            bucket,
            digest=_digest(submission, bucket.name, f"{value[1]} plain"),
            size=max(1, bucket.size // NO_SCRIPT_DIVISOR),
            for_no_script=True,
        )
        for bucket, value in zip(whole, values, strict=True)
    ]
    return [*_proof(submission), *whole, *for_no_script]


def of_number(form: Form) -> int:
    """How many requests for one number a day a form takes; earlier versions stored more than is possible now."""
    return min(form.limits[NUMBER_DAY], MOST_OF_NUMBER)


def _of_the_address(submission: Submission) -> Iterator[tuple[str, str, int, float]]:
    """Make name, value, size and seconds of the limits of an address and of the networks around it."""
    if submission.source != Source.WEBSITE:
        return  # The address is that of the site's back end, so it is not limited.
    of_address = submission.form.limits["address_hour"]
    networks = wider_networks(submission.network)
    yield "address_hour", submission.network, of_address, HOUR
    for network, times in zip(networks, NETWORK_TIMES, strict=False):
        yield "network_hour", network, min(times * of_address, _network_part(submission, "form_hour")), HOUR
    yield "network_day", networks[0], _network_part(submission, "form_day"), DAY


def _network_part(submission: Submission, name: str) -> int:
    """Return how much of a limit of the form one network may take: as much as an address at least."""
    limits = submission.form.limits
    return max(limits["address_hour"], ceil(limits[name] / NETWORK_DIVISOR))


def give_back_number(opened: OpenForm, withdrawn: Callback) -> None:
    """Give back what a withdrawn callback took from the limit of its number, if no phone rang for it; commits.

    After the time in which one token comes back by itself nothing is given back, so that nobody saves up requests.
    """
    size, now = of_number(opened.form), utcnow()
    if withdrawn.attempts or (now - withdrawn.created_at).total_seconds() > DAY / size:
        return
    number = SubmittedNumber(digest=do_not_call.number_digest(withdrawn.to_number))
    submission = Submission(form=opened.form, portal=opened.portal, now=now, number=number)
    buckets = [limit for limit in rate_limits_of(submission) if limit.is_hidden]
    with writing() as session:
        rate_limit.give_back(session, buckets, now.timestamp())


def _proof(submission: Submission) -> list[RateLimit]:
    """Return a bucket of one token for the proof or token, which can be used only once."""
    if submission.proof_or_token is None:
        return []
    seconds = (submission.proof_or_token.expires_at - submission.now).total_seconds() + PROOF_KEPT_SECONDS
    return [RateLimit("proof_unspent", submission.proof_or_token.digest, 1, seconds, is_single_use=True)]


def _digest(submission: Submission, name: str, value: str) -> str:
    # One person is rung so often by the whole portal; names, for ids of removed rows may come back.
    owner = submission.portal.member_id if name in OF_THE_PORTAL else submission.form.key
    return digests.digest("rate", f"{owner} {name} {value}")


def budget_day_of(submission: Submission) -> LocalDay:
    """Return the day whose budget a submission uses: the one on which it is due."""
    return budgets.local_day(submission.due_at, submission.hours.zone)


def budget_of(submission: Submission) -> Budget | None:
    """Return the form's budget for that day, None when it has none; its money is looked up when it is asked for."""
    form = submission.form
    if form.budget_calls is None and form.budget_money is None:
        return None
    look_up = partial(_money_of_day, submission=submission) if form.budget_money is not None else None
    return Budget(form.id, budget_day_of(submission).day, form.budget_calls, look_up)


def _money_of_day(session: Session, submission: Submission, costs: PortalCosts | None = None) -> DayMoney:
    form, day = submission.form, budget_day_of(submission)
    assert form.budget_money is not None
    # The count is read before the money: a request that is counted in between is then reserved for twice, never not.
    taken = calls_taken(session, form.id, day.day)
    money = budgets.spent_money(session, form, day, costs)
    left = money.calls_left(form.budget_money)
    if left >= 1:
        return DayMoney(taken + left)
    # Without a day it is that of the request (``follow_up/stoppages.py``).
    later = {"day": day.day.isoformat()} if _is_later_day(submission) else {}
    return DayMoney(taken, {"budget": str(form.budget_money), **money.facts(), **later})


def _is_later_day(submission: Submission) -> bool:
    return budget_day_of(submission).begins_at > submission.now


def rejection_of(submission: Submission, obstacle: Obstacle) -> RuleRefused:
    """Turn a condition that does not hold into the rejection for the sender of the submission."""
    if obstacle.condition == NOT_LISTED:
        return _listed(submission)
    if obstacle.rate_limit is not None:
        return _limited(obstacle.rate_limit)
    if _is_later_day(submission):
        return LaterBudgetExhausted(obstacle.condition, "scheduled_at", obstacle.facts)
    refusal = BudgetExhausted(obstacle.condition, None, obstacle.facts)
    refusal.retry_after = max(1, int((budget_day_of(submission).ends_at - submission.now).total_seconds()))
    return refusal


def _listed(submission: Submission) -> RuleRefused:
    return OnDoNotCallList(NOT_LISTED, "number", {"number": submission.masked})


def hidden_rejection(submission: Submission) -> Rejection:
    """Make the rejection that only the portal reads, because its visitor gets the answer of a decoy.

    It is that of a listed number; the guarded write names the rule of one that was asked for too often.
    """
    return rejections.rejection_row(submission, _listed(submission))


def _limited(limit: RateLimit) -> RuleRefused:
    if limit.is_single_use:
        return NotHuman(limit.name, None, {"given": "a proof or token that was used before"})
    refusal = RateLimited(limit.name, None, {"limit": limit.size, "seconds": limit.seconds})
    refusal.retry_after = round(limit.seconds / limit.size)
    return refusal


@dataclass(frozen=True)
class QuotaResult:
    """What a rule of this module would decide, with nothing taken; ``facts`` None means that it passes."""

    rule: str
    refusal: RuleRefused
    facts: RuleFacts | None = None
    in_tests: bool = True


def evaluate_quotas(session: Session, submission: Submission) -> Iterator[QuotaResult]:
    """Evaluate every rule of this module in order, for the rule tester; inside the caller's transaction."""
    number = Callback(portal_id=submission.portal.id, to_number=submission.parsed.e164 or "")
    bare = Candidate(callback=number, at=submission.now)
    listed = _first(session, replace(bare, number_digest=submission.number.digest))
    yield QuotaResult("proof_unspent", NotHuman("proof_unspent"), in_tests=False)
    for limit in rate_limits_of(submission):
        if not limit.for_no_script:
            # The rule tester has no visitor's address, so it cannot tell what one address has sent.
            in_tests = limit.name not in OF_THE_ADDRESS
            obstacle = _first(session, replace(bare, rate_limits=(limit,))) if in_tests else None
            yield QuotaResult(limit.name, _limited(limit), obstacle.facts if obstacle else None, in_tests)
    exhausted = {obstacle.condition: obstacle.facts for obstacle in exhausted_budgets(session, submission)}
    for rule in (BUDGET_CALLS, BUDGET_MONEY):
        yield QuotaResult(rule, BudgetExhausted(rule), exhausted.get(rule))
    yield QuotaResult(NOT_LISTED, _listed(submission), {"number": submission.masked} if listed else None)


def exhausted_budgets(session: Session, submission: Submission) -> list[Obstacle]:
    """Return the budgets that the form has used up for the submission's day; inside the caller's transaction."""
    bare = Callback(portal_id=submission.portal.id, to_number="")
    return list(obstacles(session, Candidate(callback=bare, at=submission.now, budget=budget_of(submission))))


def exhausted_by_calls(session: Session, submissions: Sequence[Submission]) -> set[int]:
    """Return the ids of the forms that have taken as many calls for the day as they may; one statement for all."""
    days = {one.form.id: budget_day_of(one).day for one in submissions if one.form.budget_calls is not None}
    query = select(BudgetDay.form_id, BudgetDay.day, CALLS_STAYING)
    query = query.where(BudgetDay.form_id.in_(days), BudgetDay.day.in_(set(days.values())))
    taken = {(form_id, day): calls for form_id, day, calls in session.execute(query)} if days else {}
    return {
        one.form.id
        for one in submissions
        if one.form.budget_calls is not None and taken.get((one.form.id, days[one.form.id]), 0) >= one.form.budget_calls
    }


def is_money_spent(session: Session, submission: Submission, costs: PortalCosts) -> bool:
    """Tell whether the form's money for the day leaves no room for one more call; inside the caller's transaction."""
    return submission.form.budget_money is not None and _money_of_day(session, submission, costs).overspent is not None


def _first(session: Session, candidate: Candidate) -> Obstacle | None:
    return next(obstacles(session, candidate), None)

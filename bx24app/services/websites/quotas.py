"""What a website form may take: limits by address, number and form, proofs that are used once, budgets of a day.

These are conditions of accepting a callback (``callbacks/conditions.py``); here they get their numbers from the form,
and their words as rejections. A proof is spent like a token, so that one statement takes all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import BudgetExhausted, NotHuman, OnDoNotCallList, PublicNumberRefused, RateLimited, RuleRefused
from bx24app.models import Callback, Source
from bx24app.services.callbacks.conditions import (
    BUDGET_CALLS,
    BUDGET_MONEY,
    NOT_LISTED,
    Budget,
    Candidate,
    Obstacle,
    calls_taken,
    obstacles,
)
from bx24app.services.runtime.rate_limit import DAY, HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.services.websites import budgets
from bx24app.services.websites.budgets import LocalDay
from bx24app.services.websites.rules import RuleFacts
from bx24app.services.websites.submission import Submission

# A request without JavaScript brings no proof of work, so such requests may use only this part of the limits.
NO_SCRIPT_DIVISOR = 3
# A proof is remembered for so many seconds longer than it would be valid.
PROOF_KEPT_SECONDS = 60.0


def rate_limits_of(case: Submission) -> list[RateLimit]:
    """The limits that a request counts against; call it outside of transactions."""
    wanted = case.form.limits
    values = [
        ("address_hour", case.network, HOUR),
        ("number_day", case.number.digest, DAY),
        ("form_hour", "", HOUR),
        ("form_day", "", DAY),
    ]
    if case.source != Source.WEBSITE:
        values = values[1:]  # The address is that of the site's own back end.
    whole = [RateLimit(name, _digest(case, name, value), wanted[name], seconds) for name, value, seconds in values]
    if case.has_script:
        return [*_proof(case), *whole]
    plain = [
        replace(
            bucket,
            digest=_digest(case, f"plain_{bucket.name}", value[1]),
            size=max(1, bucket.size // NO_SCRIPT_DIVISOR),
            for_no_script=True,
        )
        for bucket, value in zip(whole, values, strict=True)
    ]
    return [*_proof(case), *whole, *plain]


def _proof(case: Submission) -> list[RateLimit]:
    """What can be shown only once, in whatever process."""
    if case.shown is None:
        return []
    seconds = (case.shown.expires_at - case.now).total_seconds() + PROOF_KEPT_SECONDS
    return [RateLimit("proof_unspent", case.shown.digest, 1, seconds, is_single_use=True)]


def _digest(case: Submission, name: str, value: str) -> str:
    return digests.digest("rate", f"{case.form.id} {name} {value}")


def budget_day_of(case: Submission) -> LocalDay:
    """The day whose budget a request counts against."""
    return budgets.local_day(case.now, case.hours.zone)


def budget_of(case: Submission) -> Budget | None:
    """What the form may still take today, None: it has no budget; call it outside of transactions."""
    form = case.form
    if form.budget_calls is None and form.budget_money is None:
        return None
    with reading() as session:
        return _budget(session, case)


def _budget(session: Session, case: Submission) -> Budget:
    form, day = case.form, budget_day_of(case)
    if form.budget_money is None:
        return Budget(form.id, day.day, form.budget_calls)
    # In this order: a request that is counted in between makes the verdict about the money worthless.
    seen = calls_taken(session, form.id, day.day)
    money = budgets.spent_money(session, form, day)
    overspent = {"budget": str(form.budget_money), **money.facts()} if money.with_one_more > form.budget_money else None
    return Budget(form.id, day.day, form.budget_calls, overspent, seen)


def rejection_of(case: Submission, obstacle: Obstacle) -> RuleRefused:
    """What a condition that does not hold leads to, for whoever sent the submission."""
    if obstacle.condition == NOT_LISTED:
        return _listed(case)
    if obstacle.rate_limit is not None:
        return _limited(obstacle.rate_limit)
    refusal = BudgetExhausted(obstacle.condition, None, obstacle.facts)
    refusal.retry_after = max(1, int((budget_day_of(case).ends_at - case.now).total_seconds()))
    return refusal


def _listed(case: Submission) -> RuleRefused:
    """A visitor may be a stranger to a listed number, and is told no more than of other numbers."""
    kind = PublicNumberRefused if case.source == Source.WEBSITE else OnDoNotCallList
    return kind("do_not_call", "number", {"number": case.masked})


def _limited(limit: RateLimit) -> RuleRefused:
    if limit.is_single_use:
        return NotHuman(limit.name, None, {"given": "a proof or token that was used before"})
    refusal = RateLimited(limit.name, None, {"limit": limit.size, "seconds": limit.seconds})
    refusal.retry_after = round(limit.seconds / limit.size)
    return refusal


@dataclass(frozen=True)
class QuotaResult:
    """What a rule of this module would say, with nothing taken; ``facts`` None: it holds."""

    rule: str
    refusal: RuleRefused
    facts: RuleFacts | None = None
    in_trials: bool = True


def evaluate_quotas(session: Session, case: Submission) -> Iterator[QuotaResult]:
    """Every rule of this module in order, for the rule tester; inside the caller's transaction."""
    number = Callback(portal_id=case.portal.id, to_number=case.typed.e164 or "")
    bare = Candidate(callback=number, at=case.now)
    listed = _first(session, replace(bare, number_digest=case.number.digest))
    yield QuotaResult("do_not_call", _listed(case), {"number": case.masked} if listed else None)
    yield QuotaResult("proof_unspent", NotHuman("proof_unspent"), in_trials=False)
    for limit in rate_limits_of(case):
        if not limit.for_no_script:
            # What one address has sent, only a real visitor shows.
            in_trials = limit.name != "address_hour"
            found = _first(session, replace(bare, rate_limits=(limit,))) if in_trials else None
            yield QuotaResult(limit.name, _limited(limit), found.facts if found else None, in_trials)
    found_budgets = {one.condition: one.facts for one in exhausted_budgets(session, case)}
    for rule in (BUDGET_CALLS, BUDGET_MONEY):
        yield QuotaResult(rule, BudgetExhausted(rule), found_budgets.get(rule))


def exhausted_budgets(session: Session, case: Submission) -> list[Obstacle]:
    """The budgets of today that the form has used up; inside the caller's transaction."""
    bare = Callback(portal_id=case.portal.id, to_number="")
    return list(obstacles(session, Candidate(callback=bare, at=case.now, budget=_budget(session, case))))


def _first(session: Session, candidate: Candidate) -> Obstacle | None:
    return next(obstacles(session, candidate), None)

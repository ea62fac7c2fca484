"""The last rules of a website form: they look into the database, and what they grant is used up with the request.

do_not_call, proof_unspent, the limits by address, number and form, and the budgets of a day, in this order. A proof is
spent like a token, so that one statement takes all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Integer, String, bindparam, exists, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import BudgetExhausted, NotHuman, OnDoNotCallList, PublicNumberRefused, RateLimited, RuleRefused
from bx24app.models import Callback, DecoyRequest, DoNotCall, Form, Portal, Source, Webhook, utcnow
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import DAY, HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.services.websites import budgets
from bx24app.services.websites.budgets import LocalDay
from bx24app.services.websites.rules import RuleFacts
from bx24app.services.websites.submission import Submission

T = TypeVar("T")
# Without JavaScript nothing was worked for: such requests have this part of the limits to themselves.
NO_SCRIPT_DIVISOR = 3
# A proof is remembered for so many seconds longer than it would be valid.
PROOF_KEPT_SECONDS = 60.0


class Admission(StrEnum):
    """What a request that every rule lets pass is."""

    NEW = "new"
    # And a webhook is told about it.
    NEW_TO_TELL = "new_to_tell"
    # Its number is held by another callback.
    IN_HAND = "in_hand"
    # It came before under the same key; nothing was taken again.
    REPEATED = "repeated"


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
            is_plain=True,
        )
        for bucket, value in zip(whole, values, strict=True)
    ]
    return [*_proof(case), *whole, *plain]


def _proof(case: Submission) -> list[RateLimit]:
    """What can be shown only once, in whatever process."""
    if case.shown is None:
        return []
    seconds = (case.shown.expires_at - case.now).total_seconds() + PROOF_KEPT_SECONDS
    return [RateLimit("proof_unspent", case.shown.digest, 1, seconds, is_single=True)]


def _digest(case: Submission, name: str, value: str) -> str:
    return digests.digest("rate", f"{case.form.id} {name} {value}")


def budget_day_of(case: Submission) -> LocalDay:
    """The day whose budget a request counts against."""
    return budgets.local_day(case.now, case.hours.zone)


def take_quotas(session: Session, case: Submission, buckets: list[RateLimit]) -> Admission:
    """Hold a request against the last rules and take what it needs; raises the ``RuleRefused`` of the first that fails.

    The caller rolls back then: nothing was taken.
    """
    found = _check_conditions(session, case)
    if found.repeated or found.ghosted:
        return Admission.REPEATED
    if found.listed:
        raise listed_rejection(case)
    empty = rate_limit.take_tokens(session, buckets, case.now.timestamp())
    if empty is not None:
        raise _limited(empty)
    day = budget_day_of(case)
    if not budgets.take_call(session, case.form, day):
        raise _exhausted("budget_calls", case, day, _calls(case))
    spent = _overspent(session, case, day)
    if spent is not None:
        raise _exhausted("budget_money", case, day, spent)
    if found.in_hand:
        return Admission.IN_HAND
    return Admission.NEW_TO_TELL if found.is_told else Admission.NEW


@dataclass(frozen=True)
class Conditions(Generic[T]):
    """What a request finds around it: facts, or the expressions that ask for them."""

    listed: T
    in_hand: T
    # It came before under the same key, and led to a callback, or to a ghost.
    repeated: T
    ghosted: T
    # A webhook is told of it.
    is_told: T


def _check_conditions(session: Session, case: Submission) -> Conditions[bool]:
    return Conditions(*session.connection().execute(_CONDITIONS, condition_parameters(case)).one())


def condition_parameters(case: Submission) -> dict[str, Any]:
    """The values of the parameters of ``around``."""
    return {
        "around_portal_id": case.portal.id,
        "around_form_id": case.form.id,
        "around_digest": case.number.digest,
        "around_number": case.typed.e164 or "",
        "around_key": case.key,
    }


def condition_clauses() -> Conditions[ColumnElement[bool]]:
    """What to ask for; a key that is not there equals none."""
    portal_id: BindParameter[int] = bindparam("around_portal_id", type_=Integer)
    key: BindParameter[str | None] = bindparam("around_key", type_=String)
    return Conditions(
        listed=exists().where(
            DoNotCall.portal_id == portal_id, DoNotCall.number_digest == bindparam("around_digest", type_=String)
        ),
        in_hand=exists().where(
            Callback.portal_id == portal_id,
            Callback.to_number == bindparam("around_number", type_=String),
            Callback.holds_number,
        ),
        repeated=exists().where(Callback.portal_id == portal_id, Callback.idempotency_key == key),
        ghosted=exists().where(DecoyRequest.idempotency_key == key),
        is_told=exists().where(Webhook.form_id == bindparam("around_form_id", type_=Integer), Webhook.is_on),
    )


# One statement, made once: it is asked with every request.
_CONDITIONS = select(*vars(condition_clauses()).values())


def listed_rejection(case: Submission) -> RuleRefused:
    """What a listed number leads to: a visitor may be a stranger to it, and is told no more than of other numbers."""
    kind = PublicNumberRefused if case.source == Source.WEBSITE else OnDoNotCallList
    return kind("do_not_call", "number", {"number": case.masked})


def _limited(bucket: RateLimit) -> RuleRefused:
    if bucket.is_single:
        return NotHuman(bucket.name, None, {"given": "a proof or token that was used before"})
    refusal = RateLimited(bucket.name, None, {"limit": bucket.size, "seconds": bucket.seconds})
    refusal.retry_after = round(bucket.seconds / bucket.size)
    return refusal


def _exhausted(rule: str, case: Submission, day: LocalDay, inputs: RuleFacts) -> BudgetExhausted:
    refusal = BudgetExhausted(rule, None, inputs)
    refusal.retry_after = max(1, int((day.ends_at - case.now).total_seconds()))
    return refusal


def _calls(case: Submission) -> RuleFacts:
    return {"budget": case.form.budget_calls, "day": budget_day_of(case).day.isoformat()}


def _overspent(session: Session, case: Submission, day: LocalDay) -> RuleFacts | None:
    budget = case.form.budget_money
    if budget is None:
        return None
    money = budgets.spent_money(session, case.form, day)
    return {"budget": str(budget), **money.inputs()} if money.with_one_more > budget else None


@dataclass(frozen=True)
class QuotaResult:
    """What a rule of this module would say, with nothing taken; ``inputs`` None: it holds."""

    rule: str
    inputs: RuleFacts | None
    refusal: RuleRefused
    in_trials: bool = True


def evaluate_quotas(session: Session, case: Submission, buckets: list[RateLimit]) -> Iterator[QuotaResult]:
    """Every rule of this module in order, for a trial."""
    listed = _check_conditions(session, case).listed
    yield QuotaResult("do_not_call", {"number": case.masked} if listed else None, listed_rejection(case))
    yield QuotaResult("proof_unspent", None, NotHuman("proof_unspent"), in_trials=False)
    for bucket in buckets:
        left = rate_limit.tokens_left(session, bucket, case.now.timestamp())
        inputs: RuleFacts | None = {"limit": bucket.size, "left": round(left, 2)} if left < 1 else None
        in_trials = bucket.name != "address_hour"
        yield QuotaResult(bucket.name, inputs if in_trials else None, _limited(bucket), in_trials)
    day, budget = budget_day_of(case), case.form.budget_calls
    used_up = budget is not None and budgets.calls_taken(session, case.form, day) >= budget
    yield QuotaResult("budget_calls", _calls(case) if used_up else None, BudgetExhausted("budget_calls"))
    yield QuotaResult("budget_money", _overspent(session, case, day), BudgetExhausted("budget_money"))


def exhausted_budgets(form: Form, portal: Portal) -> list[str]:
    """The budget rules by which a form takes no more requests today."""
    if form.budget_calls is None and form.budget_money is None:
        return []
    case = Submission(form=form, portal=portal, now=utcnow())
    with reading() as session:
        return [
            look.rule for look in evaluate_quotas(session, case, []) if look.inputs and look.rule.startswith("budget_")
        ]

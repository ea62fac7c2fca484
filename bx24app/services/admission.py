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

from bx24app.errors import BudgetExhausted, NotHuman, OnDoNotCallList, PublicNumberRefused, RateLimited, RuleRefused
from bx24app.extensions import reading
from bx24app.models import Callback, DoNotCall, Form, Ghost, Portal, Source, Webhook, utcnow
from bx24app.services import budgets, digests, limits
from bx24app.services.budgets import Day
from bx24app.services.cases import Case
from bx24app.services.defence import Inputs
from bx24app.services.limits import DAY, HOUR, Bucket

T = TypeVar("T")
# Without JavaScript nothing was worked for: such requests have this part of the limits to themselves.
PLAIN_PART = 3
# A proof is remembered for so many seconds longer than it would be valid.
REMEMBERED = 60.0


class Admitted(StrEnum):
    """What a request that every rule lets pass is."""

    NEW = "new"
    # And a webhook is told about it.
    NEW_TO_TELL = "new_to_tell"
    # Its number is held by another callback.
    IN_HAND = "in_hand"
    # It came before under the same key; nothing was taken again.
    REPEATED = "repeated"


def buckets_of(case: Case) -> list[Bucket]:
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
    whole = [Bucket(name, _digest(case, name, value), wanted[name], seconds) for name, value, seconds in values]
    if case.has_script:
        return [*_proof(case), *whole]
    plain = [
        replace(
            bucket,
            digest=_digest(case, f"plain_{bucket.name}", value[1]),
            size=max(1, bucket.size // PLAIN_PART),
            is_plain=True,
        )
        for bucket, value in zip(whole, values, strict=True)
    ]
    return [*_proof(case), *whole, *plain]


def _proof(case: Case) -> list[Bucket]:
    """What can be shown only once, in whatever process."""
    if case.shown is None:
        return []
    seconds = (case.shown.expires_at - case.now).total_seconds() + REMEMBERED
    return [Bucket("proof_unspent", case.shown.digest, 1, seconds, is_single=True)]


def _digest(case: Case, name: str, value: str) -> str:
    return digests.digest("rate", f"{case.form.id} {name} {value}")


def day_of(case: Case) -> Day:
    """The day whose budget a request counts against."""
    return budgets.day_of(case.now, case.hours.zone)


def take(session: Session, case: Case, buckets: list[Bucket]) -> Admitted:
    """Hold a request against the last rules and take what it needs; raises the ``RuleRefused`` of the first that fails.

    The caller rolls back then: nothing was taken.
    """
    found = _look_around(session, case)
    if found.repeated or found.ghosted:
        return Admitted.REPEATED
    if found.listed:
        raise listed_refusal(case)
    empty = limits.take(session, buckets, case.now.timestamp())
    if empty is not None:
        raise _limited(empty)
    day = day_of(case)
    if not budgets.take_call(session, case.form, day):
        raise _exhausted("budget_calls", case, day, _calls(case))
    spent = _overspent(session, case, day)
    if spent is not None:
        raise _exhausted("budget_money", case, day, spent)
    if found.in_hand:
        return Admitted.IN_HAND
    return Admitted.NEW_TO_TELL if found.is_told else Admitted.NEW


@dataclass(frozen=True)
class Around(Generic[T]):
    """What a request finds around it: facts, or the expressions that ask for them."""

    listed: T
    in_hand: T
    # It came before under the same key, and led to a callback, or to a ghost.
    repeated: T
    ghosted: T
    # A webhook is told of it.
    is_told: T


def _look_around(session: Session, case: Case) -> Around[bool]:
    return Around(*session.connection().execute(_AROUND, around_of(case)).one())


def around_of(case: Case) -> dict[str, Any]:
    """The values of the parameters of ``around``."""
    return {
        "around_portal_id": case.portal.id,
        "around_form_id": case.form.id,
        "around_digest": case.number.digest,
        "around_number": case.typed.e164 or "",
        "around_key": case.key,
    }


def around() -> Around[ColumnElement[bool]]:
    """What to ask for; a key that is not there equals none."""
    portal_id: BindParameter[int] = bindparam("around_portal_id", type_=Integer)
    key: BindParameter[str | None] = bindparam("around_key", type_=String)
    return Around(
        listed=exists().where(
            DoNotCall.portal_id == portal_id, DoNotCall.number_digest == bindparam("around_digest", type_=String)
        ),
        in_hand=exists().where(
            Callback.portal_id == portal_id,
            Callback.to_number == bindparam("around_number", type_=String),
            Callback.holds_number,
        ),
        repeated=exists().where(Callback.portal_id == portal_id, Callback.idempotency_key == key),
        ghosted=exists().where(Ghost.idempotency_key == key),
        is_told=exists().where(Webhook.form_id == bindparam("around_form_id", type_=Integer), Webhook.is_on),
    )


# One statement, made once: it is asked with every request.
_AROUND = select(*vars(around()).values())


def listed_refusal(case: Case) -> RuleRefused:
    """What a listed number leads to: a visitor may be a stranger to it, and is told no more than of other numbers."""
    kind = PublicNumberRefused if case.source == Source.WEBSITE else OnDoNotCallList
    return kind("do_not_call", "number", {"number": case.masked})


def _limited(bucket: Bucket) -> RuleRefused:
    if bucket.is_single:
        return NotHuman(bucket.name, None, {"given": "a proof or token that was used before"})
    refusal = RateLimited(bucket.name, None, {"limit": bucket.size, "seconds": bucket.seconds})
    refusal.retry_after = round(bucket.seconds / bucket.size)
    return refusal


def _exhausted(rule: str, case: Case, day: Day, inputs: Inputs) -> BudgetExhausted:
    refusal = BudgetExhausted(rule, None, inputs)
    refusal.retry_after = max(1, int((day.ends_at - case.now).total_seconds()))
    return refusal


def _calls(case: Case) -> Inputs:
    return {"budget": case.form.budget_calls, "day": day_of(case).day.isoformat()}


def _overspent(session: Session, case: Case, day: Day) -> Inputs | None:
    budget = case.form.budget_money
    if budget is None:
        return None
    money = budgets.money_of(session, case.form, day)
    return {"budget": str(budget), **money.inputs()} if money.with_one_more > budget else None


@dataclass(frozen=True)
class Look:
    """What a rule of this module would say, with nothing taken; ``inputs`` None: it holds."""

    rule: str
    inputs: Inputs | None
    refusal: RuleRefused
    in_trials: bool = True


def looks(session: Session, case: Case, buckets: list[Bucket]) -> Iterator[Look]:
    """Every rule of this module in order, for a trial."""
    listed = _look_around(session, case).listed
    yield Look("do_not_call", {"number": case.masked} if listed else None, listed_refusal(case))
    yield Look("proof_unspent", None, NotHuman("proof_unspent"), in_trials=False)
    for bucket in buckets:
        left = limits.left(session, bucket, case.now.timestamp())
        inputs: Inputs | None = {"limit": bucket.size, "left": round(left, 2)} if left < 1 else None
        in_trials = bucket.name != "address_hour"
        yield Look(bucket.name, inputs if in_trials else None, _limited(bucket), in_trials)
    day, budget = day_of(case), case.form.budget_calls
    used_up = budget is not None and budgets.calls_of(session, case.form, day) >= budget
    yield Look("budget_calls", _calls(case) if used_up else None, BudgetExhausted("budget_calls"))
    yield Look("budget_money", _overspent(session, case, day), BudgetExhausted("budget_money"))


def exhausted(form: Form, portal: Portal) -> list[str]:
    """The budget rules by which a form takes no more requests today."""
    if form.budget_calls is None and form.budget_money is None:
        return []
    case = Case(form=form, portal=portal, now=utcnow())
    with reading() as session:
        return [look.rule for look in looks(session, case, []) if look.inputs and look.rule.startswith("budget_")]

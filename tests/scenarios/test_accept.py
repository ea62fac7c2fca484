"""Accepting a callback: random candidates against a model that asks the conditions one by one."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.errors import DatabaseBusy, IdempotencyKeyReused
from bx24app.models import (
    BudgetDay,
    Callback,
    DecoyRequest,
    DoNotCall,
    Form,
    Rejection,
    Source,
    TokenBucket,
    Webhook,
    WebhookDelivery,
    WebsiteRequest,
    utcnow,
)
from bx24app.services.callbacks.accept import accept, prepare_for_insert
from bx24app.services.callbacks.conditions import (
    BUDGET_CALLS,
    BUDGET_MONEY,
    KEY_UNUSED,
    NOT_LISTED,
    NUMBER_DAY,
    NUMBER_NOT_IN_HAND,
    TOKENS_LEFT,
    Candidate,
    Obstacle,
)
from bx24app.services.callbacks.guarded.budget import Budget, DayMoney, Facts
from bx24app.services.runtime.rate_limit import RateLimit
from tests.support.visitors import Visitor

NUMBERS = [f"+493090182{number}" for number in range(4)]
LISTED = NUMBERS[3]
ROUNDS = 120
CALLS = 40


@dataclass
class Model:
    """What should be stored, kept by rules as plain as possible."""

    keys: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    holders: dict[str, Callback] = field(default_factory=dict)
    calls: int = 0
    callbacks: int = 0
    requests: int = 0
    decoys: int = 0
    rejections: int = 0
    limited: int = 0
    told: int = 0

    def expects(self, candidate: Candidate) -> str:
        """``accepted``, ``decoy``, ``reused``, or the condition that does not hold."""
        callback, budget = candidate.callback, candidate.budget
        known = self.keys.get(callback.idempotency_key or "")
        if known is not None:
            return KEY_UNUSED if known == callback.request_digest else "reused"
        if any(not self.has(limit) for limit in candidate.open_limits):
            return TOKENS_LEFT
        if budget is not None and budget.calls is not None and self.calls >= budget.calls:
            return BUDGET_CALLS
        if budget is not None and budget.look_up is not None and budget.look_up(Session()).overspent is not None:
            return BUDGET_MONEY
        if candidate.number_digest and callback.to_number == LISTED:
            return "decoy" if candidate.decoy is not None else NOT_LISTED
        if any(not self.has(limit) for limit in candidate.hidden_limits):
            return "decoy"
        if candidate.needs_free_number and callback.to_number in self.holders:
            return "decoy" if candidate.decoy is not None else NUMBER_NOT_IN_HAND
        return "accepted"

    def has(self, limit: RateLimit) -> bool:
        """Whether a bucket has a token."""
        return self.tokens.get(limit.digest, limit.size) >= 1

    def follow(self, candidate: Candidate, outcome: str) -> None:
        """Take what a candidate that was stored takes."""
        callback = candidate.callback
        is_limited = any(not self.has(limit) for limit in candidate.hidden_limits)
        for limit in filter(self.has, candidate.rate_limits):
            self.tokens[limit.digest] = self.tokens.get(limit.digest, limit.size) - 1
        self.calls += candidate.budget is not None
        if callback.idempotency_key is not None:
            self.keys[callback.idempotency_key] = str(callback.request_digest)
        if outcome == "decoy":
            self.decoys += 1
            self.rejections += callback.to_number == LISTED or is_limited
            self.limited += callback.to_number != LISTED and is_limited
            return
        self.callbacks += 1
        self.requests += candidate.website_request is not None
        self.told += bool(candidate.form_key)
        if callback.holds_number:
            self.holders[callback.to_number] = callback


def make(luck: random.Random, form: Form, at: datetime, calls: int) -> Candidate:
    """A random candidate: of staff, of a visitor or of an API key."""
    source = luck.choice([Source.STAFF, Source.WEBSITE, Source.WEBSITE, Source.API])
    number, key = luck.choice(NUMBERS), luck.choice([None, None, *(f"{source}-{n}" for n in range(12))])
    due_at = at + timedelta(hours=1) if luck.random() < 0.2 else at
    is_staff, is_visitor = source == Source.STAFF, source == Source.WEBSITE
    common: dict[str, Any] = {"idempotency_key": key, "request_digest": luck.choice("aaab") if key else None}
    common |= {"due_at": due_at, "created_at": at}
    callback = prepare_for_insert(
        Callback(
            portal_id=form.portal_id,
            form_id=None if is_staff else form.id,
            to_number=number,
            line_id="reg150907",
            line_name="Sales line",
            text="Callback request.",
            source=source,
            expires_at=due_at + timedelta(hours=1),
            updated_at=at,
            attempts=[],
            decisions=[],
            **common,
        )
    )
    candidate = Candidate(callback=callback, at=at)
    if is_staff:
        return candidate
    limits = [
        RateLimit("number_day", f"number {number}", 6, 86400.0, is_hidden=True),
        RateLimit("form_day", "form", 90, 86400.0),
    ]
    if luck.random() < 0.5:
        limits.append(RateLimit("proof_unspent", f"proof {luck.randrange(30)}", 1, 1200.0, is_single_use=True))
    overspent: Facts | None = {"budget": "1"} if luck.random() < 0.5 else None
    money = DayMoney(calls if overspent else luck.choice([calls + 1, calls + 5]), overspent)
    look_up = luck.choice([None, lambda _: money])
    budget = Budget(form.id, at.date(), luck.choice([None, CALLS]), look_up)
    request = WebsiteRequest(callback_id=callback.id, form_id=form.id, number_digest=f"d{number}", created_at=at)
    return replace(
        candidate,
        website_request=request,
        form_key=form.key,
        number_digest=f"d{number}",
        rate_limits=tuple(limits),
        budget=luck.choice([budget, None]),
        decoy=DecoyRequest(form_id=form.id, id=callback.id, **common) if is_visitor else None,
        rejection=Rejection(portal_id=form.portal_id, form_id=form.id, rule=NOT_LISTED, inputs={}, made_at=at)
        if is_visitor
        else None,
    )


def stored(model: Model) -> dict[str, Any]:
    """What the database holds, in the model's terms."""
    with reading() as session:
        tables = {
            "callbacks": Callback,
            "requests": WebsiteRequest,
            "decoys": DecoyRequest,
            "rejections": Rejection,
            "told": WebhookDelivery,
        }
        counts: dict[str, Any] = {
            name: session.scalars(select(func.count()).select_from(table)).one() for name, table in tables.items()
        }
        is_limited = select(func.count()).where(Rejection.rule == NUMBER_DAY)
        counts["limited"] = session.scalars(is_limited).one()
        counts["calls"] = session.scalar(select(BudgetDay.calls)) or 0
        counts["tokens"] = {
            row.digest: row.tokens for row in session.scalars(select(TokenBucket)) if row.digest in model.tokens
        }
        counts["holders"] = set(session.scalars(select(Callback.id).where(Callback.holds_number)))
    return counts


def end_one(model: Model, luck: random.Random, at: datetime) -> None:
    """A callback in hand ends: its number is free again."""
    ended = model.holders.pop(luck.choice(list(model.holders)))
    with writing() as session:
        session.get_one(Callback, ended.id).cancel(at)
    model.told += ended.form_id is not None


def outcome_of(candidate: Candidate) -> str:
    try:
        outcome = accept(lambda: candidate)
    except IdempotencyKeyReused:
        return "reused"
    if isinstance(outcome, Obstacle):
        assert (outcome.earlier is not None) == (outcome.condition == KEY_UNUSED)
        assert (outcome.holder is not None) == (outcome.condition == NUMBER_NOT_IN_HAND)
        return outcome.condition
    assert outcome is (candidate.callback if isinstance(outcome, Callback) else candidate.decoy)
    return "accepted" if isinstance(outcome, Callback) else "decoy"


@pytest.mark.parametrize("seed", range(3))
def test_what_is_stored_and_what_is_explained_agree_with_the_conditions(
    app: Flask, visitor: Visitor, seed: int
) -> None:
    luck, model = random.Random(seed), Model()
    with app.app_context():
        with writing() as session:
            form = session.scalars(select(Form)).one()
            session.add(DoNotCall(portal_id=form.portal_id, number_digest=f"d{LISTED}", number=LISTED))
            session.add(Webhook(portal_id=form.portal_id, form_id=form.id, url="https://a.example", secret_sealed="-"))
        met: set[str] = set()
        at = utcnow()
        for _ in range(ROUNDS):
            candidate = make(luck, form, at, model.calls)
            expected = model.expects(candidate)
            assert outcome_of(candidate) == expected
            met.add(expected)
            if expected in ("accepted", "decoy"):
                model.follow(candidate, expected)
            found = stored(model)
            held = {callback.id for callback in model.holders.values()}
            assert found == {
                "callbacks": model.callbacks,
                "requests": model.requests,
                "decoys": model.decoys,
                "rejections": model.rejections,
                "limited": model.limited,
                "told": model.told,
                "calls": model.calls,
                "tokens": model.tokens,
                "holders": held,
            }
            if model.holders and luck.random() < 0.3:
                end_one(model, luck, at)
    assert model.limited
    assert met >= {"accepted", "decoy", KEY_UNUSED, NOT_LISTED, TOKENS_LEFT, BUDGET_MONEY, NUMBER_NOT_IN_HAND}


def tries_beside_others(app: Flask, money_calls: Iterator[int], counted: int, moved_away: int = 0) -> int:
    """Accept a request while others were counted since the money was looked up; returns how many tries it took."""
    luck, at, tries = random.Random(1), utcnow(), []
    with app.app_context():
        with reading() as session:
            form = session.scalars(select(Form)).one()

        def again() -> Candidate:
            candidate = make(luck, form, at, 0)
            while candidate.website_request is None or candidate.callback.to_number == LISTED:
                candidate = make(luck, form, at, 0)
            tries.append(candidate)
            money = DayMoney(next(money_calls))
            budget = Budget(form.id, at.date(), look_up=lambda _: money)
            return replace(candidate, budget=budget, rate_limits=())

        with writing() as session:
            session.add(BudgetDay(form_id=form.id, day=at.date(), calls=counted, moved_away=moved_away))
        assert isinstance(accept(again), Callback)
        assert stored(Model())["calls"] == counted + 1
    return len(tries)


def test_money_that_others_have_used_up_meanwhile_is_looked_up_again(app: Flask, visitor: Visitor) -> None:
    assert tries_beside_others(app, iter([3, 4]), counted=3) == 2


def test_who_is_moved_away_meanwhile_leaves_no_money_that_was_looked_up_before(app: Flask, visitor: Visitor) -> None:
    assert tries_beside_others(app, iter([3, 4]), counted=3, moved_away=2) == 2


def test_others_who_left_enough_money_cost_no_try(app: Flask, visitor: Visitor) -> None:
    assert tries_beside_others(app, iter([4]), counted=3) == 1


def test_whoever_loses_every_try_is_told_to_come_again(
    app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bx24app.services.callbacks.accept.COLLISION_SECONDS", 0.1)
    with pytest.raises(DatabaseBusy):
        tries_beside_others(app, repeat(0), counted=3)

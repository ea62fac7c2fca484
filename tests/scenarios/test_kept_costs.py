"""Of very many calls a day's cost is kept for a moment: what is dialled meanwhile counts at once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import writing
from bx24app.models import Attempt, Callback, Form, utcnow
from bx24app.models.lease import CLOCK_SLACK
from bx24app.services.runtime import local_memory
from bx24app.services.websites import budgets
from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_rate_limits import PLENTY, let_calls_cost
from tests.support.actors import Actor
from tests.support.visitors import Visitor
from tests.support.waiting import work
from tests.support.websites import MakeVisitor

NOW: datetime = (datetime.now(UTC) + timedelta(days=1)).replace(hour=10, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def morning() -> Iterator[None]:
    """Everything happens on the morning of a day: no test passes midnight."""
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def many_calls(
    morning: None, app: Flask, manager: Actor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> list[Callback]:
    """Very many were called an hour ago, each for a euro; nobody dials."""
    monkeypatch.setattr(budgets, "MANY_ATTEMPTS", 3)
    monkeypatch.setattr(budgets, "MANY_KEPT_SECONDS", 600.0)
    worker.stop()
    let_calls_cost(app, manager, ["1.00"] * 5)
    with app.app_context(), writing() as session:
        session.execute(update(Attempt).values(started_at=utcnow() - timedelta(hours=1)))
        return list(session.scalars(select(Callback)))


@pytest.fixture
def busy(many_calls: list[Callback], visitor_of: MakeVisitor) -> Visitor:
    """A form that has money for four calls, which are taken."""
    visitor = visitor_of(limits=PLENTY, budget_money="4.00", budget_currency="EUR")
    assert [asks(visitor, place) for place in range(5)] == [202] * 4 + [429]
    return visitor


def asks(visitor: Visitor, place: int) -> int:
    return visitor.asks(f"+4930901{place:03}").status_code


@pytest.mark.parametrize("behind", [timedelta(0), CLOCK_SLACK], ids=["right clock", "clock behind"])
def test_what_is_dialled_while_a_sum_is_kept_counts_at_once(
    app: Flask, busy: Visitor, portal: FakePortal, behind: timedelta
) -> None:
    """Whoever let requests wait, and asked again when they were dialled, had a budget overrun by all of these."""
    assert work(app) > 1
    with app.app_context(), writing() as session:
        for dialled in session.scalars(select(Attempt).join(Callback).where(Callback.form_id.is_not(None))):
            dialled.started_at -= behind
    assert [asks(busy, place) for place in (10, 11)] == [429, 429]


def test_a_call_that_was_not_executed_or_has_cost_less_leaves_its_money(app: Flask, busy: Visitor) -> None:
    """Of what began minutes ago the portal's word may be read a moment later."""
    dialled = work(app)
    assert dialled > 1
    with app.app_context(), writing() as session:
        of_form = select(Callback.id).where(Callback.form_id.is_not(None))
        began = update(Attempt).where(Attempt.callback_id.in_(of_form))
        session.execute(began.values(outcome="completed", cost="0.50", cost_currency="EUR"))
    fit = dialled // 2
    assert [asks(busy, place) for place in range(10, 11 + fit)] == [202] * fit + [429]


def test_of_very_many_calls_the_sum_is_kept_for_a_moment(
    app: Flask, many_calls: list[Callback], visitor_of: MakeVisitor
) -> None:
    visitor = visitor_of(limits=PLENTY, budget_money="6.00", budget_currency="EUR")
    forget(app)  # The answer of making the form had it added up.
    all_of_them = update(Callback).where(Callback.id.in_([one.id for one in many_calls]))
    with app.app_context(), writing() as session:
        session.execute(all_of_them.values(form_id=select(Form.id).scalar_subquery()))
    assert [asks(visitor, place) for place in range(2)] == [202, 429]
    with app.app_context(), writing() as session:
        session.execute(all_of_them.values(form_id=None))
    assert asks(visitor, 2) == 429
    forget(app)
    assert asks(visitor, 3) == 202


def forget(app: Flask) -> None:
    """The moment is over."""
    app.extensions.pop(local_memory.MEMORY_STATE, None)

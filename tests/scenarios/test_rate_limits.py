"""Limits and budgets of website forms: how they fill again, whom they count together, and what money they keep back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select, update

from bx24app.database import db, reading, writing
from bx24app.models import Attempt, Callback, Form, Rejection, State, TokenBucket, WebsiteRequest, utcnow
from bx24app.services import retention
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.security import networks
from bx24app.services.websites import budgets, quotas
from tests.conftest import OtherApp
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()


def take(app: Flask, *buckets: RateLimit, at: float = NOON) -> str | None:
    """What one transaction finds; nothing is taken when one bucket is empty."""
    with app.app_context():
        try:
            with writing() as session:
                empty = rate_limit.take_tokens(session, buckets, at)
                if empty is not None:
                    raise LookupError(empty.name)
        except LookupError as error:
            return str(error)
    return None


def test_a_bucket_empties_and_fills_again(app: Flask) -> None:
    bucket = RateLimit("few", "a" * 64, 3, 3600)
    assert [take(app, bucket) for _ in range(5)] == [None, None, None, "few", "few"]
    assert take(app, bucket, at=NOON + 1199) == "few"
    assert [take(app, bucket, at=NOON + 1201) for _ in range(2)] == [None, "few"]
    assert [take(app, bucket, at=NOON + 9999) for _ in range(4)] == [None, None, None, "few"]


def test_nothing_is_taken_from_the_others_when_one_bucket_is_empty(app: Flask) -> None:
    small, large = RateLimit("small", "a" * 64, 1, 3600), RateLimit("large", "b" * 64, 2, 3600)
    assert [take(app, small, large) for _ in range(4)] == [None, "small", "small", "small"]
    assert [take(app, large) for _ in range(2)] == [None, "large"]


def test_a_clock_that_is_set_back_fills_nothing(app: Flask) -> None:
    bucket = RateLimit("few", "a" * 64, 2, 3600)
    taken = [take(app, bucket, at=NOON + shift) for shift in (0, -1800, -3600, 0, 1)]
    assert taken == [None, None, "few", "few", "few"]


@pytest.mark.parametrize("seconds", [60, 3600, 86_400])
def test_a_bucket_fills_again_that_a_clock_has_seen_which_was_days_ahead(app: Flask, seconds: int) -> None:
    """By its own pace when it could have filled once, and whoever only reads finds the same as who takes."""
    bucket = RateLimit("few", "a" * 64, 2, seconds)
    assert [take(app, bucket, at=NOON + 3 * 86_400) for _ in range(3)] == [None, None, "few"]
    with app.app_context(), reading() as session:
        assert rate_limit.tokens_left(session, bucket, NOON) == 2
    assert [take(app, bucket) for _ in range(3)] == [None, None, "few"]
    assert [take(app, bucket, at=NOON + seconds * 1.51) for _ in range(2)] == [None, "few"]


def test_a_token_that_is_given_back_by_the_right_clock_ends_the_wrong_one(app: Flask) -> None:
    bucket = RateLimit("few", "a" * 64, 2, 60)
    assert [take(app, bucket, at=NOON + 3 * 86_400) for _ in range(3)] == [None, None, "few"]
    with app.app_context(), writing() as session:
        rate_limit.give_back(session, [bucket], NOON)
    assert [take(app, bucket, at=NOON + shift) for shift in (0, 0, 0, 91)] == [None, None, "few", None]


def test_what_is_spent_once_stays_spent_whatever_the_clock_says(app: Flask) -> None:
    proof = RateLimit("proof", "a" * 64, 1, 3600, is_single_use=True)
    assert [take(app, proof, at=NOON + shift) for shift in (3 * 86_400, 0, -86_400, 1)] == [
        None,
        "proof",
        "proof",
        "proof",
    ]
    with app.app_context(), reading() as session:
        assert rate_limit.tokens_left(session, proof, NOON) == 0


def test_a_smaller_limit_counts_at_once(app: Flask) -> None:
    assert take(app, RateLimit("few", "a" * 64, 100, 3600)) is None
    assert [take(app, RateLimit("few", "a" * 64, 2, 3600)) for _ in range(2)] == [None, "few"]


def test_what_was_taken_counts_for_a_larger_and_a_smaller_limit_of_the_same(app: Flask) -> None:
    """Forms of one portal may allow a number once a day, or twenty times."""
    one, twenty = (RateLimit("number", "a" * 64, size, 86_400) for size in (1, 20))
    assert take(app, one) is None
    assert [take(app, twenty) for _ in range(20)] == [None] * 19 + ["number"]
    assert take(app, one) == "number"
    with app.app_context(), reading() as session:
        assert [rate_limit.tokens_left(session, bucket, NOON) for bucket in (one, twenty)] == [-19, 0]


def test_twenty_threads_take_no_more_than_there_is(app: Flask) -> None:
    buckets = [RateLimit(f"b{place}", str(place) * 64, 7, 3600) for place in range(4)]
    with ThreadPoolExecutor(20) as pool:
        taken = list(pool.map(lambda turn: take(app, *(buckets if turn % 2 else buckets[::-1])), range(40)))
    assert taken.count(None) == 7


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("unknown", "unknown"),
        ("another", "unknown"),
        ("", ""),
    ],
)
def test_an_ipv6_household_counts_as_one(address: str, network: str) -> None:
    assert networks.network_of(address) == network


@pytest.mark.parametrize(
    ("network", "wider"),
    [
        ("203.0.113.7", ["203.0.113.0/24"]),
        ("2001:db8:1:2ff::/64", ["2001:db8:1::/48", "2001:db8:1:200::/56"]),
        ("unknown", ["unknown"]),
        ("", [""]),
    ],
)
def test_a_network_stands_in_wider_ones(network: str, wider: list[str]) -> None:
    assert networks.wider_networks(network) == wider


# What one tenant, one office and one attacker has: the most that each takes of the limits of a new form in an hour.
@pytest.mark.parametrize(
    ("address", "taken", "rule"),
    [
        ("2001:db8:77:{}::1", 10, "network_hour"),
        ("2001:db8:77:{}00::1", 20, "network_hour"),
        ("198.51.100.{}", 20, "network_hour"),
    ],
    ids=["/56", "/48", "/24"],
)
def test_one_network_takes_a_part_of_a_form_and_others_find_room(
    app: Flask, visitor_of: MakeVisitor, address: str, taken: int, rule: str
) -> None:
    visitor = visitor_of()
    answers = []
    for place in range(30):
        visitor.address = address.format(f"{place:x}" if ":" in address else place)
        answers.append(visitor.asks(f"+49309010{place:02}"))
    assert [answer.status_code for answer in answers] == [202] * taken + [429] * (30 - taken)
    with app.app_context(), reading() as session:
        assert set(session.scalars(select(Rejection.rule))) == {rule}
    visitor.address = "192.0.2.55"
    assert visitor.asks("+493090200").status_code == 202


def test_one_network_takes_a_third_of_a_day(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits={"address_hour": 5, "number_day": 3, "form_hour": 60, "form_day": 30})
    visitor.address = "198.51.100.1"
    at, taken = datetime(2026, 11, 24, 6, 0, tzinfo=UTC), 0
    for place in range(15):
        visitor.address = f"198.51.100.{place}"
        with time_machine.travel(at + timedelta(seconds=place)):
            taken += visitor.asks(f"+49309010{place:02}").status_code == 202
    assert taken == 10


def test_an_address_may_always_use_its_own_limit(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits={"address_hour": 8, "number_day": 3, "form_hour": 9, "form_day": 9})
    assert [visitor.asks(f"+49309010{place:02}").status_code for place in range(9)] == [202] * 8 + [429]


def test_one_address_and_one_number_have_their_own_limits(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits=PLENTY | {"address_hour": 2, "number_day": 1})
    visitor.address = "2001:db8::1"
    assert visitor.asks("+4930901001").status_code == 202
    visitor.address = "2001:db8::2"
    assert visitor.asks("+4930901001").status_code == 202
    same_address = visitor.asks("+4930901003")
    assert (same_address.status_code, int(same_address.headers["Retry-After"]) > 0) == (429, True)
    visitor.address = "2001:db8:0:1::1"
    assert visitor.asks("+4930901003").status_code == 202
    with app.app_context(), reading() as session:
        assert list(session.scalars(select(Rejection.rule).order_by(Rejection.id))) == ["number_day", "address_hour"]


def test_the_budget_of_calls_ends_with_the_day_of_the_forms_zone(desk: Actor, visitor_of: MakeVisitor) -> None:
    week = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    visitor = visitor_of(budget_calls=1, hours={"zone": "Asia/Tokyo", "week": week})
    with time_machine.travel(datetime(2026, 11, 24, 14, 50, tzinfo=UTC)):
        assert visitor.asks("+4930901001").status_code == 202
        refused = visitor.asks("+4930901002")
        assert (refused.status_code, json_of(refused)["code"]) == (429, "budget_exhausted")
        assert 500 < int(refused.headers["Retry-After"]) <= 600
    with time_machine.travel(datetime(2026, 11, 24, 15, 10, tzinfo=UTC)):
        assert visitor.asks("+4930901002").status_code == 202


def test_an_administrator_sees_that_a_budget_is_used_up(desk: Actor, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(budget_calls=1)
    assert json_of(desk.asks("GET", f"/forms/{visitor.form_key}"))["problems"] == []
    visitor.asks()
    assert json_of(desk.asks("GET", f"/forms/{visitor.form_key}"))["problems"] == ["budget_calls"]
    trial = {"form_key": visitor.form_key, "number": "+4930901002"}
    assert json_of(desk.asks("POST", "/rules/test", trial))["decides"] == "budget_calls"
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"budget_calls": None})
    assert json_of(desk.asks("POST", "/rules/test", trial))["decides"] is None


def let_calls_cost(app: Flask, manager: Actor, costs: list[str]) -> None:
    """Calls of staff in the last days, whose costs have come by now."""
    with app.app_context():
        for place, cost in enumerate(costs):
            created = json_of(manager.requests_callback(f"+4989901{place:03}"))
            with writing() as session:
                query = (
                    update(Callback).where(Callback.id == _id(created)).values(state="completed", holds_number=False)
                )
                session.execute(query)
                session.add(attempt(_id(created), cost, utcnow() - timedelta(days=2)))


def _id(created: dict[str, Any]) -> UUID:
    return UUID(created["id"])


def attempt(callback_id: UUID, cost: str, at: datetime) -> Attempt:
    return Attempt(
        portal_id=1,
        callback_id=callback_id,
        number=1,
        line_id="reg1",
        to_number="+4930",
        outcome="completed",
        cost=Decimal(cost),
        cost_currency="EUR",
        started_at=at,
        ended_at=at,
    )


def test_the_budget_of_money_keeps_a_reserve_for_every_open_call(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, other_app: OtherApp
) -> None:
    let_calls_cost(app, manager, [f"0.{tenth}0" for tenth in range(1, 10)] + ["1.00"])
    visitor = visitor_of(limits=PLENTY, budget_money="3.00", budget_currency="EUR")
    clients = [app.test_client(), other_app().test_client()]
    # Before: a proof is made at another time, which would be that of all threads.
    proofs = [visitor.works() for _ in range(15)]

    def ask(place: int) -> int:
        one = Visitor(clients[place % 2], visitor.form_key, origin=visitor.origin)
        return one.asks(f"+4930901{place:03}", altcha=proofs[place]).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    # Nine of ten calls cost at most 0.90: three of them fit, four would not.
    assert sorted(answers) == [202] * 3 + [429] * 5
    end_calls(app, "0.10")
    # The real cost is known now: 0.30, and three more reserves make exactly 3.00.
    assert [ask(place) for place in range(10, 15)] == [202, 202, 202, 429, 429]
    with app.app_context(), reading() as session:
        refusal = session.scalars(select(Rejection).order_by(Rejection.id.desc())).first()
    assert refusal is not None
    assert (refusal.rule, refusal.inputs["reserve"], refusal.inputs["open_calls"]) == ("budget_money", "0.9000", 3)


def end_calls(app: Flask, cost: str) -> None:
    """Every open call of a form has ended, and its cost has come."""
    with app.app_context(), writing() as session:
        waiting = session.scalars(select(Callback).where(Callback.form_id.is_not(None), Callback.state == State.QUEUED))
        for callback in waiting.all():
            session.add(attempt(callback.id, cost, utcnow()))
            callback.state, callback.holds_number = State.COMPLETED, False


def test_a_budget_without_any_known_cost_keeps_a_twentieth_for_each_call(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits=PLENTY, budget_money="10")
    answers = [visitor.asks(f"+4930901{place:03}").status_code for place in range(22)]
    assert answers == [202] * 20 + [429] * 2


@pytest.mark.parametrize(("costs", "taken"), [(["0.00"] * 20, 20), (["0.50"] + ["0.00"] * 19, 4)])
def test_calls_that_nobody_answers_make_no_budget_endless(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, costs: list[str], taken: int
) -> None:
    let_calls_cost(app, manager, costs)
    visitor = visitor_of(limits=PLENTY, budget_money="2.00", budget_currency="EUR")
    answers = [visitor.asks(f"+4930901{place:03}").status_code for place in range(taken + 1)]
    assert answers == [202] * taken + [429]


def test_what_a_day_has_cost_is_added_up_once_for_all_forms(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, administrator: Actor
) -> None:
    """A portal has 200 forms, and may have dialled thousands of times on a day."""
    let_calls_cost(app, manager, ["0.50"] * 5)
    for _ in range(6):
        visitor_of(limits=PLENTY, budget_money="2.00", budget_currency="EUR")
    asked: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note := lambda *given: asked.append(given[2]))
        try:
            assert administrator.opens().status_code == 200
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
    assert len([sql for sql in asked if "sum(" in sql and "attempt.cost" in sql]) == 1


def test_no_number_is_asked_for_more_than_a_thousand_times_a_day(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, administrator: Actor
) -> None:
    """A version before allowed 100,000, and what waits for one number is gone through again and again."""
    key = visitor_of(limits=PLENTY).form_key
    refused = administrator.asks("PATCH", f"/forms/{key}", {"limits": PLENTY | {"number_day": 1001}})
    assert (refused.status_code, json_of(refused)["errors"][0]["field"]) == (400, "limits.number_day")
    with app.app_context():
        with writing() as session:
            session.execute(update(Form).where(Form.key == key).values(limits=PLENTY | {"number_day": 100_000}))
        with reading() as session:
            form = session.scalars(select(Form).where(Form.key == key)).one()
        assert quotas.of_number(form) == 1000


def test_a_budget_of_no_money_takes_nothing(visitor_of: MakeVisitor) -> None:
    assert visitor_of(budget_money="0").asks().status_code == 429


def test_the_money_is_not_looked_up_for_what_is_refused_without_it(
    visitor_of: MakeVisitor, other_app: OtherApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(limits=PLENTY, budget_money="10")
    full = visitor_of(limits=PLENTY | {"form_hour": 1}, budget_money="10")
    proof = visitor.works()
    assert visitor.asks(altcha=proof, idempotency_key="k").status_code == 202
    assert full.asks("+4930901821").status_code == 202
    looked_up: list[object] = []
    monkeypatch.setattr(budgets, "spent_money", lambda *given: looked_up.append(given))
    # Another process has not seen any of it.
    for client in (visitor.client, other_app().test_client()):
        one = Visitor(client, visitor.form_key, origin=visitor.origin)
        assert one.asks("+4930901822", altcha=proof).status_code == 400
        assert one.asks(idempotency_key="k").status_code == 202
        assert Visitor(client, full.form_key, origin=full.origin).asks("+4930901823").status_code == 429
    assert looked_up == []


def test_days_begin_and_end_where_the_clock_changes() -> None:
    day = budgets.local_day(datetime(2027, 3, 28, 12, 0, tzinfo=UTC), "Europe/Berlin")
    assert day.ends_at - day.begins_at == timedelta(hours=23)


def test_what_is_not_needed_any_more_is_forgotten(app: Flask, visitor: Visitor) -> None:
    assert visitor.asks().status_code == 202
    assert visitor.asks("12345").status_code == 422
    with app.app_context():
        assert retention.purge_visitors() == 0
        with time_machine.travel(utcnow() + timedelta(days=2)):
            retention.purge_visitors()
        with reading() as session:
            assert session.scalars(select(TokenBucket)).all() == []
            assert session.scalars(select(Rejection.rule)).all() == ["number_short"]
            assert session.scalars(select(WebsiteRequest.address)).all() == ["203.0.113.7"]
        with time_machine.travel(utcnow() + timedelta(days=31)):
            retention.purge_visitors()
        with reading() as session:
            assert session.scalars(select(Rejection)).all() == []
        with time_machine.travel(utcnow() + timedelta(days=366)):
            retention.purge_visitors()
        with reading() as session:
            assert session.scalars(select(WebsiteRequest.address)).all() == [None]

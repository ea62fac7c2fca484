"""Decoys beside true requests: whatever a visitor can look at is alike, for a number in hand and for a listed one."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import (
    TRANSITIONS,
    Attempt,
    Callback,
    DecoyRequest,
    Outcome,
    Rejection,
    State,
    TokenBucket,
    utcnow,
)
from bx24app.services.callbacks import accept as accepting
from bx24app.services.dialling import queue
from bx24app.services.websites import status_page
from bx24app.settings import settings
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_website_submissions import watch_writes
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

FREE, IN_HAND, LISTED = "+494042828", CUSTOMER, "+4989636200"
# A Wednesday, 11:00 in Berlin.
NOON = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
HOURS = {
    "zone": "Europe/Berlin",
    "week": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
}
MANY = {"address_hour": 50, "number_day": 3, "form_hour": 60, "form_day": 300}


@pytest.fixture
def form(desk: Actor, manager: Actor, visitor_of: MakeVisitor) -> Iterator[Visitor]:
    """A form with hours and retries, on a day on which nobody dials; one number is in hand and another is listed."""
    visitor = visitor_of(hours=HOURS, limits=MANY, retries=2, retry_minutes=10)
    assert desk.asks("POST", "/do-not-call", {"number": LISTED}).status_code == 201
    assert manager.requests_callback(IN_HAND).status_code == 201
    with time_machine.travel(NOON, tick=False):
        yield visitor


def asks(visitor: Visitor, number: str, **body: Any) -> dict[str, Any]:
    answer = visitor.asks(number, name="Anna", **body)
    assert answer.status_code == 202, answer.text
    return json_of(answer) | {"headers": sorted(answer.headers.keys())}


def looks(visitor: Visitor, answer: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a script and what a browser is shown, without what names the request."""
    page = visitor.looks(answer["status_url"], Accept="text/html")
    signed = answer["status_url"].rpartition("/c/")[2]
    return json_of(visitor.looks(answer["status_url"])), page.text.replace(signed, "-")


def acts(visitor: Visitor, answer: dict[str, Any], action: str, **body: Any) -> tuple[int, dict[str, Any]]:
    path = "/c/" + answer["status_url"].rpartition("/c/")[2]
    done = visitor.client.post(f"{path}/{action}", json=body, headers={"Accept": "application/json"})
    return done.status_code, json_of(done)


def rows(app: Flask, model: type[Any]) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


def goes_on(app: Flask, at: datetime) -> None:
    """A worker leases a moment later what is due then, but dials nobody."""
    with time_machine.travel(at + timedelta(milliseconds=20), tick=False), app.app_context():
        queue.lease_due(4)


PLANS = [None, NOON - timedelta(seconds=30), NOON + timedelta(hours=2), NOON + timedelta(days=28)]


@pytest.mark.parametrize("number", [IN_HAND, LISTED])
@pytest.mark.parametrize("planned", PLANS)
def test_the_answer_is_that_of_a_true_request(app: Flask, form: Visitor, number: str, planned: datetime | None) -> None:
    body = {"scheduled_at": planned.isoformat()} if planned else {}
    true, decoy = asks(form, FREE, **body), asks(form, number, **body)
    # A call that is planned is made besides whatever has the number now.
    is_made = number == IN_HAND and planned is not None and planned > NOON
    assert [str(row.id) for row in rows(app, DecoyRequest)] == ([] if is_made else [decoy["reference"]])
    for name in ("reference", "status_url"):
        assert len(true[name]) == len(decoy[name])
    assert true["reference"][14] == decoy["reference"][14] == "7"
    named = {"reference", "status_url"}
    assert {k: v for k, v in true.items() if k not in named} == {k: v for k, v in decoy.items() if k not in named}
    assert looks(form, true) == looks(form, decoy)
    if planned and planned > NOON:
        with time_machine.travel(planned - timedelta(minutes=1), tick=False):
            assert looks(form, true) == looks(form, decoy)


@pytest.mark.parametrize("number", [IN_HAND, LISTED])
def test_refusals_and_limits_are_those_of_a_true_request(app: Flask, form: Visitor, number: str) -> None:
    night = {"scheduled_at": (NOON + timedelta(hours=12)).isoformat()}
    far = {"scheduled_at": (NOON + timedelta(days=200)).isoformat()}
    for body in (night, far, {"altcha": "x"}, {"scheduled_at": "soon"}):
        true, decoy = (form.asks(each, **body) for each in (FREE, number))
        assert true.status_code >= 400
        assert (true.status_code, json_of(true)) == (decoy.status_code, json_of(decoy))
    spent = form.works()
    asks(form, number, altcha=spent)
    again = form.asks(number, altcha=spent)
    assert (again.status_code, json_of(again)["code"]) == (400, "invalid_request")
    # The limits of a form and of an address are told of any number.
    bare = form.asks(FREE, altcha=spent)
    assert (bare.status_code, json_of(bare)) == (again.status_code, json_of(again))


def test_a_number_that_is_asked_for_too_often_is_answered_like_any_other_and_the_portal_is_told(
    app: Flask, form: Visitor
) -> None:
    """Else the fourth request would tell whether somebody has asked for this number today."""
    plan = {"scheduled_at": (NOON + timedelta(hours=1)).isoformat()}
    true = [asks(form, FREE, **plan) for _ in range(3)]
    limited, other = asks(form, FREE, **plan), asks(form, "+494042829", **plan)
    assert len(rows(app, Callback)) == len(true) + 2
    assert [(row.rule, row.inputs["number"]) for row in rows(app, Rejection)] == [("number_day", "...828")]
    [decoy] = rows(app, DecoyRequest)
    assert (str(decoy.id), decoy.holder_id) == (limited["reference"], None)
    named = {"reference", "status_url"}
    assert {k: v for k, v in limited.items() if k not in named} == {k: v for k, v in other.items() if k not in named}
    assert looks(form, limited) == looks(form, other)
    assert acts(form, limited, "cancel") == acts(form, other, "cancel")


def withdraws(visitor: Visitor, answer: dict[str, Any]) -> None:
    assert acts(visitor, answer, "cancel")[0] == 200


def test_withdrawn_requests_shut_nobody_out(app: Flask, form: Visitor) -> None:
    plan = {"scheduled_at": (NOON + timedelta(days=2)).isoformat()}
    for _ in range(5):
        withdraws(form, asks(form, FREE, **plan))
    asks(form, FREE)
    assert not rows(app, Rejection)
    states = sorted(callback.state for callback in rows(app, Callback) if callback.form_id is not None)
    assert states == [State.CANCELLED] * 5 + [State.QUEUED]


def test_withdrawn_requests_save_up_none_and_decoys_give_nothing_back(app: Flask, form: Visitor) -> None:
    plan = {"scheduled_at": (NOON + timedelta(days=2)).isoformat()}
    first, *_ = (asks(form, FREE, **plan) for _ in range(3))
    withdraws(form, asks(form, FREE, **plan))
    withdraws(form, asks(form, FREE, **plan))
    assert [row.rule for row in rows(app, Rejection)] == ["number_day"] * 2
    with time_machine.travel(NOON + timedelta(hours=7, minutes=59), tick=False):
        withdraws(form, first)
    assert left(app) == pytest.approx([1.998], abs=0.01)
    # A token has come back by itself after a third of the day.
    with time_machine.travel(NOON + timedelta(hours=8, minutes=1), tick=False):
        withdraws(form, asks(form, "+494042829", **plan))
        later = asks(form, "+494042831", **plan)
    with time_machine.travel(NOON + timedelta(hours=17), tick=False):
        before = left(app)
        withdraws(form, later)
        assert left(app) == before


def test_requests_without_a_proof_of_work_leave_the_rest_of_a_numbers_limit(app: Flask, form: Visitor) -> None:
    """They may use a third of it: what comes beyond is a decoy, and takes nothing from those who have worked."""
    plan = {"scheduled_at": (NOON + timedelta(days=2)).isoformat()}
    plain = [asks(form, FREE, token=form.opens(), **plan) for _ in range(4)]
    assert len({frozenset(answer) for answer in plain}) == 1
    assert left(app) == pytest.approx([2])
    worked = [asks(form, FREE, **plan) for _ in range(3)]
    called = {str(row.id) for row in rows(app, Callback)}
    assert [answer["reference"] in called for answer in plain + worked] == [True, *[False] * 3, True, True, False]
    assert [row.rule for row in rows(app, Rejection)] == ["number_day"] * 4
    assert left(app) == pytest.approx([0], abs=0.01)


def test_plain_requests_that_come_at_once_take_no_more_than_their_part(app: Flask, form: Visitor) -> None:
    """However they and withdrawals meet, none waits for another one for ever."""
    plan = {"scheduled_at": (NOON + timedelta(days=2)).isoformat()}
    kept = asks(form, FREE, token=form.opens(), **plan)
    tokens = [form.opens() for _ in range(8)]
    with ThreadPoolExecutor(5) as threads:
        others = [replace(form, client=app.test_client(), address=f"203.0.113.{place}") for place in range(8)]
        given_back = threads.submit(withdraws, replace(form, client=app.test_client()), kept)
        asked = [
            threads.submit(asks, one, FREE, token=token, **plan) for one, token in zip(others, tokens, strict=True)
        ]
        for one in asked:
            one.result(30)
        given_back.result(30)
    # The one that was withdrawn gave its token back, and at most one more took it.
    true = [row for row in rows(app, Callback) if row.to_number == FREE and row.state == State.SCHEDULED]
    assert len(true) <= 1
    assert left(app)[-1] == pytest.approx(MANY["number_day"] - len(true))


def left(app: Flask) -> list[float]:
    """The tokens of the buckets of numbers, as they are stored."""
    with app.app_context(), reading() as session:
        query = select(TokenBucket.tokens).where(TokenBucket.size == MANY["number_day"]).order_by(TokenBucket.at)
        return list(session.scalars(query))


@pytest.mark.parametrize("number", [IN_HAND, LISTED])
def test_a_repeat_a_move_and_a_cancellation_are_those_of_a_true_request(form: Visitor, number: str) -> None:
    def steps(each: str) -> Iterator[Any]:
        planned = {"scheduled_at": (NOON + timedelta(days=2)).isoformat()}
        first = asks(form, each, idempotency_key="k")
        # Somebody moves a request only after it was made.
        with time_machine.travel(NOON + timedelta(milliseconds=20), tick=False):
            yield asks(form, each, idempotency_key="k") == first
            other = form.asks(each, name="Bert", idempotency_key="k")
            yield other.status_code, json_of(other)
            yield acts(form, first, "reschedule", scheduled_at="soon")
            yield acts(form, first, "reschedule", scheduled_at=(NOON + timedelta(hours=12)).isoformat())
            # Now: what is moved is planned, even if it is due at once.
            yield acts(form, first, "reschedule", scheduled_at=(NOON - timedelta(seconds=30)).isoformat())
            yield acts(form, first, "reschedule", **planned)
            yield asks(form, each, idempotency_key="k")["expected_at"]
            yield looks(form, first)
            yield acts(form, first, "cancel")
            yield acts(form, first, "cancel")
            yield acts(form, first, "reschedule", **planned)
            yield looks(form, first)

    assert list(steps(FREE)) == list(steps(number))


MOMENTS = [timedelta(seconds=0.01 * 1.09**n) for n in range(160)]


def timeline(visitor: Visitor, answer: dict[str, Any], begin: datetime) -> list[dict[str, Any]]:
    """What is shown as time goes by, from the milliseconds to the hours."""
    shown = []
    for after in MOMENTS:
        with time_machine.travel(begin + after, tick=False):
            shown.append(json_of(visitor.looks(answer["status_url"])))
    return shown


@pytest.mark.parametrize(("number", "planned"), [(IN_HAND, None), (LISTED, None), (LISTED, NOON + timedelta(days=28))])
def test_a_decoy_goes_the_way_of_a_call(app: Flask, form: Visitor, number: str, planned: datetime | None) -> None:
    answer = asks(form, number, **({"scheduled_at": planned.isoformat()} if planned else {}))
    begin = planned or NOON
    goes_on(app, begin)
    shown = timeline(form, answer, begin)
    states = [State(one["state"]) for one in shown]
    changes = [states[0], *(new for old, new in pairwise(states) if old != new)]
    assert changes[0] == (State.SCHEDULED if planned else State.QUEUED)
    for old, new in pairwise(changes):
        # A look may miss short states.
        assert new in TRANSITIONS[old] or any(new in TRANSITIONS[between] for between in TRANSITIONS[old])
    assert changes[-1] in (State.COMPLETED, State.MISSED)
    left = next(after for after, state in zip(MOMENTS, states, strict=True) if state != changes[0])
    assert left < timedelta(seconds=1)
    for one, state in zip(shown, states, strict=True):
        waits = state in (State.SCHEDULED, State.QUEUED)
        assert (one["can_cancel"], one["can_reschedule"], bool(one["slots"])) == (waits, waits, waits)
        assert (one["expected_at"] is not None) == waits
    assert timeline(form, answer, begin) == shown
    with time_machine.travel(begin + timedelta(days=9), tick=False):
        assert json_of(form.looks(answer["status_url"]))["state"] == changes[-1]
        assert acts(form, answer, "cancel")[0] == 409


def test_a_page_shows_of_a_decoy_what_it_shows_of_a_callback_in_the_same_state(app: Flask, form: Visitor) -> None:
    true, decoy = asks(form, FREE), asks(form, LISTED)
    goes_on(app, NOON)
    met = set()
    for after in MOMENTS:
        with time_machine.travel(NOON + after, tick=False):
            shown = json_of(form.looks(decoy["status_url"]))
            if shown["state"] in met or shown["state"] == State.SCHEDULED:
                continue
            met.add(shown["state"])
            with app.app_context(), writing() as session:
                session.execute(
                    update(Callback).where(Callback.to_number == FREE).values(state=shown["state"], holds_number=False)
                )
            assert looks(form, true) == looks(form, decoy), shown["state"]
    assert met >= {"queued", "started"}


@pytest.mark.parametrize("requests", [1, 9, 10, 15])
@pytest.mark.parametrize("number", [FREE, IN_HAND, LISTED])
def test_the_form_tells_whoever_comes_next_the_same_wait(app: Flask, form: Visitor, number: str, requests: int) -> None:
    """Of numbers that are called the calls are noted, as a worker would; of the others nobody is called."""
    for place in range(requests):
        asks(form, f"+4940428{30 + place}" if number == FREE or place % 5 else number)
    with app.app_context(), writing() as session:
        for callback in session.scalars(select(Callback).where(Callback.form_id.is_not(None))):
            called_at = callback.due_at + timedelta(seconds=1)
            callback.state, callback.reason, callback.ended_at = State.COMPLETED, None, called_at
            callback.holds_number = False
            callback.attempts.append(
                Attempt(
                    portal_id=callback.portal_id,
                    number=1,
                    line_id=callback.line_id,
                    to_number=callback.to_number,
                    outcome=Outcome.COMPLETED,
                    started_at=called_at,
                )
            )
        for decoy in session.scalars(select(DecoyRequest)):
            decoy.release(decoy.due_at + timedelta(seconds=1))
    with time_machine.travel(NOON + timedelta(minutes=10), tick=False):
        page = form.client.get(f"/w/{form.form_key}").text
    assert re.findall(r"within about (\d+) minutes", page) == ["2" if requests >= 10 else "5"]


def test_both_are_written_in_one_go_and_read_alike(app: Flask, form: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    # A job may have changed the portal meanwhile: then the form in memory is not the one that is stored.
    form.client.get(f"/w/{form.form_key}")
    trips = watch_writes(monkeypatch)

    def explained(*_: Any) -> None:
        raise AssertionError("an explanation takes its time")

    monkeypatch.setattr(accepting, "obstacles", explained)
    for number in (FREE, IN_HAND, LISTED):
        asks(form, number, scheduled_at=(NOON + timedelta(hours=1)).isoformat())
    assert len(trips) == 3
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql"):
        assert len({sql for [(sql, _)] in trips}) == 1


@pytest.mark.parametrize("end", ["do_not_call", "already_served"])
def test_what_ends_before_its_dial_because_of_its_number_looks_dialled(app: Flask, form: Visitor, end: str) -> None:
    """A number that is listed, or that the company calls, after the visitor has planned a call tells them nothing."""
    planned = NOON + timedelta(days=7)
    answer = asks(form, FREE, scheduled_at=planned.isoformat())
    with app.app_context(), writing() as session:
        callback = session.scalars(select(Callback).where(Callback.to_number == FREE)).one()
        at = planned + timedelta(seconds=0.2)
        (callback.fail if end == "do_not_call" else callback.cancel)(at, end)
    states = [State(one["state"]) for one in timeline(form, answer, planned + timedelta(seconds=0.2))]
    assert not {State.FAILED, State.CANCELLED} & set(states)
    assert State.STARTED in states
    assert states[-1] in (State.COMPLETED, State.MISSED)


def test_a_decoy_is_kept_as_long_as_a_callback(app: Flask, form: Visitor) -> None:
    asks(form, LISTED, scheduled_at=(NOON + timedelta(days=28)).isoformat())
    with app.app_context():
        kept = timedelta(days=settings.retention_days)
        for after, gone in ((kept + timedelta(days=1), 0), (kept + timedelta(days=29), 1)):
            with time_machine.travel(NOON + after, tick=False):
                assert status_page.purge_decoys() == gone


def test_a_true_request_beside_it_goes_its_way(
    app: Flask, desk: Actor, visitor: Visitor, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    desk.asks("POST", "/do-not-call", {"number": LISTED})
    true, decoy = asks(visitor, FREE), asks(visitor, LISTED)
    eventually(lambda: json_of(visitor.looks(true["status_url"]))["state"] == "started")
    eventually(lambda: json_of(visitor.looks(decoy["status_url"]))["state"] == "started")
    assert [dial["number"] for dial in portal.telephony.dials] == [FREE]
    assert utcnow() > datetime.fromisoformat(true["expected_at"])

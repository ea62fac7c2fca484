"""Requests from websites over several processes: taken once, limited exactly, and kept through SIGKILL."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest, Rejection, WebsiteRequest
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support.processes import Spawn, StartWeb, kill
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}


def send(url: str, visitor: Visitor, body: dict[str, Any]) -> requests.Response:
    path = f"{url}/w/{visitor.form_key}/callbacks"
    return requests.post(path, json=body, headers={"Origin": visitor.origin}, timeout=60)


def send_all(urls: list[str], visitor: Visitor, bodies: list[dict[str, Any]]) -> list[requests.Response]:
    """All at once, spread over the processes."""
    barrier = threading.Barrier(len(bodies))

    def one(place: int) -> requests.Response:
        barrier.wait()
        return send(urls[place % len(urls)], visitor, bodies[place])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(one, range(len(bodies))))


def bodies_for(visitor: Visitor, count: int, first: int = 0) -> list[dict[str, Any]]:
    numbers = [f"+4930901{first + place:04}" for place in range(count)]
    return [{"number": number, "idempotency_key": number, "altcha": visitor.works()} for number in numbers]


def count(app: Flask, model: type[Any]) -> int:
    with app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_identical_posts_in_parallel_give_one_row_and_one_dial(
    app: Flask, visitor: Visitor, portal: FakePortal, start_web: StartWeb, spawn: Spawn, eventually: Eventually
) -> None:
    urls = list(start_web(2))
    answers = send_all(urls, visitor, bodies_for(visitor, 1) * 8)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert (count(app, Callback), count(app, WebsiteRequest), count(app, DecoyRequest)) == (1, 1, 0)
    spawn("worker")
    eventually(lambda: len(portal.telephony.dials) == 1)
    time.sleep(1)
    assert len(portal.telephony.dials) == 1


def test_requests_for_one_number_in_parallel_give_one_row_and_decoys(
    app: Flask, visitor_of: MakeVisitor, start_web: StartWeb
) -> None:
    visitor, urls = visitor_of(limits=PLENTY), list(start_web(2))
    bodies = [body | {"number": "+4930901820"} for body in bodies_for(visitor, 8)]
    answers = send_all(urls, visitor, bodies)
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["state"] for answer in answers} == {"queued"}
    assert len({answer.json()["reference"] for answer in answers}) == 8
    assert (count(app, Callback), count(app, DecoyRequest)) == (1, 7)


def test_one_proof_is_good_for_one_request_over_all_processes(
    app: Flask, visitor_of: MakeVisitor, start_web: StartWeb
) -> None:
    visitor, urls = visitor_of(limits=PLENTY), list(start_web(2))
    proof = visitor.works()
    bodies = [{"number": f"+493090182{place}", "altcha": proof} for place in range(8)]
    answers = send_all(urls, visitor, bodies)
    assert Counter(answer.status_code for answer in answers) == {202: 1, 400: 7}
    assert count(app, Callback) == 1


@pytest.mark.parametrize("times", [4])
def test_nothing_accepted_is_lost_when_web_and_worker_are_killed_right_after_the_answer(
    app: Flask,
    visitor_of: MakeVisitor,
    portal: FakePortal,
    start_web: StartWeb,
    spawn: Spawn,
    eventually: Eventually,
    times: int,
) -> None:
    visitor, accepted = visitor_of(limits=PLENTY), []
    portal.events.pause()
    for body in bodies_for(visitor, times):
        [(url, web)] = start_web(1).items()
        worker = spawn("worker")
        answer = send(url, visitor, body)
        kill(web)
        kill(worker)
        assert answer.status_code == 202, answer.text
        accepted.append(body["number"])
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(leased_until=datetime.now(UTC) - timedelta(seconds=1)))
    spawn("worker")

    def all_settled() -> bool:
        with app.app_context(), reading() as session:
            return set(session.scalars(select(Callback.state))) <= {"started", "unknown"}

    eventually(all_settled)
    with app.app_context(), reading() as session:
        states = {row.to_number: row.state for row in session.scalars(select(Callback))}
    assert sorted(states) == sorted(accepted)
    dialled = Counter(dial["number"] for dial in portal.telephony.dials)
    assert set(dialled.values()) <= {1}
    assert {number for number, state in states.items() if state == "started"} <= set(dialled)


def test_all_who_come_at_once_are_taken_while_there_is_money_and_no_more(
    app: Flask, visitor_of: MakeVisitor, start_web: StartWeb
) -> None:
    rich = visitor_of(limits=PLENTY, budget_money="100000", budget_currency="EUR")
    # While no cost is known, a twentieth is kept for each call.
    poor = visitor_of(limits=PLENTY, budget_money="10", budget_currency="EUR")
    urls = list(start_web(2))
    for place, (visitor, taken) in enumerate([(rich, 16), (poor, 16), (poor, 4)]):
        answers = send_all(urls, visitor, bodies_for(visitor, 16, 100 * place))
        told = Counter((answer.status_code, answer.json().get("code")) for answer in answers)
        assert told == Counter({(202, None): taken, (429, "budget_exhausted"): 16 - taken})
    assert count(app, Callback) == 36


def test_limits_and_the_budget_of_calls_are_exact_over_four_processes_and_a_restart(
    app: Flask, visitor_of: MakeVisitor, start_web: StartWeb
) -> None:
    limited = visitor_of(limits=PLENTY | {"form_hour": 10})
    budgeted = visitor_of(limits=PLENTY, budget_calls=7)
    by_address = visitor_of(limits=PLENTY | {"address_hour": 5})
    expected = {limited: (10, "form_hour"), budgeted: (7, "budget_calls"), by_address: (5, "address_hour")}
    processes = start_web(4)
    for place, (visitor, (allowed, _)) in enumerate(expected.items()):
        answers = send_all(list(processes), visitor, bodies_for(visitor, 20, 100 * place))
        assert Counter(answer.status_code for answer in answers) == {202: allowed, 429: 20 - allowed}
    for process in processes.values():
        kill(process)
    urls = list(start_web(1))
    for place, visitor in enumerate(expected):
        answer = send(urls[0], visitor, bodies_for(visitor, 1, 100 * place + 50)[0])
        assert (answer.status_code, answer.json()["code"]) in ((429, "rate_limited"), (429, "budget_exhausted"))
    assert count(app, Callback) == sum(allowed for allowed, _ in expected.values())
    with app.app_context(), reading() as session:
        assert set(session.scalars(select(Rejection.rule))) == {rule for _, rule in expected.values()}

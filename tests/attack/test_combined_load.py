"""Everything at once against one portal: another one is answered within twice its usual time.

Whatever its portal is asked drips, also all that people meet inside of Bitrix24.
"""

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from uuid import uuid4

import pytest
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Portal
from tests.attack.load import Plan
from tests.attack.world import World, wait_for
from tests.scenarios.test_dripping_portals import NATIVE_JOBS, asks_for_native_work
from tests.support import ROOT
from tests.support.rule_steps import ONCE

FLOOD_PER_SECOND, SLOW_SENDERS, WAITING, OWN_LAUNCHES = 100, 50, 50, 8
# Of cards, to-dos with their notifications, and runs of rules each.
NATIVE_WORK = 20
SAMPLES = 12
WARM_UP_SECONDS = 4.0
PAUSE_SECONDS = 0.3
# Of the median, and what the scheduler of a busy machine adds to any of them.
MOST, NOISE_SECONDS = 2.0, 0.005
# The part of the flood that has to arrive for a measurement to count.
ENOUGH = 0.9
Samples = dict[str, list[float]]


def ask(world: World, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    """One request on a connection of its own; returns the status and what was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", world.deployment.port, timeout=60)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **sent})
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def call(world: World) -> tuple[str, str]:
    """Press *Call*; returns the callback's id and its number."""
    headers = {"Authorization": f"Bearer {world.neighbour.ticket}", "Idempotency_Key": str(uuid4())}
    body = {"to_number": (number := world.number()), "line_id": "reg150907"}
    status, content = ask(world, "POST", "/api/v1/callbacks", body, **headers)
    assert status == 201, content
    return json.loads(content)["id"], number


def call_accepted(world: World) -> float:
    began = time.perf_counter()
    call(world)
    return time.perf_counter() - began


def call_dialled(world: World) -> float:
    """Until the call's id is known here; nobody asks for it before the portal has been asked to dial."""
    began, dials = time.perf_counter(), world.neighbour.portal.telephony.dials
    callback_id, number = call(world)
    wait_for(lambda: any(dial["number"] == number for dial in dials[-5:]), pause=0.002)
    wait_for(lambda: bool(call_id_of(world, callback_id)), pause=0.01)
    return time.perf_counter() - began


def call_id_of(world: World, callback_id: str) -> str | None:
    headers = {"Authorization": f"Bearer {world.neighbour.ticket}"}
    attempts = json.loads(ask(world, "GET", f"/api/v1/callbacks/{callback_id}", **headers)[1])["attempts"]
    return attempts[0]["call_id"] if attempts else None


def form_opened(world: World) -> float:
    began = time.perf_counter()
    assert ask(world, "GET", f"/w/{world.neighbours_things['form_key']}")[0] == 200
    return time.perf_counter() - began


def form_sent(world: World) -> float:
    key = world.neighbours_things["form_key"]
    body = {
        "number": world.number(),
        "idempotency_key": str(uuid4()),
        "altcha": world.proof(world.neighbours_things),
    }
    address = f"198.51.{world.used_numbers % 250}.7"
    began = time.perf_counter()
    status, content = ask(
        world, "POST", f"/w/{key}/callbacks", body, Origin=world.deployment.url, X_Forwarded_For=address
    )
    assert status == 202, content
    return time.perf_counter() - began


MEASURED: dict[str, Callable[[World], float]] = {
    "Call to 201": call_accepted,
    "Call to call_id": call_dialled,
    "form opened": form_opened,
    "form sent to 202": form_sent,
}


def sample(world: World) -> Samples:
    """Take turns, so that what else the machine does falls on all alike."""
    found: Samples = {name: [] for name in MEASURED}
    for _ in range(SAMPLES):
        for name, measure in MEASURED.items():
            found[name].append(measure(world))
            time.sleep(PAUSE_SECONDS)
    return found


def plan_of(world: World) -> Plan:
    posts = [world.employee.launches() for _ in range(OWN_LAUNCHES)]
    return Plan(
        port=world.deployment.port,
        launch=posts[0].form,
        query=posts[0].query,
        ticket=world.employee.ticket,
        waiting=[{"to_number": world.number(), "line_id": "reg150907"} for _ in range(WAITING)],
        own_launches=[post.form for post in posts],
        flood_per_second=FLOOD_PER_SECOND,
        slow_senders=SLOW_SENDERS,
    )


def give_native_work(world: World) -> None:
    """The victim's worker has cards to show, to-dos to make, people to notify and rules to work on."""
    portal = world.victim.portal
    card = portal.crm.add_lead("Roof", phones=[world.number()])
    with world.app.app_context(), reading() as session:
        portal_id = session.scalars(select(Portal.id).where(Portal.member_id == portal.member_id)).one()
    for number in range(2 * NATIVE_WORK):
        person, is_over = portal.administrator.id + number % 2, number % 2 == 1
        asks_for_native_work(world.app, portal_id, world.number(), person, is_over=is_over)
    application = world.deployment.application
    wait_for(lambda: ONCE in portal.bindings_of(application.client_id).rules)
    for _ in range(NATIVE_WORK):
        portal.automation.run(application, ONCE, f"LEAD_{card}", properties={})


@contextmanager
def attacked(world: World) -> Iterator[Counter[str]]:
    """The victim's portal drips, and all its attackers are at work; afterwards the counter says what they were told."""
    told: Counter[str] = Counter()
    fault = world.victim.portal.faults.add("drip_body", times=10**6, seconds=60)
    give_native_work(world)
    command = [sys.executable, "-m", "tests.attack.load"]
    load = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert load.stdin is not None
        load.stdin.write(json.dumps(asdict(plan_of(world))) + "\n")
        load.stdin.flush()
        time.sleep(WARM_UP_SECONDS)
        yield told
    finally:
        printed, _ = load.communicate(timeout=60)
        fault.times = 0
        world.victim.portal.faults.release()
        told.update(json.loads(printed))


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """The fake's threads, which drip, do not hold up whoever measures beside them."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("quick_switches")
def test_another_portal_is_answered_within_twice_its_usual_time(world: World) -> None:
    for measure in MEASURED.values():  # What is loaded with the first request of a kind is nobody's usual time.
        measure(world)
    before = sample(world)
    began = time.monotonic()
    with attacked(world) as told:
        loaded = sample(world)
        lasted = time.monotonic() - began
    after = sample(world)
    # What else the machine does changes meanwhile, so usual is what was before and after.
    usual = {name: before[name] + after[name] for name in MEASURED}
    lines = [
        f"{name}: usually {alone * 1000:.1f} ms, under attack {under * 1000:.1f} ms, {under / alone:.2f} times"
        for name in MEASURED
        for alone, under in [(statistics.median(usual[name]), statistics.median(loaded[name]))]
    ]
    print("\n".join([*lines, f"{dict(told)} in {lasted:.0f} s"]))
    made_up = sum(count for kind, count in told.items() if kind.startswith("made-up"))
    assert made_up >= lasted * FLOOD_PER_SECOND * ENOUGH, "the attackers did not keep up"
    assert told["waiting: 201"] == WAITING
    assert told["slow sender: closed"] >= SLOW_SENDERS
    # An entry of the timeline is looked for before it is made, and a portal that drips may answer neither.
    said = world.deployment.said()
    asked = {job: said.count(f'"job": "{job}"') for job in NATIVE_JOBS}
    assert all(asked.values()), f"the worker had nothing to do inside of Bitrix24: {asked}"
    for name in MEASURED:
        most = MOST * statistics.median(usual[name]) + NOISE_SECONDS
        assert statistics.median(loaded[name]) <= most, lines

"""Several processes at once: one renewal among them, and nobody waits for a server that hangs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Credential, utcnow
from bx24app.web import EXCHANGES_OF_ONE
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import http_build_query
from tests.support.actors import Actor, post_frame
from tests.support.processes import StartWeb

SOON = 10.0
AT_ONCE = 2 * EXCHANGES_OF_ONE


@pytest.fixture
def processes(app: Flask, start_web: StartWeb) -> list[str]:
    """The addresses of two more web processes on the same database."""
    return list(start_web(2))


def expire(app: Flask, portal: FakePortal, *, noticed: bool) -> None:
    """Every access token is past its hour; ``noticed``: we know it, else the portal has to say so."""
    portal.cloud.registry.expire_access(portal.member_id)
    if noticed:
        with app.app_context(), writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))


@pytest.mark.parametrize("noticed", [True, False], ids=["known expiry", "expired_token"])
def test_as_many_requests_as_two_processes_make_at_once_renew_once(
    app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal, processes: list[str], noticed: bool
) -> None:
    expire(app, portal, noticed=noticed)
    barrier = threading.Barrier(AT_ONCE)

    def ask(number: int) -> int:
        barrier.wait()
        url = f"{processes[number % 2]}/api/v1/lines?refresh=1"
        return requests.get(url, headers={"Authorization": f"Bearer {manager.ticket}"}, timeout=30).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert set(pool.map(ask, range(AT_ONCE))) == {200}
    assert fake.auth_server.renewals == 1


def test_nobody_waits_for_an_authorization_server_that_hangs(
    app: Flask,
    fake: FakeBitrix24,
    manager: Actor,
    portal: FakePortal,
    application: FakeApp,
    processes: list[str],
) -> None:
    """Those who need no renewal: intake, events, the list, and pages; on SQLite too, where a writer waits for all."""
    manager.asks("GET", "/lines")
    manager.asks("GET", "/voices")
    expire(app, portal, noticed=True)
    hanging = fake.auth_server.faults.add("hang_before", "oauth/token", seconds=30)
    headers = {"Authorization": f"Bearer {manager.ticket}"}
    url = processes[0]
    token = portal.bindings_of(application.client_id).application_token
    data = {"CALL_ID": "x", "CALL_TYPE": "4", "PHONE_NUMBER": "1", "ACCOUNT_SEARCH_ID": "reg1"}
    auth = {"member_id": portal.member_id, "application_token": token}
    event = dict(http_build_query({"event": "ONVOXIMPLANTCALLINIT", "data": data, "ts": "1795470751", "auth": auth}))
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(requests.get, f"{url}/api/v1/lines?refresh=1", headers=headers, timeout=60)
        try:
            assert hanging.received.wait(5)
            for number in range(5):
                launch = manager.launches()
                body = {"to_number": f"+4930901{number:03}", "line_id": "reg150907"}
                answers = [
                    requests.post(f"{url}/api/v1/callbacks", json=body, headers=headers, timeout=SOON),
                    requests.get(f"{url}/api/v1/callbacks", headers=headers, timeout=SOON),
                    requests.get(f"{url}/desk/callbacks", headers=headers, timeout=SOON),
                    requests.post(f"{url}/events", data=event, timeout=SOON),
                    requests.post(f"{url}/", params=launch.query, data=launch.form, timeout=SOON),
                ]
                assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
            assert not renewing.done()
        finally:
            hanging.released.set()
        assert renewing.result(60).status_code == 503


def test_two_processes_take_the_same_press_once(manager: Actor, portal: FakePortal, processes: list[str]) -> None:
    headers = {"Authorization": f"Bearer {manager.ticket}", "Idempotency-Key": "the-same-press"}
    body = {"to_number": "+4930901820", "line_id": "reg150907"}
    barrier = threading.Barrier(8)

    def press(number: int) -> tuple[int, str]:
        barrier.wait()
        url = f"{processes[number % 2]}/api/v1/callbacks"
        answer = requests.post(url, json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(press, range(8)))
    assert sorted({status for status, _ in answers}) == [200, 201]
    assert [status for status, _ in answers].count(201) == 1
    assert len({id for _, id in answers}) == 1
    assert post_frame(manager.client, "/", manager.launches()).status_code == 200

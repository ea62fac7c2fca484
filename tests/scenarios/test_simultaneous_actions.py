"""Two hands on one callback at the same moment: exactly one wins, and both are told the truth."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete
from sqlalchemy.orm import Session

from bx24app.database import writing
from bx24app.models import Callback, DigestKey, State, utcnow
from bx24app.services.callbacks import request as requests
from bx24app.services.dialling import dial as dialling
from bx24app.services.dialling import queue
from bx24app.services.security import digests
from bx24app.services.webhooks import subscriptions
from bx24app.services.websites import api_keys, forms
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, change_portal, seen


def claim(app: Flask) -> queue.DialLease:
    with app.app_context():
        [taken] = queue.lease_due(1)
    return taken


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [100, pytest.param(200, marks=pytest.mark.long)])
def test_cancelling_and_dialling_at_once(app: Flask, manager: Actor, portal: FakePortal, times: int) -> None:
    change_portal(app, license_family="selfhosted", line_cap=None)
    portal.rest.bucket.enabled = False
    luck, barrier = random.Random(20261124), threading.Barrier(2)
    told: dict[UUID, int] = {}

    def dial(taken: queue.DialLease, delay: float) -> None:
        barrier.wait()
        threading.Event().wait(delay)
        with app.app_context():
            dialling.dial(taken)

    def cancel(id: UUID, delay: float) -> None:
        barrier.wait()
        threading.Event().wait(delay)
        told[id] = manager.asks("POST", f"/callbacks/{id}/cancel").status_code

    with ThreadPoolExecutor(2) as pool:
        # How long the cancellation waits: whoever has lost begins a little earlier the next time, however busy the
        # machine is.
        handicap = 0.0
        for number in range(times):
            id = accept(app, to_number=f"+4930{number:07}")
            taken = claim(app)
            dials_after, cancels_after = (luck.uniform(0, 0.008) + max(0.0, wait) for wait in (-handicap, handicap))
            hands = [pool.submit(dial, taken, dials_after), pool.submit(cancel, id, cancels_after)]
            for hand in hands:
                hand.result(30)
            handicap += 0.001 if told[id] == 200 else -0.001
    rung = [dial["number"] for dial in portal.telephony.dials]
    assert len(rung) == len(set(rung))
    for number, (id, status) in enumerate(told.items()):
        was_dialled = f"+4930{number:07}" in rung
        assert (status, was_dialled) in ((200, False), (409, True))
        assert (seen(app, id).state == State.CANCELLED) == (status == 200)
    # Both have won often enough for this to have been a race.
    assert times / 20 < len(rung) < times * 19 / 20


def test_two_workers_never_take_the_same_callback(app: Flask, manager: Actor, portal: FakePortal) -> None:
    change_portal(app, license_family="selfhosted", line_cap=None)
    portal.rest.bucket.enabled = False
    for number in range(60):
        accept(app, to_number=f"+4930{number:07}")
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        idle = 0
        while idle < 20:
            with app.app_context():
                claims = queue.lease_due(2)
                for taken in claims:
                    dialling.dial(taken)
            idle = 0 if claims else idle + 1
            threading.Event().wait(0 if claims else 0.02)

    with ThreadPoolExecutor(4) as pool:
        for hand in [pool.submit(work) for _ in range(4)]:
            hand.result(60)
    assert sorted(dial["number"] for dial in portal.telephony.dials) == [f"+4930{n:07}" for n in range(60)]


def test_the_first_digests_of_an_installation_are_made_with_one_key(app: Flask) -> None:
    """Processes that start together on an empty database."""
    barrier = threading.Barrier(8)

    def made() -> str:
        with app.app_context():
            barrier.wait()
            return digests.digest("test", "value")

    for _ in range(5):
        with app.app_context(), writing() as session:
            session.execute(delete(DigestKey))
        app.extensions.pop(digests.KEY_CACHE, None)
        with ThreadPoolExecutor(8) as pool:
            assert len({hand.result(30) for hand in [pool.submit(made) for _ in range(8)]}) == 1


@pytest.mark.parametrize("limit", [(forms, "MAX_FORMS"), (api_keys, "MAX_KEYS"), (subscriptions, "MAX_PER_FORM")])
def test_many_at_once_do_not_pass_a_limit(
    administrator: Actor, monkeypatch: pytest.MonkeyPatch, limit: tuple[object, str]
) -> None:
    administrator.installs()
    body: dict[str, object] = {"name": "Shop", "line_id": "reg150907", "default_country": "DE"}
    made = administrator.asks("POST", "/forms", body)
    assert made.status_code == 201, made.text
    key = json_of(made)["key"]
    path, body = {
        "MAX_FORMS": ("/forms", body),
        "MAX_KEYS": ("/api-keys", {"form_key": key, "name": "Server"}),
        "MAX_PER_FORM": ("/webhooks", {"form_key": key, "url": "https://site.example.com/hook"}),
    }[limit[1]]
    # The form is there already.
    monkeypatch.setattr(*limit, 3 if path == "/forms" else 2)
    barrier = threading.Barrier(8)

    def make(_: int) -> int:
        barrier.wait()
        return administrator.asks("POST", path, body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(make, range(8))) == {201: 2, 422: 6}


def test_plans_made_at_once_do_not_pass_their_limit(manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them has found room before any was stored."""
    monkeypatch.setattr(requests, "MAX_WAITING_FOR_NUMBER", 2)
    barrier, require_room = threading.Barrier(4), requests.require_room

    def require_together(session: Session, planned: Callback) -> None:
        require_room(session, planned)
        if planned.id is None:
            barrier.wait(30)

    monkeypatch.setattr(requests, "require_room", require_together)
    at = (utcnow() + timedelta(hours=1)).isoformat()

    def plan(key: str) -> int:
        return manager.requests_callback(key=key, scheduled_at=at).status_code

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(plan, "abcd"))
    waiting = json_of(manager.asks("GET", "/callbacks?state=scheduled"))["callbacks"]
    assert len(waiting) == told.count(201) <= 2
    assert set(told) <= {201, 422}


def test_what_is_erased_between_lease_and_dial_is_not_dialled(app: Flask, manager: Actor, portal: FakePortal) -> None:
    for number in range(2):
        id, by = accept(app, to_number=f"+4930{number:07}", requested_by=manager.user.id), claim(app)
        with app.app_context(), writing() as session:
            session.execute(delete(Callback).where(Callback.id == id))
        with app.app_context():
            dialling.dial(by)
    assert portal.telephony.dials == []

"""``Prefer: wait``: who waits holds a thread of the web process, so only a few may."""

import threading
import time

from flask import Flask

from bx24app.web.api import callbacks
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24
from tests.support.actors import Actor, json_of

SECONDS = 6
AT_ONCE = 3.0


def test_two_requests_of_a_portal_wait_and_the_others_are_answered_at_once(
    app: Flask, manager: Actor, administrator: Actor, fake: FakeBitrix24, application: FakeApp, eventually: Eventually
) -> None:
    """A repeat too; another portal's still waits, and so does the next once a slot is free."""
    second = fake.add_portal("beta")
    other = Actor(app.test_client(), second, application, second.administrator)
    other.installs()
    waiting = [threading.Thread(target=_waits, args=(app, manager, f"+4930901820{digit}")) for digit in range(2)]
    for thread in waiting:
        thread.start()
    eventually(lambda: len(callbacks._waits.held()) == 1 and callbacks._waits._held.total() == 2)
    began = time.monotonic()
    answer = manager.requests_callback("+49309018209", key="again", wait=SECONDS)
    assert (answer.status_code, json_of(answer)["state"]) == (201, "queued")
    repeated = manager.requests_callback("+49309018209", key="again", wait=SECONDS)
    assert (repeated.status_code, repeated.headers["Idempotent-Replayed"]) == (200, "true")
    assert time.monotonic() - began < AT_ONCE
    began = time.monotonic()
    other.requests_callback("+49309018209", wait=1)
    assert time.monotonic() - began >= 1
    for thread in waiting:
        thread.join()
    began = time.monotonic()
    manager.requests_callback("+49309018209", key="again", wait=1)
    assert time.monotonic() - began >= 1


def _waits(app: Flask, actor: Actor, number: str) -> None:
    Actor(app.test_client(), actor.portal, actor.application, actor.user, actor.ticket).requests_callback(
        number, wait=SECONDS
    )

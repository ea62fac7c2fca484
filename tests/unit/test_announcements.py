"""Announcing to a broker: whoever commits never waits, whatever the broker does, and a process that forks goes on."""

import base64
import json
import time

import pytest
from structlog.testing import capture_logs

from bx24app.services.runtime.announcements import Announcer
from bx24app.services.runtime.broker import QUEUE, make_celery
from tests.conftest import Eventually
from tests.support.fleet import broker
from tests.support.processes import free_port, run_python
from tests.support.redis_server import RedisServer

__all__ = ["broker"]

MANY = 3000
FORKS = """
import os, sys, time
from bx24app.services.runtime.announcements import Announcer
from bx24app.services.runtime.broker import make_celery

announcer = Announcer(make_celery(sys.argv[1]))
announcer.announce("dial", 1)
time.sleep(1)
if os.fork() == 0:
    announcer.announce("dial", 2)
    time.sleep(1)
    os._exit(0)
os.wait()
announcer.announce("dial", 3)
time.sleep(1)
"""


def announce_many(announcer: Announcer) -> float:
    """Ring very often; returns the seconds that it took."""
    began = time.monotonic()
    for number in range(MANY):
        announcer.announce("dial", number)
    return time.monotonic() - began


@pytest.mark.parametrize("way", ["nobody listens", "halted"])
def test_nobody_waits_for_a_broker_and_the_log_says_so_once(
    broker: RedisServer, eventually: Eventually, way: str
) -> None:
    password = "canary-of-the-broker"
    url = broker.url if way == "halted" else f"redis://:{password}@127.0.0.1:{free_port()}/0"
    if way == "halted":
        broker.halt()
    announcer = Announcer(make_celery(url))
    with capture_logs() as said:
        assert announce_many(announcer) < 1
        eventually(lambda: bool(said))
        assert announce_many(announcer) < 1
        time.sleep(1.5)
    assert [line["event"] for line in said] in (["announcements_forgotten"], ["broker_failed"])
    assert password not in str(said)


def test_a_broker_that_comes_back_is_rung_again(broker: RedisServer, eventually: Eventually) -> None:
    announcer = Announcer(make_celery(broker.url))
    broker.kill()
    announce_many(announcer)
    broker.start()

    def is_heard() -> bool:
        announcer.announce("dial", 1)
        return bool(broker.client.llen(QUEUE))

    eventually(is_heard)


def test_a_process_that_was_forked_announces_as_its_parent_does(broker: RedisServer) -> None:
    done = run_python("-c", FORKS, broker.url)
    assert done.returncode == 0, done.stderr
    bodies = [base64.b64decode(json.loads(one)["body"]) for one in broker.client.lrange(QUEUE, 0, -1)]
    assert [json.loads(body)[0] for body in reversed(bodies)] == [["dial", "1"], ["dial", "2"], ["dial", "3"]]

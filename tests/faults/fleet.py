"""The work done by a fleet: bells in a real Redis, and workers of Celery that are killed at their steps.

What a schedule's worker would do by itself, a process of the fleet does because it was rung for. The bells are those of
the app's own commits, and of a beat that the harness plays; between them the broker loses, repeats and makes up some.
"""

import os
import random
import threading
import time
import warnings

import redis
from celery.exceptions import SecurityWarning
from celery.worker import state
from flask import Flask

from bx24app.services.runtime.broker import QUEUE, TASK
from bx24app.worker import fleet as fleets
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import AnyJob
from tests.support.fleet import message
from tests.support.redis_server import RedisServer

# What a worker is asked for, as the names of jobs for which beat rings.
RUNG = {
    "dial": ["dial"],
    "chores": ["expire_abandoned_dials", "read_call_history", "reconcile_calls", "apply_deadlines"],
    "rules": ["end_rules", "work_on_rules"],
    "cards": ["follow_up_callbacks", "show_in_timeline", "make_to_dos"],
}
JUNK = ["no message", "{}", message("os.system", ["true"]), message(TASK, ["no_such_job", "1"])]
# What happens to the broker before a worker is born.
MISCHIEF = {"": 60, "emptied": 14, "restarted": 6, "repeated": 12, "junk": 8}
LOOKS_EVERY = 0.03


def ring(broker: RedisServer, job: str, rng: random.Random) -> str:
    """Ring as beat does, after some mischief; returns which."""
    mischief = rng.choices(list(MISCHIEF), list(MISCHIEF.values()))[0]
    if mischief == "emptied":
        broker.client.flushall()
    elif mischief == "restarted":
        broker.kill()
        broker.start()
    elif mischief == "junk":
        broker.client.lpush(QUEUE, rng.choice(JUNK))
    for name in RUNG[job] * (2 if mischief == "repeated" else 1):
        broker.client.lpush(QUEUE, message(TASK, [name, None]))
    return mischief


def answer_bells(app: Flask, broker_url: str, dials: int) -> None:
    """The life of a worker of the fleet: it answers every bell that there is, and ends."""
    warnings.simplefilter("ignore", SecurityWarning)  # Of a superuser, as whom containers run the tests.

    def jobs() -> tuple[AnyJob, ...]:
        return background_jobs(dials)

    # The pace of a schedule is that of its plan: so many dials at once as a worker of it would make.
    fleets.background_jobs = jobs  # type: ignore[attr-defined, assignment]
    celery = fleets.make_fleet(app)
    threading.Thread(target=_end_when_done, args=(broker_url,), daemon=True).start()
    celery.Worker(pool="solo", concurrency=1, quiet=True).start()


def _end_when_done(url: str) -> None:
    client, quiet = redis.Redis.from_url(url), 0
    while quiet < 3:
        time.sleep(LOOKS_EVERY)
        is_done = bool(state.all_total_count[0]) and not state.reserved_requests and not client.llen(QUEUE)
        quiet = quiet + 1 if is_done else 0
    os._exit(0)

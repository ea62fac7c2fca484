"""A fleet as an operator starts it: processes of Celery, and the broker between them and the web process."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bx24app.services.runtime.broker import QUEUE
from tests.support.forks import Zygote
from tests.support.processes import Process, kill
from tests.support.redis_server import RedisServer
from tests.support.remembered import remember

StartFleet = Callable[..., Process]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, remember(f"canary-{secrets.token_urlsafe(20)}"))
    yield server
    server.go_on()
    server.kill()


@pytest.fixture
def environ(environ: dict[str, str], broker: RedisServer) -> dict[str, str]:
    """The settings of every process of the test, with the broker among them."""
    return environ | {"BX24APP_BROKER_URL": broker.url}


@pytest.fixture
def start_fleet(environ: dict[str, str], zygote: Zygote) -> Iterator[StartFleet]:
    """Start ``celery -A bx24app.fleet ...``; whatever is left is killed at the end."""
    running: list[Process] = []

    def begin(*command: str) -> Process:
        running.append(zygote.celery(command, environ))
        return running[-1]

    yield begin
    for process in running:
        kill(process)


def message(task: str, arguments: list[object], content_type: str = "application/json") -> str:
    """A message as Celery writes it into Redis (protocol 2), with any content."""
    id = str(uuid4())
    body = json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    properties = {
        "correlation_id": id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": id,
    }
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": id, "root_id": id, "retries": 0},
            "properties": properties,
        }
    )

"""A fleet as an operator starts it: processes of Celery, and the broker between them and the web process."""

import base64
import json
import pickle
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


class Trap:
    """What makes a file when somebody unpickles it."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self._file, "w")


def message(task: str, arguments: list[object]) -> str:
    """A message as Celery writes it into Redis (protocol 2), of any task."""
    body = [arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    return _enveloped(task, json.dumps(body).encode(), "application/json", "utf-8")


def pickled_message(task: str, arguments: list[object]) -> str:
    """The same as a pickle, which Celery took in former times."""
    return _enveloped(task, pickle.dumps((arguments, {}, {})), "application/x-python-serialize", "binary")


def _enveloped(task: str, body: bytes, content_type: str, encoding: str) -> str:
    id = str(uuid4())
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
            "body": base64.b64encode(body).decode(),
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": id, "root_id": id, "retries": 0},
            "properties": properties,
        }
    )

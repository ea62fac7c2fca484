"""The log is as docs/operating.md says it: every event, every field, in what web and worker really write."""

import ast
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.scenarios.test_call_events import fields
from tests.support import ROOT, processes
from tests.support.actors import Actor
from tests.support.waiting import NUMBER, accept

PAGE = (ROOT / "docs" / "operating.md").read_text().partition("\n## Log\n")[2].partition("\n### ")[0]
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
NAME = re.compile(r"`(\w+)`")
# The exception is told as a field that every event may have.
NOT_LOGGED = frozenset({"exc_info"})


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of each row of the tables with this first column."""
    for table in re.findall(rf"^\| {heading} \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        yield from ([cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines())


COMMON = {name for row in rows("field") for name in NAME.findall(row[0])}
EVENTS = {NAME.findall(row[0])[0]: set(NAME.findall(row[1])) for row in rows("event")}


def logged() -> dict[str, set[str]]:
    """The events of the code with their fields, also those that are bound to a logger before."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "bx24app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            logger = ast.unparse(node.func.value)
            if node.func.attr not in LEVELS or not (logger.startswith("log") or "get_logger" in logger):
                continue
            assert isinstance(node.args[0], ast.Constant), f"{path}: an event has one name"
            bound = {"callback"} if logger == "log_here" else set()
            named = {keyword.arg for keyword in node.keywords if keyword.arg} - NOT_LOGGED
            found.setdefault(str(node.args[0].value), set()).update(named | bound)
    return found


def test_every_event_of_the_code_is_documented_with_its_fields_and_no_other() -> None:
    assert len(EVENTS) > 50
    assert logged() == EVENTS
    assert all(row[2] for row in rows("event"))


class Log:
    """A process and what it logs."""

    def __init__(self, process: processes.Process, path: Path) -> None:
        self.process, self._path = process, path

    def lines(self) -> list[dict[str, Any]]:
        whole = [line for line in self._path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [json.loads(line) for line in whole]

    def others(self) -> list[str]:
        return [line for line in self._path.read_text().splitlines() if line and not line.startswith("{")]

    def has(self, event: str) -> bool:
        return any(line["event"] == event for line in self.lines())


Start = Callable[..., Log]


@pytest.fixture
def start(app: Flask, environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*command: str) -> Log:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
            with path.open("wb") as stream:
                process = processes.start(command, environ, stream)
            stack.callback(processes.kill, process)
            return Log(process, path)

        yield begin


def check(line: dict[str, Any]) -> None:
    assert {"timestamp", "level", "event"} <= line.keys()
    written = datetime.fromisoformat(line["timestamp"])
    assert written.utcoffset() == timedelta()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert line["level"] in {"info", "warning", "error"}
    assert line.keys() <= COMMON | EVENTS[line["event"]], line


@pytest.mark.long
def test_what_web_and_worker_write_is_what_the_page_says(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, start: Start, eventually: Eventually
) -> None:
    port = processes.free_port()
    address = f"http://127.0.0.1:{port}"
    web = start(sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}", "app:app")
    worker = start(*processes.FLASK, "worker")
    processes.wait_until_up(address)
    forged = fields(portal, application, "ONVOXIMPLANTCALLSTART", {"CALL_ID": "x"}, application_token="x" * 32)
    assert requests.post(f"{address}/events", data=forged, timeout=10).status_code == 403
    update = fields(portal, application, "ONAPPUPDATE", {})
    answer = requests.post(f"{address}/events", data=update, headers={"X-Request-ID": "req-12345"}, timeout=10)
    assert answer.status_code == 200
    accept(app)
    eventually(lambda: worker.has("dialled") and worker.has("bound_again"))
    for one in (web, worker):
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(60)
    told = web.lines() + worker.lines()
    assert {"unverified", "announced", "worker_started", "dialled", "worker_stopped"} <= {one["event"] for one in told}
    for line in told:
        check(line)
    [announced] = [line for line in web.lines() if line["event"] == "announced"]
    assert (announced["request_id"], announced["portal"]) == ("req-12345", portal.member_id)
    [dialled] = [line for line in worker.lines() if line["event"] == "dialled"]
    assert (dialled["job"], dialled["portal"], dialled["number"]) == ("dial", portal.member_id, f"...{NUMBER[-3:]}")
    assert all(re.match(r"\[\d{4}-.*\] \[\d+\] \[INFO\]", line) for line in web.others())
    assert worker.others() == []

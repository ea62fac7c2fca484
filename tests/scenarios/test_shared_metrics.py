"""What web processes and workers count, as any web process tells it: whoever dies, and whoever takes over."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import requests
from flask import Flask

from bx24app.metrics.shared_files import VARIABLE
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_metrics import environ, token
from tests.support import processes
from tests.support.actors import Actor
from tests.support.scrapes import Scrape, scrape
from tests.support.waiting import accept

__all__ = ["environ", "token"]

WORKER_DONE = "bx24app_job_seconds_count"
ANSWERED = "bx24app_http_requests_total"
# Counts in a process that forks twice, the children beside each other, and says what all have counted.
FORKING = """
import os
from bx24app import metrics
metrics.share_counts()
metrics.count_accepted("staff")
children = []
for _ in range(2):
    if not (child := os.fork()):
        for _ in range(1000):
            metrics.count_accepted("website")
        os._exit(0)
    children.append(child)
for _ in range(1000):
    metrics.count_accepted("staff")
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
print(metrics.expose([]).decode())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def start(app: Flask, environ: dict[str, str], folder: Path) -> Iterator[Callable[..., processes.Process]]:
    with ExitStack() as stack:

        def begin(*command: str) -> processes.Process:
            process = processes.start(command, {**environ, VARIABLE: str(folder)})
            stack.callback(processes.kill, process)
            return process

        yield begin


@pytest.mark.long
@pytest.mark.timeout(180)
def test_any_web_process_tells_what_all_have_counted_and_no_count_falls(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    token: str,
    folder: Path,
    start: Callable[..., processes.Process],
    eventually: Eventually,
) -> None:
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    web = start(sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app")
    worker = start(*processes.FLASK, "worker")
    processes.wait_until_up(url)

    def look() -> Scrape:
        return scrape(requests.get, token, url)

    def is_more(than: float) -> bool:
        return look().get(WORKER_DONE, job_name="dial") > than

    for _ in range(20):
        requests.get(f"{url}/healthz", timeout=5)
    # Asked again and again, now one process answers and now the other: all say the same.
    assert {look().get(ANSWERED, route="/healthz") for _ in range(10)} == {20}
    accept(app)
    eventually(lambda: look().get("bx24app_attempts_total", outcome="started") == 1)
    before = look()
    assert before.get(WORKER_DONE, job_name="dial", step="work") == 1

    files = set(folder.iterdir())
    for _ in range(2):
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert look().get(WORKER_DONE) >= before.get(WORKER_DONE)
        before = look()
        worker = start(*processes.FLASK, "worker")
        eventually(partial(is_more, before.get(WORKER_DONE, job_name="dial")))
    assert look().get("bx24app_attempts_total", outcome="started") == 1
    # Each took the place of the one before.
    assert set(folder.iterdir()) == files
    assert all(file.stat().st_mode & 0o077 == 0 for file in (folder, *files))

    web.send_signal(signal.SIGTERM)
    web.wait()
    start(sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}", "app:app")
    processes.wait_until_up(url)
    assert look().get(ANSWERED, route="/healthz") == 20
    assert look().get(WORKER_DONE, job_name="dial") > before.get(WORKER_DONE, job_name="dial")


def test_a_process_that_is_forked_counts_for_itself(folder: Path) -> None:
    found = processes.run_python("-c", FORKING, environ={VARIABLE: str(folder)})
    assert found.returncode == 0, found.stderr
    assert 'accepted_total{source="staff"} 1001.0' in found.stdout
    assert 'accepted_total{source="website"} 2000.0' in found.stdout


def test_a_file_that_was_only_just_made_holds_no_scrape_up(folder: Path) -> None:
    program = """
import pathlib, sys
from bx24app import metrics
metrics.share_counts()
metrics.count_accepted("staff")
pathlib.Path(sys.argv[1], "counter_7.db").touch()
print(metrics.expose([]).decode())
"""
    found = processes.run_python("-c", program, str(folder), environ={VARIABLE: str(folder)})
    assert found.returncode == 0, found.stderr
    assert 'accepted_total{source="staff"} 1.0' in found.stdout


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    program = "from bx24app import metrics; metrics.share_counts()"
    found = processes.run_python("-c", program, environ={VARIABLE: str(folder)})
    assert found.returncode != 0
    assert f"{VARIABLE}: {folder} cannot be used" in found.stderr.splitlines()[-1]

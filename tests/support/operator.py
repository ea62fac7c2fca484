"""The operator of an installation, who starts its processes."""

from collections.abc import Iterator

import pytest

from tests.support.forks import Zygote
from tests.support.processes import Process, Spawn, StartWeb, free_port, kill, wait_until_up


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    running = Zygote()
    yield running
    running.stop()


@pytest.fixture
def spawn(environ: dict[str, str], zygote: Zygote) -> Iterator[Spawn]:
    """Start ``flask --app app ...``; whatever is left is killed at the end."""
    running: list[Process] = []

    def begin(*command: str) -> Process:
        running.append(zygote.flask(command, environ))
        return running[-1]

    yield begin
    for process in running:
        kill(process)


@pytest.fixture
def start_web(spawn: Spawn) -> StartWeb:
    """Start some web processes; returns them by their addresses."""

    def begin(count: int) -> dict[str, Process]:
        ports = [free_port() for _ in range(count)]
        started = {f"http://127.0.0.1:{port}": spawn("run", "--port", str(port)) for port in ports}
        for url in started:
            wait_until_up(url)
        return started

    return begin

"""Processes as an operator starts them, on the settings of a test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO

import requests

from tests.support import ROOT
from tests.support.forks import ForkedProcess

FLASK = (sys.executable, "-m", "flask", "--app", "app")
UP_SECONDS = 60.0
NOTHING: Mapping[str, str] = MappingProxyType({})
Process = subprocess.Popen[bytes] | ForkedProcess
Finished = subprocess.CompletedProcess[str]
Spawn = Callable[..., Process]
StartWeb = Callable[[int], dict[str, Process]]


def free_port(host: str = "127.0.0.1", wanted: int = 0) -> int:
    """The wanted port, or any other when something listens there already."""
    try:
        with socket.create_server((host, wanted)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        if not wanted:
            raise
    return free_port(host)


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    errors: IO[bytes] | int = subprocess.DEVNULL,
    folder: Path = ROOT,
) -> subprocess.Popen[bytes]:
    """Start a process in the project's folder, or in another; ``errors``: where its log goes."""
    settings = {**os.environ, **environ}
    return subprocess.Popen(command, cwd=folder, env=settings, stdout=subprocess.DEVNULL, stderr=errors)


def run_python(*arguments: str, environ: Mapping[str, str] = NOTHING, folder: Path = ROOT) -> Finished:
    """Run Python to its end; what it printed comes back."""
    command, settings = [sys.executable, *arguments], {**os.environ, **environ}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def kill(process: Process) -> None:
    """End a process with SIGKILL, if it lives, by its id."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_up(url: str) -> None:
    """Wait until a web process says that it is ready."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/readyz", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError("the process does not come up")

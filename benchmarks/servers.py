"""The two servers that are compared: gunicorn with the same workers and threads, one with the app, one bare."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORKERS = 2
THREADS = 8
BARE_TABLE = "CREATE TABLE IF NOT EXISTS bare (id VARCHAR PRIMARY KEY, number VARCHAR, body VARCHAR)"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(application: str, environ: dict[str, str]) -> Iterator[int]:
    """Serve an application on loopback; yields its port."""
    port = _free_port()
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--reuse-port", "--log-level", "error"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), "--keep-alive", "60"]
    command += ["--bind", f"127.0.0.1:{port}", application]
    # Our own interpreter with arguments of ours.
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ})
    try:
        _wait_until_up(port)
        yield port
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _wait_until_up(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            time.sleep(1.0)  # Both workers import.
            return
    raise RuntimeError("the server does not come up")

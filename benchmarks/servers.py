"""The two servers that are compared: gunicorn with the same workers and threads, one with the app, one bare."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import free_port, start

WORKERS = 2
THREADS = 8
BARE_TABLE = "CREATE TABLE IF NOT EXISTS bare (id VARCHAR PRIMARY KEY, number VARCHAR, body VARCHAR)"


@contextmanager
def serving(application: str, environ: dict[str, str]) -> Iterator[int]:
    """Serve an application on loopback; yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--reuse-port", "--log-level", "error"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), "--keep-alive", "60"]
    # A process that were to end in the middle would take its connections along.
    command += ["--max-requests", "0"]
    running = start([*command, "--bind", f"127.0.0.1:{port}", application], environ, errors=sys.stderr.fileno())
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

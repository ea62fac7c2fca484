"""Processes of the app that start in a moment: forked from one that has imported everything and done nothing else.

To import the app takes two seconds of a processor, nearly all that a short life of a process costs. How a process
starts is the subject of ``test_worker_process.py`` and ``test_slow_clients.py``, which start it as an operator does.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

import celery.__main__
import flask.cli

import bx24app  # noqa: F401
from tests.support import ROOT

LONGEST_ORDER = 2**17


class ForkedProcess:
    """A process of the app, with what the tests use of ``subprocess.Popen``."""

    def __init__(self, pid: int, parent: socket.socket) -> None:
        self.pid = pid
        self._parent = parent
        self._ended = os.pidfd_open(pid)
        self._code: int | None = None

    def send_signal(self, number: int) -> None:
        """Send a signal, which is never for another process: until its end was told it keeps its id."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """How it ended, or ``None`` while it lives."""
        return self._told(0)

    def wait(self, timeout: float | None = None) -> int:
        """How it ended; raises ``subprocess.TimeoutExpired`` when it still lives after some seconds."""
        code = self._told(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("flask", timeout or 0)
        return code

    def _told(self, timeout: float | None) -> int | None:
        if self._code is None and select.select([self._ended], [], [], timeout)[0]:
            self._code = _ask(self._parent, wait_for=self.pid)
            os.close(self._ended)
        return self._code


class Zygote:
    """The process that has imported the app, and forks a process for every order; one thread at a time may order."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])

    def flask(self, arguments: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        """Run ``flask --app app ...`` with these settings; nobody sees what it prints."""
        return self._run(["flask", "--app", "app", *arguments], environ)

    def celery(self, arguments: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        """Run ``celery -A bx24app.fleet ...``, likewise."""
        return self._run(["celery", "-A", "bx24app.fleet", *arguments], environ)

    def _run(self, command: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        pid = _ask(self._connection, run=command, environ={**os.environ, **environ})
        return ForkedProcess(pid, self._connection)

    def stop(self) -> None:
        """End it; its processes have ended before."""
        self._connection.close()
        self._process.wait(10)


def _ask(connection: socket.socket, **order: object) -> int:
    connection.sendall(json.dumps(order).encode())
    return int(connection.recv(LONGEST_ORDER))


def _serve(connection: socket.socket) -> None:
    """Obey until the other end is closed."""
    gc.freeze()  # What all have in common is copied for none.
    while received := connection.recv(LONGEST_ORDER):
        order = json.loads(received)
        if "wait_for" in order:
            _, status = os.waitpid(order["wait_for"], 0)
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        elif pid := os.fork():
            connection.sendall(str(pid).encode())
        else:
            connection.close()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.dup2(nowhere, sys.stderr.fileno())
            os.environ.clear()
            os.environ.update(order["environ"])
            sys.argv = order["run"]
            # Either ends this process.
            flask.cli.main() if sys.argv[0] == "flask" else sys.exit(celery.__main__.main())


if __name__ == "__main__":
    # Whoever stops the tests with Ctrl-C stops them alone; they stop this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(socket.socket(fileno=int(sys.argv[1])))

"""A real Redis, as Debian packs it, which tests stop, halt, empty and start again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
import trustme

from tests.support.processes import free_port, kill

UP_SECONDS = 10.0


class RedisServer:
    """One server on a free port of loopback, with a password; it keeps nothing on the disk.

    With a certificate authority it speaks TLS alone, as ``localhost``.
    """

    def __init__(self, directory: Path, password: str, ca: trustme.CA | None = None) -> None:
        program = shutil.which("redis-server")
        assert program, "Redis is not installed: run 'sudo apt-get install --yes redis-server'"
        self.port = free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        listening, tls = ["--port", str(self.port)], dict[str, Any]()
        if ca:
            self.url = f"rediss://:{password}@localhost:{self.port}/0"
            listening, tls = self._with_tls(directory, ca)
        # Its types are those of two clients at once, of which one has to be awaited.
        self.client: Any = redis.Redis(port=self.port, password=password, socket_timeout=5, **tls)
        self._command = [program, *listening, "--bind", "127.0.0.1", "--requirepass", password]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(directory), "--daemonize", "no"]
        self.start()

    def _with_tls(self, directory: Path, ca: trustme.CA) -> tuple[list[str], dict[str, Any]]:
        """What the server is started with, and what a client of the test's own needs."""
        certificate, trusted = directory / "redis.pem", directory / "ca-of-redis.pem"
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        ca.cert_pem.write_to_path(trusted)
        files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(certificate)]
        listening = ["--port", "0", "--tls-port", str(self.port), *files, "--tls-auth-clients", "no"]
        return listening, {"host": "localhost", "ssl": True, "ssl_ca_certs": str(trusted)}

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline:
            try:
                self.client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("Redis does not come up")

    def kill(self) -> None:
        """End it at once, and with it all that it held."""
        self.client.close()
        kill(self._process)

    def halt(self) -> None:
        """Let it stand still: connections are taken, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the halt."""
        self._process.send_signal(signal.SIGCONT)

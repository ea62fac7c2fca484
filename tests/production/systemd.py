"""A double of systemd, which cannot run on machines of tests: starts the commands of units as systemd would.

It reads the unit files that were installed and heeds what concerns a process: command, folder, environment, user,
socket, readiness, stopping and starting again. What shields a process from the machine (``ProtectSystem`` and its like)
needs systemd itself; ``test_deploy_files.py`` looks at those lines.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

READY_SECONDS = 60.0
# What a service gets of its environment by itself (systemd.exec(5)).
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLIENT = """#!{python}
import json, socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect({control!r})
    manager.sendall(json.dumps(sys.argv[1:]).encode())
    manager.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: manager.recv(4096), b"")))
if answer:
    print("systemctl: " + answer, file=sys.stderr)
sys.exit(bool(answer))
"""


def read_unit(path: Path) -> dict[str, list[str]]:
    """The lines of a unit by their names, of all its sections; a name may come more than once."""
    found = defaultdict[str, list[str]](list)
    for line in path.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found[name.strip()].append(value.strip())
    return found


def read_environment(path: Path) -> dict[str, str]:
    """What ``EnvironmentFile`` takes from a file without quotes."""
    lines = (line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@dataclass
class Service:
    """A service that was started; ``starts`` counts how often."""

    unit: dict[str, list[str]]
    log: Path
    listener: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    is_wanted: bool = False
    changing: threading.Lock = field(default_factory=threading.Lock)

    def one(self, name: str, default: str = "") -> str:
        return (self.unit.get(name) or [default])[-1]

    def start(self) -> None:
        self.is_wanted = True
        with self.changing:
            if self.process is None or self.process.poll() is not None:
                self._start()
        threading.Thread(target=self._supervise, args=(self.process,), daemon=True).start()

    def stop(self) -> None:
        self.is_wanted = False
        with self.changing:
            if self.process is None:
                return
            self.process.send_signal(getattr(signal, self.one("KillSignal", "SIGTERM")))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(float(self.one("TimeoutStopSec", "90")))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _start(self) -> None:
        command = shlex.split(self.one("ExecStart"))
        environ = {"PATH": PATH} | dict(line.split("=", 1) for line in self.unit.get("Environment", ()))
        if self.one("EnvironmentFile"):
            environ |= read_environment(Path(self.one("EnvironmentFile")))
        kept: tuple[int, ...] = ()
        if self.listener:
            number = self.listener.fileno()
            kept = (number,)
            passing = f'exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
            command = ["/bin/bash", "-c", passing, "bash", *command]
        user = self.one("User") if os.getuid() == 0 else ""
        with contextlib.ExitStack() as stack:
            ready = stack.enter_context(self._ready_socket(environ)) if self.one("Type") == "notify" else None
            self.process = subprocess.Popen(
                command,
                cwd=self.one("WorkingDirectory", "/"),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stack.enter_context(self.log.open("ab")),
                start_new_session=True,
                pass_fds=kept,
                user=user or None,
                group=_group_of(user) if user else None,
                extra_groups=[] if user else None,
            )
            self.starts += 1
            if ready:
                while b"READY=1" not in ready.recv(4096):
                    pass

    def _ready_socket(self, environ: dict[str, str]) -> socket.socket:
        path = self.log.with_suffix(".notify")
        path.unlink(missing_ok=True)
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(str(path))
        path.chmod(0o666)
        ready.settimeout(READY_SECONDS)
        environ["NOTIFY_SOCKET"] = str(path)
        return ready

    def _supervise(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        while self.is_wanted and self.one("Restart") == "always" and self.process is process:
            time.sleep(float(self.one("RestartSec", "0.1")))
            with self.changing:
                if self.is_wanted and self.process is process:
                    # What a killed process leaves of its own ends with it.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    self._start()
                    assert self.process is not None
                    process = self.process
            process.wait()


def _group_of(user: str) -> int:
    return int(subprocess.check_output(["id", "-g", user]))


class Systemd:
    """The manager; ``systemctl`` is the path of the command that talks to it."""

    def __init__(self, units: Path, workplace: Path) -> None:
        self.services: dict[str, Service] = {}
        self.enabled: set[str] = set()
        self._sockets: dict[str, socket.socket] = {}
        self._units, self._workplace = units, workplace
        control = workplace / "systemd.sock"
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(str(control))
        self._control.listen()
        self.client = CLIENT.format(python=sys.executable, control=str(control))
        threading.Thread(target=self._answer_all, daemon=True).start()

    def stop(self) -> None:
        """Stop all services, the newest first."""
        self._control.close()
        for service in reversed(self.services.values()):
            service.stop()
        for listener in self._sockets.values():
            listener.close()

    def log_of(self, name: str) -> Path:
        """What a service has written."""
        return self._workplace / f"{name}.log"

    def _answer_all(self) -> None:
        while True:
            try:
                asking, _ = self._control.accept()
            except OSError:
                return
            with asking:
                arguments = json.loads(asking.makefile("rb").read())
                try:
                    said = self._do(arguments)
                except Exception as error:
                    said = f"{' '.join(arguments)}: {error!r}"
                asking.sendall(json.dumps(said).encode())

    def _do(self, arguments: list[str]) -> str:
        verb, *rest = arguments
        names = [name for name in rest if not name.startswith("--")]
        for name in names:
            if verb == "enable":
                self.enabled.add(name)
                if "--now" in rest:
                    self._start(name)
            elif verb == "start":
                self._start(name)
            elif verb == "restart":
                self._stop(name)
                self._start(name)
            elif verb == "stop":
                self._stop(name)
            elif verb == "reload-or-restart":
                self._reload(name)
            elif verb == "is-active":
                if not self._is_active(name):
                    return "inactive"
            else:
                return f"{verb} is not known to the double"
        return "" if names or verb == "daemon-reload" else f"{verb} is not known to the double"

    def _is_active(self, name: str) -> bool:
        service = self.services.get(name.removesuffix(".service"))
        return service is not None and service.process is not None and service.process.poll() is None

    def _start(self, name: str) -> None:
        stem, _, kind = name.partition(".")
        if kind == "socket":
            if stem not in self._sockets:
                self._sockets[stem] = self._listen(read_unit(self._units / name))
            return
        unit = read_unit(self._units / f"{stem}.service")
        service = self.services.setdefault(stem, Service(unit, self.log_of(stem)))
        service.unit, service.listener = unit, self._sockets.get(stem)
        service.start()

    def _stop(self, name: str) -> None:
        stem, _, kind = name.partition(".")
        if kind == "socket":
            if listener := self._sockets.pop(stem, None):
                Path(listener.getsockname()).unlink()
                listener.close()
            return
        if service := self.services.get(name.removesuffix(".service")):
            service.stop()

    def _reload(self, name: str) -> None:
        service = self.services.get(name.removesuffix(".service"))
        if service and self._is_active(name):
            subprocess.run(shlex.split(service.one("ExecReload")), check=True)
        else:
            self._start(name)

    def _listen(self, unit: dict[str, list[str]]) -> socket.socket:
        path = Path(unit["ListenStream"][-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        if os.getuid() == 0:
            subprocess.run(["chown", f"{unit['SocketUser'][-1]}:{unit['SocketGroup'][-1]}", path], check=True)
        path.chmod(int(unit["SocketMode"][-1], 8))
        listener.listen(4096)
        return listener

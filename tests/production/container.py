"""``deploy/Containerfile`` and ``deploy/compose.yaml`` without a container: no daemon runs on machines of tests.

Each step of the Containerfile is executed in a fresh folder that stands for the image, and the commands of the compose
file are started there as processes of a user without rights. What only an engine does (namespaces, mounts, networks,
the images of others) is not tried.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.production.machine import NOBODY, SYSTEM, ways_to_packages
from tests.support import ROOT
from tests.support.processes import Process

DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def instructions(text: str) -> list[tuple[str, str]]:
    """The steps of a Containerfile: the instruction and its arguments."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


@dataclass
class Image:
    """A folder that stands for an image; ``user`` runs what it starts."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    user: str = ""
    command: list[str] = field(default_factory=list)

    @property
    def inside(self) -> Path:
        """The working folder, where it really is."""
        return self.root / self.folder.relative_to("/")

    def build(self, context: Path) -> None:
        """Execute every step, on a fresh environment of Debian's Python in place of the image of Python."""
        self.root.chmod(0o755)
        subprocess.run(["/usr/bin/python3", "-m", "venv", self.root / "python"], check=True)
        for name, arguments in instructions((context / "deploy/Containerfile").read_text()):
            self._execute(context, name, arguments)

    def _execute(self, context: Path, name: str, arguments: str) -> None:
        if name == "ENV":
            self.environ |= dict(pair.split("=", 1) for pair in shlex.split(arguments))
        elif name == "WORKDIR":
            self.folder = Path(arguments)
            self.inside.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                self._copy(context / source, self.inside / target, is_folder=target.endswith("/"))
        elif name == "RUN":
            done = subprocess.run(
                ["bash", "-ec", arguments], cwd=self.inside, env=self.whole({}), capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr.decode()
        elif name == "USER":
            self.user = arguments
        elif name == "CMD":
            self.command = json.loads(arguments)
        else:
            assert name in {"FROM", "EXPOSE", "STOPSIGNAL"}, name

    @staticmethod
    def _copy(source: Path, target: Path, *, is_folder: bool) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.mo"))
        else:
            shutil.copy(source, target / source.name if is_folder else target)

    def whole(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process in it, which has nothing of this machine but the ways to packages."""
        return {**ways_to_packages(), "PATH": f"{self.root}/python/bin:{SYSTEM}", **self.environ, **environ}

    def start(self, command: list[str], environ: Mapping[str, str | None], folder: Path, stack: ExitStack) -> Process:
        """Start a process of the user without rights; it may write to ``folder`` alone, and its log stands there."""
        is_root = os.getuid() == 0
        folder.mkdir()
        # Its /tmp; and YAML reads a variable that is empty as null.
        here = {name: re.sub("^/tmp", str(folder), value or "") for name, value in environ.items()}
        if is_root:
            shutil.chown(folder, NOBODY)
        process = subprocess.Popen(
            command,
            cwd=self.inside,
            env=self.whole({**here, "TMPDIR": str(folder)}),
            stdout=subprocess.DEVNULL,
            stderr=stack.enter_context((folder / "log").open("wb")),
            user=NOBODY if is_root else None,
            group="nogroup" if is_root else None,
            extra_groups=[] if is_root else None,
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The services of the compose file with their variables put in; raises ``KeyError`` for one that must be set."""

    def value(match: re.Match[str]) -> str:
        return variables[match[1]] if match[2] != "-" else variables.get(match[1], match[3])

    text = VARIABLE.sub(value, (DEPLOY / "compose.yaml").read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def substituted(template: str, environ: Mapping[str, str]) -> str:
    """What the image of nginx makes of a template: ``envsubst`` with the variables that are set."""
    return re.sub(r"\$\{(\w+)\}", lambda match: environ.get(match[1], match[0]), template)

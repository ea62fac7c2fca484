"""deploy/install.sh says what is wrong in one message, ends with a status that is not 0, and has changed nothing."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.production.machine import DOMAIN, SYSTEM
from tests.support import ROOT
from tests.support.processes import free_port

SQLITE = ("--database", "sqlite")
KEYS = {"BX24APP_CLIENT_ID": "app.1.2", "BX24APP_CLIENT_SECRET": "hidden-in-every-message"}
OLD_PYTHON = 'case $1 in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac'
PYTHON_WITHOUT_VENV = 'case $2 in *ensurepip*) exit 1 ;; *) exec /usr/bin/python3 "$@" ;; esac'

pytestmark = pytest.mark.skipif(shutil.which("nginx", path=SYSTEM) is None, reason="needs nginx: run .ci/servers")


@dataclass
class Bare:
    """A machine with nginx and a certificate, on which nothing was installed; ``programs`` come before all others."""

    prefix: Path
    programs: Path
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))

    def has(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def installs(self, *options: str, domain: str = DOMAIN, **settings: str) -> subprocess.CompletedProcess[str]:
        http, https = (f"127.0.0.1:{port}" for port in self.ports)
        place = ("--prefix", str(self.prefix), "--listen-http", http, "--listen-https", https)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("BX24APP_")}
        return subprocess.run(
            [ROOT / "deploy/install.sh", "--domain", domain, *place, *options],
            env={**plain, "PATH": f"{self.programs}:{SYSTEM}", **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    def content(self) -> Mapping[str, bytes | None]:
        """Every file and folder of the machine."""
        found = sorted(self.prefix.rglob("*"))
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    machine = Bare(tmp_path / "machine", tmp_path / "programs")
    live = machine.prefix / "etc/letsencrypt/live" / DOMAIN
    for folder in (live, machine.prefix / "etc/nginx", machine.programs):
        folder.mkdir(parents=True)
    (machine.prefix / "etc/nginx/nginx.conf").touch()
    (live / "fullchain.pem").touch()
    (live / "privkey.pem").touch()
    machine.has("systemctl", "exit 3")
    before = machine.content()
    yield machine
    assert machine.content() == before


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("install.sh: "), done.stderr
    assert done.stderr.count("install.sh: ") == 1
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert "Traceback" not in done.stderr
    assert KEYS["BX24APP_CLIENT_SECRET"] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--databse", "sqlite"), "unknown option --databse"),
        (("--database",), "--database needs a value"),
        ((), "--database is missing"),
        (("--database", "mysql://db/x"), "postgresql+psycopg://"),
        (("--database", "postgresql+psycopg://app:hidden-in-every-message@db/x"), "BX24APP_DATABASE_URL"),
        ((*SQLITE, "--certificate", "/nowhere.pem"), "/nowhere.pem cannot be read"),
        ((*SQLITE, "--user", "a b"), "'a b' has a character"),
        ((*SQLITE, "--python", "python9"), "python9 is missing"),
    ],
)
def test_options(bare: Bare, options: tuple[str, ...], words: str) -> None:
    refused(bare.installs(*options, **KEYS), words)


@pytest.mark.parametrize("domain", ["", "https://callback.example.com", "callback.example.com/app", "a b", "-x", "a;b"])
def test_a_name_that_is_none(bare: Bare, domain: str) -> None:
    refused(bare.installs(*SQLITE, domain=domain, **KEYS), "--domain must be the name of this machine")


def test_without_keys_it_says_what_to_register(bare: Bare) -> None:
    url = f"https://{DOMAIN}:{bare.ports[1]}"
    for given in ({}, {"BX24APP_CLIENT_ID": "app.1.2"}):
        done = bare.installs(*SQLITE, **given)
        refused(done, f"application URL  {url}/\n", f"installer URL    {url}/install\n", "telephony, call, crm")


@pytest.mark.parametrize("value", ["two words", "it's", 'a"b', "a\\b", "two\nlines"])
def test_a_setting_that_its_file_cannot_hold(bare: Bare, value: str) -> None:
    refused(bare.installs(*SQLITE, **KEYS, BX24APP_LOG_LEVEL=value), "BX24APP_LOG_LEVEL has a space")


def test_who_is_not_root(bare: Bare) -> None:
    bare.has("id", "echo 1000")
    refused(bare.installs(*SQLITE, "--prefix", "", **KEYS), "must be run as root")


def test_a_python_that_is_too_old_or_makes_no_environments(bare: Bare) -> None:
    bare.has("python3", OLD_PYTHON)
    refused(bare.installs(*SQLITE, **KEYS), "Python 3.9.2 is too old", "3.11")
    bare.has("python3", PYTHON_WITHOUT_VENV)
    refused(bare.installs(*SQLITE, **KEYS), "apt-get install --yes python3-venv")


@pytest.mark.parametrize("taken", [0, 1])
def test_a_port_that_something_else_has(bare: Bare, taken: int) -> None:
    with socket.create_server(("127.0.0.1", bare.ports[taken])):
        refused(bare.installs(*SQLITE, **KEYS), f"port {bare.ports[taken]} is taken")


def test_an_installation_that_is_there_is_not_made_another_one(bare: Bare) -> None:
    settings = bare.prefix / "etc/callback-desk/callback-desk.env"
    settings.parent.mkdir()
    url = f"https://{DOMAIN}:{bare.ports[1]}"
    try:
        settings.write_text("BX24APP_PUBLIC_URL=https://callback.example.com\n")
        refused(bare.installs(*SQLITE), "is installed as https://callback.example.com")
        settings.write_text(f"BX24APP_PUBLIC_URL={url}\nBX24APP_DATABASE_URL=postgresql+psycopg:///x\n")
        refused(bare.installs(*SQLITE), "is installed with another database")
        assert settings.read_text().endswith("/x\n")
    finally:
        shutil.rmtree(settings.parent)

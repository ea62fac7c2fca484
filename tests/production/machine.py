"""A machine for the walk: below one folder, with the services of Debian that are real, and those that are not.

Real are nginx, PostgreSQL (embedded), the user without rights, every file and every process. ``systemctl`` is the
double of ``systemd.py``; ``certbot`` brings a certificate of the test's own authority; ``apt-get`` does nothing, for
``.ci/servers`` has installed what is needed; ``runuser`` reaches the embedded PostgreSQL.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import trustme
from sqlalchemy.engine import URL

from tests.production.systemd import Systemd
from tests.support import ROOT
from tests.support.database import PROGRAMS
from tests.support.processes import free_port

# A portal takes handlers at a host with a dot only.
DOMAIN = "127.0.0.1"
NOBODY = "nobody"
SYSTEM = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
NGINX_UNIT = """[Service]
ExecStart={nginx} -g 'daemon off;' -c {conf}
ExecReload={nginx} -s reload -c {conf}
KillSignal=SIGQUIT
TimeoutStopSec=5
Restart=always
"""
STUBS = {
    "apt-get": "true",
    "certbot": 'case " $* " in *" --domain {domain} "*) ;; *) exit 2 ;; esac\n'
    "install -D -m 0644 {made}/chain.pem {live}/fullchain.pem\ninstall -D -m 0600 {made}/key.pem {live}/privkey.pem",
    "runuser": 'while [ "$1" != -- ]; do shift; done; shift\n'
    'PATH={programs}:$PATH PGHOST={postgres} PGUSER=postgres exec "$@"',
    # Those of Debian are older than the server of this machine.
    "pg_dump": 'exec {programs}/pg_dump "$@"',
    "pg_restore": 'exec {programs}/pg_restore "$@"',
}


def _copy_checkout(folder: Path) -> None:
    """What a clone would have, and what is about to be committed."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    for name in subprocess.check_output(listed, cwd=ROOT).decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def temporary(folder: Path) -> str:
    """The lines that let nginx keep its temporary files in a folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


def debian_nginx(prefix: Path) -> Path:
    """Put Debian's own nginx.conf, with the folders that it names, below a prefix; returns where it stands."""
    conf = prefix / "etc/nginx/nginx.conf"
    for folder in ("etc/nginx/conf.d", "etc/nginx/modules-enabled", "var/log/nginx", "var/lib/nginx", "run"):
        (prefix / folder).mkdir(parents=True)
    own = Path("/etc/nginx/nginx.conf").read_text()
    own = re.sub(r"/(etc/nginx/\S+-enabled|etc/nginx/conf\.d|run|var/log)/", rf"{prefix}/\1/", own)
    conf.write_text(own.replace("http {\n", f"http {{\n{temporary(prefix / 'var/lib/nginx')}\n", 1))
    return conf


def ways_to_packages() -> dict[str, str]:
    """What pip needs to know on this machine, and nothing else of it."""
    known = ("PIP_", "HOME", "LANG", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    return {name: value for name, value in os.environ.items() if name.startswith(known)}


class Machine:
    """What the commands of the README run on; ``prefix`` holds all of it."""

    def __init__(self, prefix: Path, ca: trustme.CA, postgres: URL) -> None:
        self.prefix, self.postgres_url = prefix, postgres
        self.postgres = str(postgres.query["host"])
        prefix.chmod(0o755)
        self.http, self.https = free_port(), free_port()
        self.url = f"https://{DOMAIN}:{self.https}"
        self.settings = prefix / "etc/callback-desk/callback-desk.env"
        self.user = NOBODY if os.getuid() == 0 else os.environ["USER"]
        self.clone = prefix / "clone"
        _copy_checkout(self.clone)
        self._nginx()
        self.systemd = Systemd(prefix / "etc/systemd/system", prefix / "var/log")
        self._commands(ca)

    def _nginx(self) -> None:
        conf = debian_nginx(self.prefix)
        units = self.prefix / "etc/systemd/system"
        units.mkdir(parents=True)
        program = shutil.which("nginx", path=SYSTEM)
        (units / "nginx.service").write_text(NGINX_UNIT.format(nginx=program, conf=conf))

    def _commands(self, ca: trustme.CA) -> None:
        made, commands = self.prefix / "made", self.prefix / "bin"
        made.mkdir()
        commands.mkdir()
        certificate = ca.issue_cert(DOMAIN)
        (made / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        (made / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        known = {
            "domain": DOMAIN,
            "made": made,
            "live": self.prefix / f"etc/letsencrypt/live/{DOMAIN}",
            "programs": PROGRAMS,
            "postgres": self.postgres,
        }
        programs = {name: f"#!/bin/sh -e\n{text.format(**known)}\n" for name, text in STUBS.items()}
        for name, text in {**programs, "systemctl": self.systemd.client}.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)

    def on_this_machine(self, commands: str) -> str:
        """The commands of a page with the names and folders of this machine."""
        options = f"--prefix {self.prefix} --user {self.user}"
        options += f" --listen-http 127.0.0.1:{self.http} --listen-https 127.0.0.1:{self.https}"
        commands = commands.replace("callback.example.com", DOMAIN)
        commands = commands.replace("/var/run/postgresql", self.postgres)
        commands = re.sub(r"(?<![\w/.])/(etc|var|opt)/", rf"{self.prefix}/\1/", commands)
        return commands.replace("deploy/install.sh", f"deploy/install.sh {options}")

    def run(self, commands: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run commands of a page as root of this machine, in the folder of a clone."""
        path = f"{self.prefix}/bin:{self.prefix}/usr/local/sbin:{SYSTEM}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.on_this_machine(commands)],
            cwd=self.clone,
            env={**ways_to_packages(), **settings, "PATH": path},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    def setting(self, name: str) -> str:
        """The value of a setting, as its file has it."""
        found = re.search(rf"^BX24APP_{name}=(.*)$", self.settings.read_text(), re.MULTILINE)
        assert found, f"{name} is not set"
        return found[1]

    def release(self) -> Path:
        """The release that is installed."""
        return (self.prefix / "usr/local/sbin/callback-desk").resolve().parent.parent

    def nginx_takes(self, *lines: str) -> bool:
        """Whether nginx reads these lines, in whichever of its files."""
        read = self.run("nginx -T -q -c /etc/nginx/nginx.conf").stdout
        return all(line in read for line in lines)

    def trust(self, ca: trustme.CA) -> None:
        """Let the installed release accept certificates of an authority that the world does not know."""
        [bundle] = self.release().glob(".venv/lib/python3*/site-packages/certifi/cacert.pem")
        bundle.write_bytes(bundle.read_bytes() + ca.cert_pem.bytes())

    def logs(self) -> str:
        """Everything that processes of this machine have logged."""
        return "".join(path.read_text(errors="replace") for path in sorted((self.prefix / "var/log").rglob("*.log")))

"""How many connections one address may hold before nginx has read a request, where no limit of the site counts yet."""

import json
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.production.container import DEPLOY
from tests.production.machine import SYSTEM, debian_nginx, temporary
from tests.production.nginx import COMPANY, HOME, NGINX, Site, as_user, serving
from tests.support import ROOT

STRANGER = "127.0.4.1"
# More than one process takes with the nginx.conf of Debian, or of the image of nginx, or with 1024 files.
MANY = 1200
HEAD_SECONDS = 5
# A client's first message: of 512 bytes, says the head, the first one comes.
HALF_HANDSHAKE = bytes.fromhex("160301020001")
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: loc"

NFT = shutil.which("nft", path=SYSTEM)
# How many of its connections each address gets, in this order; what is dropped waits for ever.
COUNTED = """
import json, resource, socket
from contextlib import suppress
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listening = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
opened = []
def connects(address, count):
    before, to = len(opened), "2001:db8::1" if ":" in address else "127.0.0.1"
    for _ in range(count):
        with suppress(TimeoutError):
            opened.append((socket.create_connection((to, 443), 0.3, (address, 0)), listening.accept()[0]))
    return len(opened) - before
def closed():
    while opened:
        for end in opened.pop():
            end.close()
counted = [connects("127.0.4.1", 502), connects("127.0.4.2", 502)]
counted += [sum(connects(f"127.0.4.{last}", 334) for last in (3, 4, 5)), connects("127.0.5.1", 1)]
closed()
counted += [connects("127.0.4.1", 1), connects("2001:db8:4::1", 400), connects("2001:db8:4::2", 102)]
counted += [sum(connects(f"2001:db8:4:{last}::1", 376) for last in (1, 2, 3, 4)), connects("2001:db8:5::1", 1)]
print(json.dumps(counted))
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: run .ci/servers")


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    """As many open files as these tests hold connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        pytest.skip(f"needs {2 * MANY} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def raised(conf: Path) -> str:
    """Do to an nginx.conf what deploy/install.sh does beside its site; returns what it says."""
    script = f"source {ROOT}/deploy/install.sh; nginx={conf.parent}; raise_connections; advise; echo $nginx_changes"
    command, environ = ["bash", "-c", script], {"PATH": SYSTEM}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def debian(folder: Path) -> str:
    return debian_nginx(folder).read_text()


def installed(folder: Path) -> str:
    conf = debian_nginx(folder)
    raised(conf)
    return conf.read_text()


def container(folder: Path) -> str:
    conf = (DEPLOY / "nginx.container.conf").read_text().replace("/run/nginx.pid", f"{folder}/pid")
    return conf.replace("http {", f"http {{ {temporary(folder)}").replace("/etc/nginx/conf.d/*.conf", "sites-enabled/*")


@contextmanager
def one_process(folder: Path, made: Callable[[Path], str]) -> Iterator[Site]:
    """nginx with a whole ``nginx.conf`` and the site, as one process, so that few connections tell."""
    conf = re.sub(r"include \S*sites-enabled/\*;", f"include {folder}/site;", made(folder))
    conf = re.sub(r"^user .*;$", as_user(folder), conf, flags=re.MULTILINE)
    with serving(folder, conf.replace("worker_processes auto;", "worker_processes 1; daemon off;")) as site:
        yield site


@contextmanager
def held(port: int, count: int, begins: bytes) -> Iterator[list[socket.socket]]:
    """So many connections of a stranger who has sent the beginning of something."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = socket.create_connection((COMPANY, port), timeout=10, source_address=(STRANGER, 0))
            opened.append(stack.enter_context(connection))
            with suppress(OSError):
                connection.sendall(begins)
            # Until nginx has read it, for it gives up connections of which it has read nothing.
            time.sleep(0.001)
        yield opened


@pytest.mark.parametrize("made", [installed, container])
def test_begun_handshakes_of_one_address_leave_room_for_others(tmp_path: Path, made: Callable[[Path], str]) -> None:
    with one_process(tmp_path, made) as site, held(site.https, MANY, HALF_HANDSHAKE):
        began = time.monotonic()
        assert [site.ask("GET", "/", address=HOME) for _ in range(3)] == [200] * 3
        # Nor do they wait until the first handshakes have had their time, as they would for too few files.
        assert time.monotonic() - began < HEAD_SECONDS / 2


def test_they_would_fill_the_nginx_of_debian(tmp_path: Path) -> None:
    with (
        one_process(tmp_path, debian) as site,
        held(site.https, MANY, HALF_HANDSHAKE),
        pytest.raises((ConnectionError, ssl.SSLError)),
    ):
        site.ask("GET", "/", address=HOME)


def test_handshakes_and_heads_have_five_seconds(tmp_path: Path) -> None:
    with one_process(tmp_path, container) as site, ExitStack() as stack:
        [shaking] = stack.enter_context(held(site.https, 1, HALF_HANDSHAKE))
        [plain] = stack.enter_context(held(site.http, 1, HALF_HEAD))
        [raw] = stack.enter_context(held(site.https, 1, b""))
        asking = stack.enter_context(closing(site.tls.wrap_socket(raw, server_hostname="localhost")))
        asking.sendall(HALF_HEAD)
        began = time.monotonic()
        for connection in (shaking, plain, asking):
            assert connection.recv(1) == b""
        assert HEAD_SECONDS - 1 < time.monotonic() - began < HEAD_SECONDS + 2


def test_the_script_raises_low_numbers_once_and_keeps_the_file_of_before(tmp_path: Path) -> None:
    conf = debian_nginx(tmp_path)
    before = conf.read_text()
    assert "worker_connections 8192 instead of 768" in raised(conf)
    assert conf.read_text() == before.replace("worker_connections 768;", "worker_connections 8192;")
    assert conf.with_name("nginx.conf.before-callback-desk").read_text() == before
    assert raised(conf).splitlines()[-1] == "no"


@pytest.mark.parametrize(
    ("own", "kept", "told"),
    [
        ("worker_rlimit_nofile 9000;\nevents { worker_connections 5000; }", "worker_connections 5000;", False),
        ("events { worker_connections 700; }", "events { worker_connections 8192; }", True),
        ("include modules-enabled/*.conf;\nevents { worker_connections 700; }", "worker_connections 8192;", False),
        ("# worker_connections 9000;\nevents {}", "# worker_connections 9000;\nevents {}", True),
    ],
)
def test_an_operator_s_own_numbers_are_kept_or_it_is_told_what_to_write(
    tmp_path: Path, own: str, kept: str, told: bool
) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"pid {tmp_path}/pid; error_log {tmp_path}/log;\n{own}\nhttp {{ access_log off; }}\n")
    said = raised(conf)
    assert kept in conf.read_text()
    assert ("takes few connections" in said) is told, said
    assert "docs/operating.md" in said


@pytest.mark.skipif(NFT is None, reason="needs nftables: run .ci/servers")
def test_the_firewall_s_rule_counts_what_an_address_and_its_network_hold() -> None:
    """In a network of its own, whose loopback has the addresses of all strangers."""
    unshare = ["unshare", "--net", "bash", "-euc"]
    if subprocess.run([*unshare, f"{NFT} list ruleset"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network")
    addresses = "ip route add local 2001:db8::/32 dev lo; echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind"
    setup = f'ip link set lo up; {addresses}; {NFT} -f {DEPLOY}/firewall.nft; exec "$@"'
    command = [*unshare, setup, "bash", sys.executable, "-c", COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [500, 500, 1000, 1, 1, 400, 100, 1500, 1]

"""The steps of the walk that concern containers."""

import contextlib
import tempfile
from pathlib import Path

from tests.production.container import DEPLOY, Image, compose, substituted
from tests.production.machine import Machine
from tests.production.people import wait_for
from tests.production.systemd import read_environment
from tests.support.database import fresh_database
from tests.support.processes import free_port, wait_until_up


def image_and_services(machine: Machine) -> None:
    """Build the image step by step, then start what the compose file starts, in its order."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callback-desk-")))
        image = Image(folder / "image")
        image.root.mkdir()
        folder.chmod(0o755)
        image.build(machine.clone)
        assert image.user == "10001:10001"
        url, port = stack.enter_context(fresh_database(machine.postgres_url)), free_port()
        services = compose({"DOMAIN": "localhost", "DATABASE_PASSWORD": "unused-by-the-embedded-server"})
        environ = {**read_environment(machine.settings), **services["web"]["environment"], "BX24APP_DATABASE_URL": url}
        migrate = image.start(services["migrate"]["command"], environ, folder / "migrate", stack)
        assert migrate.wait(60) == 0, (folder / "migrate/log").read_text()
        assert image.command == services["web"]["command"]
        web = [part.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for part in image.command]
        image.start(web, environ, folder / "web", stack)
        image.start(services["worker"]["command"], environ, folder / "worker", stack)
        wait_until_up(f"http://127.0.0.1:{port}")
        wait_for(lambda: "worker_started" in (folder / "worker/log").read_text(), "the worker starts")
        _proxy(machine, services["proxy"]["environment"])


def _proxy(machine: Machine, environ: dict[str, str]) -> None:
    """nginx accepts what its image makes of the template."""
    made = {
        "UPSTREAM": "127.0.0.1:1",
        "ACCESS_LOG": f"{machine.prefix}/var/log/nginx/callback-desk.log",
        "ERROR_LOG": f"{machine.prefix}/var/log/nginx/callback-desk.error.log",
        "CERTIFICATE": f"{machine.prefix}/made/chain.pem",
        "CERTIFICATE_KEY": f"{machine.prefix}/made/key.pem",
    }
    assert made.keys() < environ.keys()
    site = machine.prefix / "etc/nginx/conf.d/container.conf"
    sites = machine.prefix / "etc/nginx/sites-enabled/callback-desk"
    kept = sites.readlink()
    sites.unlink()
    site.write_text(substituted((DEPLOY / "nginx.conf").read_text(), {**environ, **made}))
    try:
        done = machine.run(f"nginx -t -q -c {machine.prefix}/etc/nginx/nginx.conf")
        assert done.returncode == 0, done.stderr
    finally:
        site.unlink()
        sites.symlink_to(kept)

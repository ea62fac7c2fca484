"""Steps of the walk for an app that has worked for a while: backup and restore, metrics, a fleet."""

import contextlib
import http.client
import re
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.production.machine import DOMAIN
from tests.production.people import Company, wait_for
from tests.production.readme import commands_under
from tests.support.processes import free_port

BROKER = "redis://127.0.0.1:6379/0"


def backup_and_restore(company: Company) -> None:
    """A call that came after the backup is gone after the restore, and nothing of the backup is dialled again."""
    machine = company.machine
    planned, number = company.calls(scheduled_at=(datetime.now(UTC) + timedelta(days=2)).isoformat())
    before = len(company.telephony.dials)
    done = machine.run(commands_under("Back up"))
    assert done.returncode == 0, done.stderr
    [backup] = (machine.prefix / "var/lib/callback-desk").glob("backup")
    assert backup.stat().st_mode & 0o077 == 0
    company.talks()
    done = machine.run(commands_under("Restore"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = company.administrator.asks("GET", "/callbacks")
    assert found.status_code == 200, found.text
    company.talks()
    assert len(company.telephony.dials) == before + 2
    assert (company.state_of(planned), company.dials_of(number)) == ("unknown", 0)


def counts_of_all(company: Company, tls: ssl.SSLContext | None) -> None:
    """Whoever has the token gets what the worker has counted from a web process, and nobody else gets anything."""
    machine = company.machine

    def scrape(token: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(DOMAIN, machine.https, timeout=60, context=tls)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    assert scrape("x" * 43)[0] == http.client.UNAUTHORIZED
    status, text = scrape(machine.setting("METRICS_TOKEN"))
    assert status == http.client.OK, text
    dials = re.search(r'^bx24app_attempts_total{outcome="dialling"} ([0-9.]+)$', text, re.MULTILINE)
    assert dials, text
    assert float(dials[1]) >= 1


def fleet(company: Company) -> None:
    """With a broker the same call is made by Celery, and the worker is not needed."""
    machine, settings = company.machine, company.machine.settings.read_text()
    with _redis() as url:
        done = machine.run(commands_under("Work on a fleet").replace(BROKER, url))
        assert done.returncode == 0, done.stderr
        company.talks()
        machine.settings.write_text(settings)
        done = machine.run(
            "systemctl start callback-desk-worker; systemctl restart callback-desk-web\n"
            "systemctl stop callback-desk-fleet-worker callback-desk-fleet-beat"
        )
        assert done.returncode == 0, done.stderr
    company.talks()


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    running = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        ask = ["redis-cli", "-p", str(port), "ping"]
        wait_for(lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        running.terminate()
        running.wait(10)

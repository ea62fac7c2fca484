"""Steps for parts that are not in this version yet; each joins ``STEPS`` of the walk with its part.

Until then no test runs them: look at each when it is switched on.
"""

import contextlib
import subprocess
from collections.abc import Iterator

from tests.production.people import Company, wait_for
from tests.support.processes import free_port

PROCESSES = "callback-desk-web callback-desk-worker"


def backup_and_restore(company: Company) -> None:
    """A call that came after the backup is gone after the restore, and nothing of the backup is dialled again."""
    machine, file = company.machine, company.machine.prefix / "var/lib/callback-desk/backup"
    dialled = len(company.telephony.dials)
    assert machine.run(f"callback-desk backup {file}").returncode == 0
    company.talks()
    done = machine.run(f"systemctl stop {PROCESSES}; callback-desk restore {file}; systemctl start {PROCESSES}")
    assert done.returncode == 0, done.stderr
    company.talks()
    assert len(company.telephony.dials) == dialled + 2


def fleet(company: Company) -> None:
    """With a broker the same call is made by Celery, and the worker is not needed."""
    machine = company.machine
    with _redis() as url:
        machine.settings.write_text(f"{machine.settings.read_text()}BX24APP_BROKER_URL={url}\n")
        done = machine.run(
            "systemctl stop callback-desk-worker; systemctl restart callback-desk-web\n"
            "systemctl start callback-desk-fleet-worker callback-desk-fleet-beat"
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

"""The walk: each step runs commands of the README, or does to the installed app what happens to it in life."""

import contextlib
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fake_bitrix24 import FakeBitrix24
from tests.production.container_steps import image_and_services
from tests.production.later_steps import backup_and_restore, counts_of_all, fleet
from tests.production.machine import Machine
from tests.production.people import PATIENCE_SECONDS, Company, move_in, people_who_ask, wait_for
from tests.production.readme import commands_under
from tests.support.database import driven, embedded_postgres, workplace
from tests.support.processes import kill
from tests.support.registration import register

CLIENT_ID, CLIENT_SECRET = "app.0123456789abcd.12345678", "production-test-of-the-client-secret"
SECRETS = ("SECRET_KEY", "ENCRYPTION_KEYS", "METRICS_TOKEN")
PRIVATE_FILE = 0o600


@dataclass
class Walk:
    """What the steps hand on to each other."""

    machine: Machine
    fake: FakeBitrix24
    company: Company | None = None

    @property
    def portal_company(self) -> Company:
        assert self.company is not None
        return self.company


def install(walk: Walk) -> None:
    """Install as the README says; the doctor at the end finds the one thing that is wrong on this machine."""
    keys = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "PUBLIC_URL": walk.machine.url}
    register(walk.fake, {f"BX24APP_{name}": value for name, value in keys.items()})
    world = {"BX24APP_AUTH_SERVER": walk.fake.auth_server.url, "BX24APP_PRIVATE_PORTALS": "127.0.0.0/8"}
    done = walk.machine.run(commands_under("Install"), f"{CLIENT_ID}\n{CLIENT_SECRET}\n", **world)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is not accepted" in done.stdout, done.stdout + done.stderr
    assert f"application URL  {walk.machine.url}/\n" in done.stdout
    assert "scopes           placement, telephony" in done.stdout
    assert stat.S_IMODE(walk.machine.settings.stat().st_mode) == PRIVATE_FILE
    assert CLIENT_SECRET not in done.stdout + done.stderr
    assert walk.machine.nginx_takes("worker_connections 8192;", "worker_rlimit_nofile 20000;"), done.stdout
    assert '"Firewall", has the rule' in done.stdout
    # The authority of this test is one that the world does not know: the certificates of both sides are checked.
    assert walk.fake.ca is not None
    walk.machine.trust(walk.fake.ca)


def install_again(walk: Walk) -> None:
    """The same commands again change no secret, and all is well now."""
    before = [walk.machine.setting(name) for name in SECRETS]
    done = walk.machine.run(commands_under("Upgrade"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is there already" in done.stdout
    assert [walk.machine.setting(name) for name in SECRETS] == before
    assert len(set(before)) == len(SECRETS)
    refused = walk.machine.run(commands_under("Upgrade").replace("callback.example.com", "other.example.org"))
    assert refused.returncode == 1, refused.stdout


def unreachable_database(walk: Walk) -> None:
    """An upgrade while the database is away ends with one sentence, and what runs goes on."""
    settings = walk.machine.settings.read_text()
    gone = settings.replace(walk.machine.postgres, f"{walk.machine.prefix}/nowhere")
    walk.machine.settings.write_text(gone)
    command = commands_under("Upgrade").replace("/var/run/postgresql", f"{walk.machine.prefix}/nowhere")
    running = walk.machine.systemd.services["callback-desk-web"].process
    done = walk.machine.run(command)
    walk.machine.settings.write_text(settings)
    assert done.returncode == 1, done.stdout
    assert "database" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert walk.machine.systemd.services["callback-desk-web"].process is running


def look_after(walk: Walk) -> None:
    """The two commands of every day."""
    done = walk.machine.run(commands_under("Look after it"))
    assert done.returncode == 0, done.stdout + done.stderr


def first_call(walk: Walk) -> None:
    """A portal installs over https, and a call is made to its end."""
    walk.company = move_in(walk.machine, walk.fake)
    walk.company.talks()


def crash_of_the_worker(walk: Walk) -> None:
    """SIGKILL while people talk, and while another dial is not answered: nothing is lost, and nothing dialled again.

    What became of that other dial the portal's history tells when its lease is over, which takes longer than this walk;
    ``test_dialling_promise.py`` turns the clock.
    """
    company, worker = walk.portal_company, walk.machine.systemd.services["callback-desk-worker"]
    talking_id, _, call = company.is_talking()
    fault = company.administrator.portal.faults.add("hang_after", "voximplant.callback.start", seconds=100.0)
    unanswered_id, number = company.calls()
    assert fault.executed.wait(PATIENCE_SECONDS)
    assert worker.process is not None
    starts = worker.starts
    kill(worker.process)
    wait_for(lambda: worker.starts == starts + 1, "systemd starts the worker again")
    fault.released.set()
    call.hang_up()
    wait_for(lambda: company.state_of(talking_id) == "completed", "the outcome is seen by the next worker")
    company.talks()
    assert company.dials_of(number) == 1
    assert company.state_of(unanswered_id) in {"dialling", "unknown"}


def crash_of_the_web(walk: Walk) -> None:
    """SIGKILL for every process of the web: those who asked meanwhile wait or ask again, and nothing is done twice."""
    company, service = walk.portal_company, walk.machine.systemd.services["callback-desk-web"]
    number, key = company.new_number(), "crash-of-the-web"
    assert company.administrator.requests_callback(number, key=key).status_code == 201
    assert service.process is not None
    starts = service.starts
    os.killpg(service.process.pid, signal.SIGKILL)
    again = company.administrator.requests_callback(number, key=key)
    assert again.status_code == 200, again.text
    assert service.starts == starts + 1
    wait_for(lambda: company.dials_of(number) == 1, "the portal dials")
    company.talks()
    assert company.dials_of(number) == 1


def restart_under_load(walk: Walk) -> None:
    """Web and worker restart while people ask, and none of them is refused."""
    company = walk.portal_company
    with people_who_ask(walk.machine, company.administrator.ticket, walk.fake.client_tls) as load:
        time.sleep(1)
        for _ in range(2):
            done = walk.machine.run("systemctl restart callback-desk-web callback-desk-worker")
            assert done.returncode == 0, done.stderr
        time.sleep(1)
    print(f"     {load.answers.total()} answers, the longest wait {load.longest:.2f} s")
    assert set(load.answers) == {"200"}, load.answers
    company.talks()


def upgrade_under_load(walk: Walk) -> None:
    """Another version is installed while people ask; none of them is refused, and the old one stays as the way back."""
    machine, before = walk.machine, walk.machine.release()
    licence = machine.clone / "LICENSE"
    licence.write_text(licence.read_text() + "\n")
    with people_who_ask(machine, walk.portal_company.administrator.ticket, walk.fake.client_tls) as load:
        done = machine.run(commands_under("Upgrade"))
    assert machine.release() != before, done.stdout + done.stderr
    assert before.exists()
    print(f"     {load.answers.total()} answers, the longest wait {load.longest:.2f} s")
    assert set(load.answers) == {"200"}, load.answers
    # The new release knows the test's authority only from now on.
    assert walk.fake.ca is not None
    machine.trust(walk.fake.ca)
    assert machine.run("systemctl restart callback-desk-web callback-desk-worker").returncode == 0
    walk.portal_company.talks()


def key_rotation(walk: Walk) -> None:
    """A new encryption key as the README says; the old one is gone, and people go on."""
    before = walk.machine.setting("ENCRYPTION_KEYS")
    done = walk.machine.run(commands_under("Change the encryption key"))
    assert done.returncode == 0, done.stdout + done.stderr
    after = walk.machine.setting("ENCRYPTION_KEYS")
    assert before != after
    assert "," not in after
    assert stat.S_IMODE(walk.machine.settings.stat().st_mode) == PRIVATE_FILE
    assert walk.machine.run("callback-desk doctor").returncode == 0
    walk.portal_company.talks()


def no_secret_in_logs(walk: Walk) -> None:
    """Neither numbers nor secrets nor links stand in what any process has written, nginx's files among them."""
    said = walk.machine.logs()
    hidden = [CLIENT_SECRET, *(walk.machine.setting(name) for name in SECRETS), "4930901", "Traceback"]
    assert "POST /api/v1/callbacks 201" in said
    assert [secret for secret in hidden if secret in said] == []


def restore(walk: Walk) -> None:
    """A backup is made while everything runs, and put back."""
    backup_and_restore(walk.portal_company)


def metrics(walk: Walk) -> None:
    """Prometheus reads from a web process what the worker has counted."""
    counts_of_all(walk.portal_company, walk.fake.client_tls)


def celery(walk: Walk) -> None:
    """The same work on Celery, and without it again."""
    fleet(walk.portal_company)


def containers(walk: Walk) -> None:
    """The Containerfile's steps, and the compose file's processes."""
    image_and_services(walk.machine)


STEPS: tuple[Callable[[Walk], None], ...] = (
    install,
    install_again,
    unreachable_database,
    look_after,
    first_call,
    crash_of_the_worker,
    crash_of_the_web,
    restart_under_load,
    upgrade_under_load,
    key_rotation,
    restore,
    metrics,
    celery,
    no_secret_in_logs,
    containers,
)


@contextlib.contextmanager
def _machine() -> Iterator[Walk]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callback-desk-")))
        server = stack.enter_context(embedded_postgres(stack.enter_context(workplace()) / "postgres"))
        # Its socket lies among its data, which it looks at only when it starts.
        server.pgdata.chmod(0o711)
        fake = stack.enter_context(FakeBitrix24(tls=True))
        assert fake.ca is not None
        machine = Machine(folder, fake.ca, driven(server.get_uri()))
        stack.callback(machine.systemd.stop)
        yield Walk(machine, fake)


def main() -> int:
    """Walk all steps; prints each with the seconds it took, and the logs when one fails."""
    began = time.monotonic()
    with _machine() as walk:
        for step in STEPS:
            print(f"== {step.__name__.replace('_', ' ')}", flush=True)
            started = time.monotonic()
            try:
                step(walk)
            except BaseException:
                print(walk.machine.logs()[-8000:], file=sys.stderr)
                raise
            print(f"     {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(STEPS)} passed, 0 failed")
    print(f"production-test: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

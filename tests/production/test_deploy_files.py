"""What ``deploy/`` says of settings, units and containers agrees with the app, and with itself."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from bx24app.settings import VARIABLE_PREFIX, Settings
from bx24app.web import REQUEST_SECONDS
from bx24app.worker.worker import FINISH_SECONDS, GRACE_SECONDS
from tests.production.container import DEPLOY, compose, instructions
from tests.production.machine import SYSTEM
from tests.production.readme import blocks
from tests.production.systemd import read_unit
from tests.support import ROOT

GUNICORN = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VARIABLES = {"DOMAIN": "callback.example.com", "DATABASE_PASSWORD": "x"}
# What shields the machine from a process that is taken over (systemd.exec(5)).
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ReadWritePaths": "${DATA}",
    "CapabilityBoundingSet": "",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "User": "${USER}",
    "Restart": "always",
}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_the_settings_file_has_every_setting_and_no_other() -> None:
    named = re.findall(rf"^#?{VARIABLE_PREFIX}([A-Z_]+)=", (DEPLOY / "callback-desk.env").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_defaults_that_the_settings_file_tells_are_true() -> None:
    text = (DEPLOY / "callback-desk.env").read_text()
    told = dict(re.findall(rf"^#{VARIABLE_PREFIX}([A-Z_]+)=(.+)$", text, re.MULTILINE))
    real = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert len(told) >= 6
    assert {name: str(real[name]).lower() for name in told} == {name: value.lower() for name, value in told.items()}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_service_may_do_little(path: Path) -> None:
    unit = read_unit(path)
    assert {name: unit[name][-1] for name in HARDENED} == HARDENED
    assert unit["EnvironmentFile"] == ["${SETTINGS}"]
    assert unit["ExecStart"][0].startswith("${RELEASE}/.venv/bin/")


def test_nobody_is_killed_while_they_finish() -> None:
    waits = {path.stem: seconds(read_unit(path)["TimeoutStopSec"][-1]) for path in UNITS}
    services = compose(VARIABLES)
    worker, web = FINISH_SECONDS + GRACE_SECONDS, GUNICORN["graceful_timeout"]
    assert REQUEST_SECONDS < web < waits["callback-desk-web"]
    assert web < seconds(services["web"]["stop_grace_period"])
    for unit, service in (("callback-desk-worker", "worker"), ("callback-desk-fleet-worker", "fleet-worker")):
        assert worker < waits[unit]
        assert worker < seconds(services[service]["stop_grace_period"])


def test_units_and_containers_start_the_same() -> None:
    services = compose(VARIABLES)
    for unit, service in (("worker", "worker"), ("fleet-worker", "fleet-worker")):
        [command] = read_unit(DEPLOY / f"systemd/callback-desk-{unit}.service")["ExecStart"]
        assert command.removeprefix("${RELEASE}/.venv/bin/").split() == services[service]["command"]


def test_every_process_of_the_app_in_a_container_has_few_rights() -> None:
    ours = [service for service in compose(VARIABLES).values() if service.get("image") == "callback-desk"]
    assert len(ours) == 5
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"] == ["/tmp"]


def test_no_container_keeps_what_it_logs_without_end_or_in_memory() -> None:
    services = compose(VARIABLES)
    for name, service in services.items():
        assert service["logging"] == {"options": {"max-size": "50m"}}, name
        assert not any("log" in folder for folder in service.get("tmpfs", [])), name
    assert services["proxy"]["environment"]["ACCESS_LOG"] == "/dev/stdout"


def test_what_slow_clients_leave_with_the_proxy_has_a_bound() -> None:
    """Its temporary files are memory there."""
    folders = compose(VARIABLES)["proxy"]["tmpfs"]
    assert [folder for folder in folders if "nginx:" in folder] == ["/var/cache/nginx:size=512m"]
    assert "proxy_max_temp_file_size 8m;" in (DEPLOY / "nginx.conf").read_text()


def test_the_proxy_has_the_nginx_conf_that_takes_many_connections() -> None:
    """``test_held_connections.py`` holds many of them."""
    assert "./nginx.container.conf:/etc/nginx/nginx.conf:ro" in compose(VARIABLES)["proxy"]["volumes"]


def test_the_fleet_is_a_profile_of_its_own() -> None:
    services = compose(VARIABLES)
    assert {name for name, one in services.items() if one.get("profiles") == ["fleet"]} == {
        "redis",
        "fleet-worker",
        "fleet-beat",
    }
    assert compose({**VARIABLES, "BROKER_URL": "redis://redis"})["web"]["environment"]["BX24APP_BROKER_URL"]


@pytest.mark.parametrize("missing", VARIABLES)
def test_compose_goes_nowhere_without_what_must_be_set(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose({name: value for name, value in VARIABLES.items() if name != missing})


def test_script_image_and_context_have_the_same_files() -> None:
    script = (DEPLOY / "install.sh").read_text()
    [listed] = re.findall(r"^shipped=\((.*?)\)$", script, re.MULTILINE | re.DOTALL)
    copied = [
        name
        for step, rest in instructions((DEPLOY / "Containerfile").read_text())
        if step == "COPY"
        for name in rest.split()[:-1]
    ]
    context = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(copied) == set(context) == set(listed.split()) - {"deploy"}


def test_the_image_is_that_of_nobody() -> None:
    steps = dict(instructions((DEPLOY / "Containerfile").read_text()))
    assert int(steps["USER"].partition(":")[0]) > 0
    names = [name for name, _ in instructions((DEPLOY / "Containerfile").read_text())]
    assert "RUN" not in names[names.index("USER") :]


def test_the_walk_has_every_block_of_the_readme() -> None:
    walk = "".join((ROOT / f"tests/production/{name}.py").read_text() for name in ("__main__", "later_steps"))
    assert len(blocks()) >= 4
    assert [block.heading for block in blocks() if f'commands_under("{block.heading}")' not in walk] == []


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck: run .ci/servers")
def test_shellcheck_finds_nothing() -> None:
    scripts = [DEPLOY / "install.sh", DEPLOY / "callback-desk", *sorted((ROOT / ".ci").iterdir())]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze", path=SYSTEM) is None, reason="needs systemd-analyze")
def test_systemd_reads_every_line_of_the_units(tmp_path: Path) -> None:
    values = {
        "RELEASE": "/usr",
        "SETTINGS": "/etc/callback-desk.env",
        "DATA": "/var/lib",
        "USER": "root",
        "SOCKET": "/run/x.sock",
        "PROXY_GROUP": "root",
    }
    for path in sorted((DEPLOY / "systemd").iterdir()):
        text = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], path.read_text())
        (tmp_path / path.name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    analyze = shutil.which("systemd-analyze", path=SYSTEM)
    command = [str(analyze), "verify", "--recursive-errors=no", *(str(path) for path in sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "callback-desk" in line]
    assert told == []

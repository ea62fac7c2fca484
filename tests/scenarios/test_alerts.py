"""The alerts and the dashboard that operators load: promtool evaluates each alert against what a scrape really says.

The scrape of a busy portal goes on for hours without a change, and no alert fires. Then, for each alert, some of
its series grow as they do when something is wrong, and as they do just before.
"""

import json
import re
import runpy
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from bx24app import metrics
from bx24app.models import utcnow
from bx24app.worker.worker import Worker
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_documents import anchors
from tests.scenarios.test_metrics import environ, token
from tests.support import ROOT
from tests.support.actors import Actor, json_of
from tests.support.scrapes import Sample, Scrape, scrape
from tests.support.waiting import accept

__all__ = ["environ", "token"]

RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = ROOT / "deploy" / "grafana" / "callback-desk.json"
PROMTOOL = ROOT / "build" / "promtool"
MINUTES = 150
NAME = re.compile(r"\bbx24app_\w+")
# Those of Prometheus itself.
TARGETS = ('instance="a:8000",job="callback-desk"', 'instance="b:8000",job="callback-desk"')
JOB_DONE = "bx24app_job_last_success_timestamp_seconds"
HTTP = 'bx24app_http_requests_total{method="GET",route="/readyz",status="%s"}'
SLOW = 'bx24app_http_request_seconds_bucket{route="/api/v1/callbacks",le="%s"}'
WAIT = 'bx24app_dial_wait_seconds_bucket{source="staff",le="%s"}'
DIAL = 'bx24app_attempts_total{outcome="%s"}'
LATE = 'bx24app_events_total{event="ONVOXIMPLANTCALLEND",late="%s"}'

Series = Mapping[str, str]


def promtool() -> Path:
    if not PROMTOOL.exists():
        pytest.fail("promtool is not there: run .ci/promtool")
    return PROMTOOL


@dataclass(frozen=True)
class Case:
    """Series with which an alert fires, and others with which it does not, as promtool writes their values."""

    fires: Series
    rests: Series


def constant(value: float) -> str:
    return f"{value:g}+0x{MINUTES}"


def growing(a_minute: float) -> str:
    return f"0+{a_minute:g}x{MINUTES}"


def slowly(slow: float, whole: float, name: str, limit: str) -> Series:
    """A histogram of which so many a minute are below a limit, and so many in all."""
    return {name % limit: growing(whole - slow), name % "+Inf": growing(whole)}


CASES = {
    "CallbackDeskGone": Case({"-": "bx24app_database_up"}, {}),
    "DatabaseGone": Case({"bx24app_database_up": constant(0)}, {"bx24app_database_up": constant(1)}),
    "RequestsFail": Case(
        {HTTP % "2xx": growing(90), HTTP % "5xx": growing(10)}, {HTTP % "2xx": growing(97), HTTP % "5xx": growing(3)}
    ),
    "RequestsSlow": Case(slowly(6, 100, SLOW, "1.0"), slowly(4, 100, SLOW, "1.0")),
    "DialsStopped": Case(
        {"bx24app_callbacks_overdue": constant(1)},
        {"bx24app_callbacks_overdue": constant(1), DIAL % "dialling": growing(1)},
    ),
    "DialsWait": Case(slowly(6, 100, WAIT, "5.0"), slowly(4, 100, WAIT, "5.0")),
    "CallbacksWaitLong": Case(
        {"bx24app_oldest_due_seconds": constant(1900)}, {"bx24app_oldest_due_seconds": constant(1700)}
    ),
    "PortalsAtLimit": Case(
        {'bx24app_portals_at_limit{told_by="portal"}': constant(1)},
        # For twenty minutes only.
        {'bx24app_portals_at_limit{told_by="portal"}': f"0+0x{MINUTES - 20} 1+0x20"},
    ),
    "DialsUnknown": Case({DIAL % "unknown": growing(0.3)}, {DIAL % "unknown": growing(0.05)}),
    "DialsFail": Case(
        {DIAL % "dialling": growing(1), DIAL % "refused": growing(0.6)},
        {DIAL % "dialling": growing(2), DIAL % "refused": growing(0.6)},
    ),
    "Bitrix24Busy": Case(
        {'bx24app_rest_requests_total{method="batch",code="bitrix24_busy"}': growing(1)},
        {'bx24app_rest_requests_total{method="batch",code="bitrix24_busy"}': growing(0.25)},
    ),
    "PeopleAreAsked": Case(
        {"bx24app_oldest_question_seconds": constant(15_000)}, {"bx24app_oldest_question_seconds": constant(14_000)}
    ),
    "RenewalsFail": Case(
        {'bx24app_renewals_total{result="failed"}': growing(0.3)},
        {
            'bx24app_renewals_total{result="failed"}': growing(0.05),
            'bx24app_renewals_total{result="refused"}': growing(9),
        },
    ),
    "PortalsLost": Case(
        {'bx24app_portals{state="disconnected"}': f"5+0x{MINUTES - 20} 9+0x20"},
        {'bx24app_portals{state="disconnected"}': f"5+0x{MINUTES - 20} 6+0x20"},
    ),
    "CredentialsDie": Case(
        {'bx24app_credentials{state="dead"}': f"5+0x{MINUTES - 20} 20+0x20"},
        {'bx24app_credentials{state="dead"}': f"5+0x{MINUTES - 20} 12+0x20"},
    ),
    "EventsLate": Case(
        {LATE % "no": growing(3), LATE % "yes": growing(1)}, {LATE % "no": growing(9), LATE % "yes": growing(1)}
    ),
    "WebhooksWait": Case(
        {"bx24app_oldest_webhook_seconds": constant(22_000)}, {"bx24app_oldest_webhook_seconds": constant(21_000)}
    ),
    "JobFails": Case(
        {'bx24app_job_failures_total{job_name="dial",kind="failed"}': growing(1)},
        {'bx24app_job_failures_total{job_name="dial",kind="failed"}': growing(0.1)},
    ),
    "JobNotDone": Case(
        {f'{JOB_DONE}{{job_name="dial"}}': constant((MINUTES - 40) * 60)},
        {f'{JOB_DONE}{{job_name="dial"}}': constant((MINUTES - 20) * 60)},
    ),
    "DatabaseGrows": Case(
        {"bx24app_database_bytes": f"2000000000+1000000x{MINUTES}"},
        {"bx24app_database_bytes": f"2000000000+100000x{MINUTES}"},
    ),
}


@pytest.fixture
def recorded(
    app: Flask, manager: Actor, worker: Worker, portal: FakePortal, token: str, eventually: Eventually
) -> Scrape:
    """What a scrape says of a portal whose calls were answered, refused and lost."""
    accept(app, due_at=utcnow() + timedelta(days=1))
    id = json_of(manager.requests_callback("+4930901821"))["id"]
    eventually(lambda: manager.sees(id)["state"] == "started")
    call = portal.telephony.calls[0]
    call.manager_answers()
    eventually(lambda: manager.sees(id)["state"] == "answered")
    call.customer_answers()
    call.hang_up()
    eventually(lambda: manager.sees(id)["state"] == "completed")
    # What only happens when something is wrong has its first sample here.
    metrics.count_renewal("failed")
    metrics.count_event("ONVOXIMPLANTCALLEND", 100)
    metrics.count_delivery(None, is_taken=False)
    metrics.count_rest_request("batch", "bitrix24_busy")
    for outcome in ("unknown", "refused", "not_executed"):
        metrics.count_attempt(outcome)
    with pytest.raises(RuntimeError), metrics.watch_job("dial", "work", OSError):
        raise RuntimeError
    return scrape(app.test_client().get, token)


def written(sample: Sample, target: str) -> str:
    name, labels = sample
    pairs = ",".join([*(f'{label}="{value}"' for label, value in sorted(labels)), target])
    return f"{name}{{{pairs}}}"


def as_it_was(recorded: Scrape, *rules: dict[str, Any]) -> dict[str, str]:
    """What rules read of the scrapes of two processes, as it was all the time; every job was done a moment ago."""
    read = {name for rule in rules for name in NAME.findall(rule["expr"])}
    return {
        written(sample, target): growing(60) if sample[0] == JOB_DONE else constant(value)
        for sample, value in recorded.samples.items()
        for target in TARGETS
        if sample[0] in read
    }


def with_changes(series: Mapping[str, str], changes: Series) -> dict[str, str]:
    """The same with some series as they are told; "-" names what is not there at all."""
    gone = changes.get("-")
    changed = {name: values for name, values in series.items() if gone is None or not name.startswith(gone)}
    for name, values in changes.items():
        if name != "-":
            bare, _, labels = name.partition("{")
            pairs = re.findall(r'(\w+)="([^"]*)"', labels)
            changed |= {written((bare, frozenset(pairs)), target): values for target in TARGETS}
    return changed


def scenario(name: str, series: Series, expression: str, count: int) -> dict[str, Any]:
    expected = [{"labels": "{}", "value": count}] if count else []
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{MINUTES}m", "exp_samples": expected}],
    }


def scenarios(recorded: Scrape) -> Iterator[dict[str, Any]]:
    for rule in RULES:
        alert, quiet = rule["alert"], as_it_was(recorded, rule)
        firing = f'count(count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}}))'
        yield scenario(f"{alert} fires", with_changes(quiet, CASES[alert].fires), firing, 1)
        yield scenario(f"{alert} rests", with_changes(quiet, CASES[alert].rests), firing, 0)
    yield scenario("nothing changes", as_it_was(recorded, *RULES), "count(ALERTS)", 0)


def test_each_alert_fires_when_it_should_and_not_before(recorded: Scrape, tmp_path: Path) -> None:
    assert set(CASES) == {rule["alert"] for rule in RULES}
    written_tests = {"rule_files": [str(ROOT / "deploy" / "alerts.yaml")], "evaluation_interval": "5m"}
    path = tmp_path / "tests.yaml"
    path.write_text(json.dumps(written_tests | {"tests": list(scenarios(recorded))}))
    run = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def existing(recorded: Scrape) -> set[str]:
    return {name for name in recorded.names if name.startswith("bx24app_")}


def test_whatever_alerts_and_dashboard_and_documents_name_is_told(recorded: Scrape) -> None:
    names = existing(recorded)
    assert {name for rule in RULES for name in NAME.findall(rule["expr"])} <= names
    shown = set(NAME.findall(DASHBOARD.read_text()))
    assert len(shown) > 20
    assert shown <= names
    page = (ROOT / "docs" / "operating.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = set(NAME.findall(page))
    parts = {re.sub("_(bucket|sum|count)$", "", name) for name in names}
    assert documented == parts
    # Prometheus gives these labels to what it scrapes.
    assert not {"job", "instance"} & {label for name in names for label in recorded.labels(name)}


def test_the_dashboard_is_as_it_was_written_and_each_expression_is_one(tmp_path: Path) -> None:
    program = runpy.run_path(str(DASHBOARD.with_name("dashboard.py")))
    assert program["written"]() == DASHBOARD.read_text()
    shown = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    places = [tuple(panel["gridPos"].values()) for panel in shown]
    assert len(set(places)) == len(places) == len({panel["title"] for panel in shown})
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in shown for target in panel["targets"]]
    rules = [{"record": f"shown:{number}", "expr": one} for number, one in enumerate(expressions)]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "shown", "rules": rules}]}))
    checked = subprocess.run([promtool(), "check", "rules", path], capture_output=True, text=True, check=False)
    assert f"SUCCESS: {len(expressions)} rules" in checked.stdout, checked.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do_and_where_to_read_on(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert set(told) == {"summary", "action", "runbook"}
    assert all(told[name].endswith(".") for name in ("summary", "action"))
    page, _, heading = told["runbook"].partition("#")
    assert heading in anchors(ROOT / page)
    assert rule["labels"]["severity"] in {"critical", "warning"}
    section = (ROOT / page).read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert f"`{rule['alert']}`" in section

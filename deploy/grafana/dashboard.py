"""Writes the Grafana dashboard: ``python deploy/grafana/dashboard.py`` after a change here, then commit the JSON."""

import json
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, COLUMNS = 8, 7, 3
RATE = "[$__rate_interval]"
QUANTILE = "histogram_quantile(0.95, sum by (le) (rate({name}_bucket" + RATE + ")))"

# Rows of panels: title, unit, and expressions by their legends.
PANELS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "Calls": [
        (
            "Callbacks accepted",
            "reqps",
            {"{{source}}": f"sum by (source) (rate(bx24app_callbacks_accepted_total{RATE}))"},
        ),
        ("What becomes of dials", "reqps", {"{{outcome}}": f"sum by (outcome) (rate(bx24app_attempts_total{RATE}))"}),
        (
            "From request to dial, and from dial to answer (95 %)",
            "s",
            {
                "dial": QUANTILE.format(name="bx24app_dial_wait_seconds"),
                "answer": QUANTILE.format(name="bx24app_answer_wait_seconds"),
            },
        ),
        (
            "Due",
            "short",
            {"due": "max(bx24app_callbacks_due)", "for more than a minute": "max(bx24app_callbacks_overdue)"},
        ),
        ("Oldest that is due", "s", {"oldest": "max(bx24app_oldest_due_seconds)"}),
        (
            "Waiting for a person",
            "short",
            {"callbacks": "max(bx24app_callbacks_waiting_for_person)"},
        ),
        ("Not ended", "short", {"{{source}} {{state}}": "max by (source, state) (bx24app_callbacks)"}),
        (
            "How callbacks change",
            "reqps",
            {"{{state}}": f"sum by (state) (rate(bx24app_callback_changes_total{RATE}))"},
        ),
        ("Oldest question to a person", "s", {"oldest": "max(bx24app_oldest_question_seconds)"}),
    ],
    "Portals": [
        ("Portals", "short", {"{{state}}": "max by (state) (bx24app_portals)"}),
        ("At their limit", "short", {"told by {{told_by}}": "max by (told_by) (bx24app_portals_at_limit)"}),
        (
            "Requests that failed",
            "reqps",
            {"{{method}} {{code}}": f'sum by (method, code) (rate(bx24app_rest_requests_total{{code!="ok"}}{RATE}))'},
        ),
        ("Renewals", "reqps", {"{{result}}": f"sum by (result) (rate(bx24app_renewals_total{RATE}))"}),
        ("Tokens of people", "short", {"{{state}}": "max by (state) (bx24app_credentials)"}),
        (
            "Events",
            "reqps",
            {"{{event}} late: {{late}}": f"sum by (event, late) (rate(bx24app_events_total{RATE}))"},
        ),
    ],
    "Sites": [
        (
            "Webhooks",
            "reqps",
            {"{{result}}": f"sum by (result) (rate(bx24app_webhook_deliveries_total{RATE}))"},
        ),
        ("Webhooks that wait", "short", {"deliveries": "max(bx24app_webhooks_pending)"}),
        ("Oldest webhook", "s", {"oldest": "max(bx24app_oldest_webhook_seconds)"}),
    ],
    "Processes": [
        (
            "Answers",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(bx24app_http_requests_total{RATE}))"},
        ),
        ("Time to answer (95 %)", "s", {"all routes": QUANTILE.format(name="bx24app_http_request_seconds")}),
        (
            "Answers with 5xx",
            "reqps",
            {"{{route}}": f'sum by (route) (rate(bx24app_http_requests_total{{status="5xx"}}{RATE}))'},
        ),
        (
            "Failures of jobs",
            "reqps",
            {"{{job_name}} {{kind}}": f"sum by (job_name, kind) (rate(bx24app_job_failures_total{RATE}))"},
        ),
        (
            "Since the last success of a job",
            "s",
            {"{{job_name}}": "time() - max by (job_name) (bx24app_job_last_success_timestamp_seconds)"},
        ),
        (
            "Time of jobs (95 %)",
            "s",
            {
                "{{job_name}}": "histogram_quantile(0.95, sum by (job_name, le) "
                f'(rate(bx24app_job_seconds_bucket{{step="work"}}{RATE})))'
            },
        ),
        ("Database answers", "short", {"{{instance}}": "bx24app_database_up"}),
        ("Size of the database", "bytes", {"database": "max(bx24app_database_bytes)"}),
    ],
}


def dashboard() -> dict[str, Any]:
    """Build the dashboard, which asks for its data source when it is imported."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, shown in PANELS.items():
        panels.append({"type": "row", "title": row, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "collapsed": False})
        top += 1
        for number, (title, unit, expressions) in enumerate(shown):
            x, y = number % COLUMNS * WIDTH, top + number // COLUMNS * HEIGHT
            panels.append(_panel(title, unit, expressions) | {"gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT}})
        top += -(-len(shown) // COLUMNS) * HEIGHT
    for id, panel in enumerate(panels, 1):
        panel["id"] = id
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "callback-desk",
        "title": "Callback Desk",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _panel(title: str, unit: str, expressions: dict[str, str]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend, "datasource": source}
        for number, (legend, expression) in enumerate(expressions.items())
    ]
    defaults = {"unit": unit, "min": 0}
    return {
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def written() -> str:
    """Return the JSON as it is kept."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("callback-desk.json").write_text(written(), encoding="utf-8")

"""The instruments, and how events of the app become values of their labels.

A label has few values, and none that others choose: no portal, number, address or word. Every instrument has a label,
because one without would keep its value in memory before ``share_counts`` has said where it belongs. None is called
``job`` or ``instance``: Prometheus gives these to what it scrapes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
OTHER = "other"
# An event of the portal's queue usually comes within seconds.
LATE_SECONDS = 60.0

_accepted = Counter(
    "bx24app_callbacks_accepted", "Callbacks accepted, by who asked for them.", ["source"], registry=REGISTRY
)
_changes = Counter(
    "bx24app_callback_changes",
    "Changes of callbacks to this state; a callback may come to a state several times.",
    ["source", "state"],
    registry=REGISTRY,
)
_attempts = Counter(
    "bx24app_attempts",
    "Attempts that came to this outcome; dialling: they began. What follows the dial counts too, as answered.",
    ["outcome"],
    registry=REGISTRY,
)
_dial_wait = Histogram(
    "bx24app_dial_wait_seconds",
    "From the moment for which a call was asked, to its dial.",
    ["source"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    registry=REGISTRY,
)
_answer_wait = Histogram(
    "bx24app_answer_wait_seconds",
    "From the dial until somebody of the line picked up.",
    ["source"],
    buckets=(2.5, 5, 10, 15, 20, 30, 45, 60, 120),
    registry=REGISTRY,
)
_rest_requests = Counter(
    "bx24app_rest_requests",
    "Requests to portals, by method and by the code of what went wrong (ok: nothing).",
    ["method", "code"],
    registry=REGISTRY,
)
_renewals = Counter(
    "bx24app_renewals",
    "Renewals of tokens: renewed, refused (the tokens are dead), failed (tried again).",
    ["result"],
    registry=REGISTRY,
)
_events = Counter(
    "bx24app_events",
    "Proven events of portals; late: they came more than a minute after they were sent.",
    ["event", "late"],
    registry=REGISTRY,
)
_deliveries = Counter(
    "bx24app_webhook_deliveries",
    "Tries to deliver a webhook, by the class of the site's answer.",
    ["result"],
    registry=REGISTRY,
)
_job_seconds = Histogram(
    "bx24app_job_seconds",
    "How long jobs of the worker took, whatever came of it; lease: looking for work that is leased.",
    ["job_name", "step"],
    buckets=(0.01, 0.1, 1, 10, 60),
    registry=REGISTRY,
)
_job_failures = Counter(
    "bx24app_job_failures",
    "Jobs that failed, or that were postponed because the database was busy.",
    ["job_name", "kind"],
    registry=REGISTRY,
)
_job_success = Gauge(
    "bx24app_job_last_success_timestamp_seconds",
    "When a job was last done, also where there was nothing to do.",
    ["job_name"],
    multiprocess_mode="max",
    registry=REGISTRY,
)
_http_requests = Counter(
    "bx24app_http_requests",
    "Requests that were answered, by the pattern of their address and the class of the answer's status.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
_http_seconds = Histogram(
    "bx24app_http_request_seconds",
    "From the whole request to its answer, without sending it.",
    ["route"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)

HTTP_METHODS = frozenset(HTTPMethod)
EVENTS = frozenset(
    {
        "ONAPPINSTALL",
        "ONAPPUPDATE",
        "ONAPPUNINSTALL",
        "ONVOXIMPLANTCALLINIT",
        "ONVOXIMPLANTCALLSTART",
        "ONVOXIMPLANTCALLEND",
        "ONCRMTIMELINEITEMACTION",
    }
)
# What the app asks portals for, as the REST log calls it.
REST_METHODS = frozenset(
    {
        "app.info",
        "batch",
        "bizproc.activity.log",
        "bizproc.event.send",
        "bizproc.robot.add",
        "calendar.settings.get",
        "crm.activity.configurable.add",
        "crm.activity.configurable.update",
        "crm.activity.delete",
        "crm.activity.layout.blocks.delete",
        "crm.activity.layout.blocks.set",
        "crm.activity.list",
        "crm.activity.todo.add",
        "crm.activity.update",
        "crm.company.get",
        "crm.contact.add",
        "crm.contact.get",
        "crm.deal.add",
        "crm.deal.get",
        "crm.lead.add",
        "crm.lead.get",
        "crm.type.list",
        "im.notify.delete",
        "im.notify.system.add",
        "placement.bind, event.bind",
        "profile",
        "voximplant.callback.start",
        "voximplant.line.get",
        "voximplant.statistic.get",
        "voximplant.tts.voices.get",
    }
)


def count_accepted(source: str) -> None:
    """Count a callback that was accepted; after the commit, as everything here."""
    _accepted.labels(source).inc()


def count_change(source: str, state: str) -> None:
    """Count a callback that has come to another state."""
    _changes.labels(source, state).inc()


def count_attempt(outcome: str) -> None:
    """Count an attempt that has come to an outcome."""
    _attempts.labels(outcome).inc()


def note_dial(source: str, waited_seconds: float) -> None:
    """Note how long after the moment for which it was asked a call is dialled."""
    _dial_wait.labels(source).observe(max(0.0, waited_seconds))


def note_answer(source: str, rang_seconds: float) -> None:
    """Note how long after the dial somebody of the line picked up."""
    _answer_wait.labels(source).observe(max(0.0, rang_seconds))


def count_rest_request(method: str, code: str | None) -> None:
    """Count a request to a portal; ``code``: of the error that it met (``KnownError.code``), None: it was answered."""
    _rest_requests.labels(method if method in REST_METHODS else OTHER, code or "ok").inc()


def count_renewal(result: str) -> None:
    """Count a question to the authorization server for new tokens: ``renewed``, ``refused`` or ``failed``."""
    _renewals.labels(result).inc()


def count_event(name: str, age_seconds: float | None) -> None:
    """Count an event that was proven; ``age_seconds`` None: it does not say when it was sent."""
    late = "not_told" if age_seconds is None else "yes" if age_seconds > LATE_SECONDS else "no"
    _events.labels(name if name in EVENTS else OTHER, late).inc()


def count_delivery(status: int | None, *, is_taken: bool) -> None:
    """Count a try to deliver a webhook; ``status`` None: the site gave no answer, or could not be asked."""
    _deliveries.labels("taken" if is_taken else _status_class(status)).inc()


@contextmanager
def watch_job(name: str, step: str, busy: type[Exception]) -> Iterator[None]:
    """Count one run of a job, and how long it takes; ``busy``: the error that only postpones it."""
    began = time.perf_counter()
    try:
        yield
    except Exception as error:
        _job_failures.labels(name, "postponed" if isinstance(error, busy) else "failed").inc()
        raise
    else:
        _job_success.labels(name).set_to_current_time()
    finally:
        _job_seconds.labels(name, step).observe(time.perf_counter() - began)


def count_http_request(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count a request that was answered; ``route``: the pattern of its address, None: there is no such address."""
    pattern = route or "none"
    _http_requests.labels(method if method in HTTP_METHODS else OTHER, pattern, _status_class(status)).inc()
    _http_seconds.labels(pattern).observe(seconds)


def _status_class(status: int | None) -> str:
    if status is None:
        return "no_answer"
    return f"{status // 100}xx" if 100 <= status < 600 else OTHER  # noqa: PLR2004  RFC 9110, 15.

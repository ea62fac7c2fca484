"""Mistakes of ours, told to the operator's Sentry: where they happened, and none of the values that they happened with.

A report is made of what is known to be harmless, and nothing is taken out of a larger one: the SDK gathers no local
variables, requests, cookies, breadcrumbs or arguments of the process here, for none of its integrations is used.
"""

import atexit
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from bx24app.settings import Settings, SettingsError

LEVELS = frozenset({"error", "exception", "critical"})
# Of the log line; none of them is anybody's word.
TAGS = ("request_id", "portal", "job", "route")
# What the SDK adds and is not wanted, such as the machine's name, is left out here.
SENT = frozenset({"event_id", "timestamp", "level", "message", "tags", "exception", "platform", "release", "sdk"})
QUEUED_REPORTS = 100
# A process that ends gives what is queued so long.
END_SECONDS = 2.0

Report = dict[str, Any]


class Reporter:
    """A step of the log that tells Sentry of errors; it waits for nobody, and what Sentry does not take is lost."""

    def __init__(self, dsn: str) -> None:
        try:
            from sentry_sdk import Client  # noqa: PLC0415  It is installed where it is wanted (the extra ``sentry``).
        except ImportError:
            raise SettingsError(
                "BX24APP_SENTRY_DSN is set, but sentry-sdk is not installed: install requirements.lock, or leave it out"
            ) from None
        self._client = Client(
            dsn,
            default_integrations=False,
            auto_session_tracking=False,
            before_send=_only_sent,
            enable_backpressure_handling=False,
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            shutdown_timeout=END_SECONDS,
            transport_queue_size=QUEUED_REPORTS,
        )
        atexit.register(self._client.close)

    def __call__(self, _: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Report a line of the log if it is an error; the line stays as it is."""
        if method in LEVELS:
            # Whatever is wrong with Sentry, the line is written.
            with suppress(Exception):
                self._client.capture_event(_report_of(line))  # type: ignore[arg-type]
        return line


def reporters(settings: Settings) -> list[Reporter]:
    """Return the step that reports errors, if the operator has a Sentry; raises ``SettingsError`` without the SDK."""
    return [] if settings.sentry_dsn is None else [Reporter(settings.sentry_dsn.get_secret_value())]


def _report_of(line: Mapping[str, Any]) -> Report:
    report: Report = {
        "level": "error",
        "message": str(line["event"]),
        "tags": {name: str(line[name]) for name in TAGS if line.get(name)},
    }
    error = _error_of(line.get("exc_info"))
    if error is not None:
        report["exception"] = {"values": list(_described(error))[::-1]}
    return report


def _error_of(told: object) -> BaseException | None:
    if told is True:
        return sys.exc_info()[1]
    return told if isinstance(told, BaseException) else None


def _described(error: BaseException | None) -> Iterator[Report]:
    """Say of an exception, then of what it followed from, what the log says (``log.describe_exception``)."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        frames = [
            {"filename": frame.filename, "abs_path": frame.filename, "function": frame.name, "lineno": frame.lineno}
            for frame in traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__))
        ]
        told: Report = {"type": kind.__qualname__, "module": kind.__module__, "value": getattr(error, "loggable", "")}
        yield told | ({"stacktrace": {"frames": frames}} if frames else {})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _only_sent(event: Any, _: object) -> Any:
    return {name: value for name, value in event.items() if name in SENT}

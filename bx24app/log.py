"""Structured logs without secrets: numbers can be masked, and libraries that log tokens are kept quiet."""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import ExcInfo

from bx24app import sentry
from bx24app.settings import Settings

# At DEBUG requests-oauthlib and oauthlib log tokens and bodies. urllib3 logs whole URLs, as a warning too when a header
# of an answer is odd; the documented way of the token endpoint has the client secret in its URL.
TALKATIVE = ("requests_oauthlib", "oauthlib", "urllib3")
SECRET_NAMES = re.compile(r"token|secret|auth_id|refresh_id|authorization|password|ticket", re.IGNORECASE)
VISIBLE_DIGITS = 3
NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")
# What others have sent is told up to here; of several things so many.
MAX_TOLD, MAX_TOLD_THINGS = 1000, 20
ISO_DAY = re.compile(r"(\d{4}-\d\d-\d\d)")


def mask_number(text: str) -> str:
    """Mask a telephone number, all but its last three digits."""
    digits = re.sub(r"\D", "", text)
    return f"...{digits[-VISIBLE_DIGITS:]}" if len(digits) > VISIBLE_DIGITS else "..."


def mask_numbers(text: str) -> str:
    """Mask every telephone number inside a text."""
    return NUMBER.sub(lambda match: mask_number(match[0]), text)


def mask_all_but_days(text: str) -> str:
    """Mask every telephone number inside a text in which days such as 2026-12-24 stay readable."""
    return "".join(part if ISO_DAY.fullmatch(part) else mask_numbers(part) for part in ISO_DAY.split(text))


def begin_lines(**names: str) -> None:
    """Add names, as of a request or a job, to every log line of this thread until the next call or ``end_lines``."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**names)


def end_lines() -> None:
    """Remove all names from the log lines of this thread, which will do other work."""
    structlog.contextvars.clear_contextvars()


def name_portal(member_id: str) -> None:
    """Add the portal to the log lines of this thread; only a proven portal, or one read from our own rows."""
    structlog.contextvars.bind_contextvars(portal=member_id)


def _hide_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if SECRET_NAMES.search(name):
            event[name] = "[hidden]"
    return event


def _cut(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Let no line be as long as somebody wishes: a container keeps 50 MB of them."""
    for name, value in event.items():
        # The traceback is read from it later, and the others are the library's own.
        if name != "exc_info" and not name.startswith("_"):
            event[name] = _beginning(value)
    return event


def _beginning(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TOLD:
        return f"{value[:MAX_TOLD]} ... ({len(value)} characters)"
    if isinstance(value, list | tuple):
        more = [f"... ({len(value)} in all)"] if len(value) > MAX_TOLD_THINGS else []
        return [_beginning(one) for one in value[:MAX_TOLD_THINGS]] + more
    if isinstance(value, dict):
        return {str(key)[:MAX_TOLD]: _beginning(one) for key, one in list(value.items())[:MAX_TOLD_THINGS]}
    return value


def _on_one_line(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Let nothing that somebody has sent begin a line, or turn one around, where people read logs as plain text.

    Other texts are quoted by the renderer, which escapes the same characters.
    """
    if "exception" in event:
        # Under this name the renderer would write it on lines of its own.
        event["traceback"] = " | ".join(line.strip() for line in event.pop("exception").splitlines())
    event["event"] = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(event["event"]))
    return event


def describe_exception(exc_info: ExcInfo) -> str:
    """Say where an exception comes from, without its words: they quote what somebody has sent, or a secret.

    Only what an exception names as ``loggable`` is told, which errors of the database do.
    """
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__)).format()
        kind = type(error)
        told = getattr(error, "loggable", "")
        parts.append("".join([*lines, f"{kind.__module__}.{kind.__qualname__}" + (f": {told}" if told else "")]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich followed from:\n\n".join(["Traceback (most recent call last):\n" + part for part in parts])


def init_app(settings: Settings) -> None:
    """Write our own log records and those of the libraries to standard error in one format."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    named: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
        _cut,
    ]
    exceptions = structlog.processors.ExceptionRenderer(describe_exception)
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if settings.log_format == "console":
        colors = sys.stderr.isatty()
        renderers = [_on_one_line, structlog.dev.ConsoleRenderer(colors=colors, repr_native_str=True)]
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("bx24app")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*named, exceptions],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [kept for kept in root.handlers if kept.get_name() != "bx24app"] + [handler]
    root.setLevel(settings.log_level)
    structlog.configure(
        # Libraries may say anything, so only what the app itself logs is reported.
        processors=[
            *named,
            *sentry.reporters(settings),
            exceptions,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    for variable, (written, read) in settings.respelled.items():
        structlog.get_logger(__name__).info("address_respelled", variable=variable, written=written, read=read)

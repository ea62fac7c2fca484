"""``LOG_FORMAT=console``: whatever somebody has sent, one event is one line, and no line is turned around."""

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from bx24app import log
from bx24app.settings import read_settings
from tests.conftest import plain_environ

FORGED = "2026-11-26T10:00:00Z [info] portal_removed portal=other"
LOGGERS = ("bx24app.some", "some.library")
HOSTILE = {
    "line feed": f"a\n{FORGED}",
    "carriage return": f"a\r{FORGED}",
    "next line": f"a\x85{FORGED}",
    "line separator": f"a\u2028{FORGED}",
    "vertical tab": f"a\x0b{FORGED}",
    "escape sequence": "a\x1b[2K\x1b[1A",
    "one byte escape": "a\x9b2K",
    "backspace": "a\x08\x08",
    "bidi override": "a\u202egnp.exe",
    "bidi isolate": "a\u2067b",
    "zero width": "a\u200bb",
    "null": "a\0b",
    "half a character": "a\ud83d",
    "tab": "a\tb",
}


@pytest.fixture
def formatter() -> Iterator[logging.Formatter]:
    """How the operator's log is written, on the console."""
    settings = read_settings(plain_environ() | {"BX24APP_LOG_FORMAT": "console"})
    log.init_app(settings)
    [ours] = [handler for handler in logging.getLogger().handlers if handler.get_name() == "bx24app"]
    assert ours.formatter is not None
    yield ours.formatter
    log.init_app(settings.model_copy(update={"log_format": "json"}))


class Lines(logging.Handler):
    """Keeps what the console would show."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.formatter = formatter
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def written(formatter: logging.Formatter) -> Iterator[list[str]]:
    handler, loggers = Lines(formatter), [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.lines
    for logger in loggers:
        logger.removeHandler(handler)


def _said(text: str) -> None:
    structlog.get_logger("bx24app.some").warning("refused", words=text)


def _in_a_list(text: str) -> None:
    structlog.get_logger("bx24app.some").warning("refused", words=[text], more={text: text})


def _by_a_library(text: str) -> None:
    library = logging.getLogger("some.library")
    record = library.makeRecord(library.name, logging.WARNING, __file__, 1, "Retrying %s", (text,), None)
    # Not to pytest, which keeps half a character as it is, and cannot pass it on to another process.
    next(handler for handler in library.handlers if isinstance(handler, Lines)).handle(record)


def _as_the_event(text: str) -> None:
    structlog.get_logger("bx24app.some").warning(text)


def _around_all(text: str) -> None:
    log.begin_lines(request_id=text)
    structlog.get_logger("bx24app.some").warning("refused")
    log.end_lines()


class Loud(Exception):
    loggable = ""


def _with_an_exception(text: str) -> None:
    error = Loud("x")
    error.loggable = text
    try:
        raise error
    except Loud:
        structlog.get_logger("bx24app.some").exception("failed")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("said", [_said, _in_a_list, _by_a_library, _as_the_event, _around_all, _with_an_exception])
def test_one_event_is_one_line_of_printable_characters(written: list[str], said: object, text: str) -> None:
    assert callable(said)
    said(text)
    [line] = written
    assert line.isprintable(), ascii(line)
    assert "a" in line


def test_people_still_read_their_language_and_where_it_failed(written: list[str]) -> None:
    _said("Привет, Zoë")
    _with_an_exception("no such table")
    assert "Привет, Zoë" in written[0]
    assert all(part in written[1] for part in ("_with_an_exception", "Loud", "no such table"))


@pytest.mark.parametrize("write", [_said, _in_a_list, _by_a_library, _as_the_event, _around_all])
def test_no_line_is_as_long_as_somebody_wishes(written: list[str], write: Callable[[str], None]) -> None:
    write("x" * 100_000)
    assert len(written[0]) < 5_000
    structlog.get_logger("bx24app.some").warning("refused", many=["x"] * 100_000, named={str(n): 1 for n in range(99)})
    assert len(written[1]) < 5_000
    assert "100000 in all" in written[1]

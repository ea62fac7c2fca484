"""What the web process as documented writes of requests that it cannot read, or that fail outside of the app."""

import io
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask
from gunicorn.config import Config

from server_log import MAX_TOLD, QUOTING, ServerLog
from tests.support.processes import free_port, kill, start, wait_until_up

SECRET = b"SECRETLINK2"
UNREADABLE = (
    b"GET /c/%s.abc?\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /w/x?page=https://a/?tel=%s\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%s" + b"\x80" * 7900 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%s" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%s HTTP/7.7\r\nHost: x\r\n\r\n",
    b"g%s / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nodd %s: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Odd: %s\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n",
    b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: %s\r\n\r\n",
    b"%s\r\n\r\n",
)


@pytest.fixture
def web(app: Flask, environ: dict[str, str], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as stream:
        process = start((sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app"), environ, stream)
    try:
        wait_until_up(f"http://127.0.0.1:{port}")
        yield port, log
    finally:
        kill(process)


def test_of_requests_that_cannot_be_read_the_log_says_how_many_and_nothing_that_was_sent(web: tuple[int, Path]) -> None:
    port, log = web
    before, asked = log.stat().st_size, 0
    for sent in UNREADABLE * 10:
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(sent % SECRET)
            answer = connection.recv(100)
            assert answer.split()[1] in (b"400", b"414", b"417", b"431", b"501"), (sent, answer)
            asked += 1
    said = log.read_bytes()[before:]
    assert SECRET not in said
    assert b"127.0.0.1" not in said
    assert b"Traceback" not in said
    # Each process says it at most once a minute.
    assert 1 <= len(said.splitlines()) <= 3, said
    assert len(said) < 500


@pytest.fixture
def written() -> Iterator[tuple[ServerLog, io.StringIO]]:
    """gunicorn's log as it is set up, and what it has written."""
    known = logging.getLogger("gunicorn.error")
    handlers, filters, level, propagate = known.handlers[:], known.filters[:], known.level, known.propagate
    log, text = ServerLog(Config()), io.StringIO()
    for handler in known.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(text)
    yield log, text
    known.handlers[:], known.filters[:] = handlers, filters
    known.setLevel(level)
    known.propagate = propagate


def test_a_request_that_fails_outside_of_the_app_is_told_by_its_place_alone(
    written: tuple[ServerLog, io.StringIO],
) -> None:
    log, text = written
    sent = "SECRET" * 1000
    for words in ("Error handling request %s %s", "Error handling request %s - %s"):
        try:
            int(sent)
        except ValueError:
            log.exception(words, "GET", sent)
    log.error("Error handling request %s", sent)
    log.debug("Ignored premature client disconnection. %s", sent)
    said = text.getvalue()
    assert "SECRET" not in said
    assert "Error handling request\n" in said
    assert "in test_a_request_that_fails" in said
    assert "builtins.ValueError" in said
    assert len(said) < 4 * (MAX_TOLD + 200)


def test_no_message_is_longer_than_so_much_and_what_keeps_the_app_from_starting_is_told_whole(
    written: tuple[ServerLog, io.StringIO],
) -> None:
    log, text = written
    log.info("Booting worker with pid: %s", 7)
    log.warning("odd %s", "x" * 5000)
    try:
        raise ValueError("BX24APP_PUBLIC_URL is missing" + "." * 3000)
    except ValueError:
        log.exception("Exception in worker process")
    said = text.getvalue()
    assert "Booting worker with pid: 7\n" in said
    assert "x" * (MAX_TOLD - 4) in said
    assert "x" * (MAX_TOLD + 1) not in said
    assert "BX24APP_PUBLIC_URL is missing" + "." * 3000 in said


def test_gunicorn_still_says_what_is_left_out_in_these_words() -> None:
    """Their spelling is gunicorn's own, and another version may have another one."""
    import gunicorn.workers.base  # noqa: PLC0415
    import gunicorn.workers.gthread  # noqa: PLC0415

    source = "".join(
        Path(str(module.__file__)).read_text() for module in (gunicorn.workers.base, gunicorn.workers.gthread)
    )
    for words in QUOTING:
        assert f'"{words}' in source, words


def test_setting_the_log_up_again_filters_once(written: tuple[ServerLog, io.StringIO]) -> None:
    log, _ = written
    log.setup(SimpleNamespace(**{name: setting.get() for name, setting in Config().settings.items()}))
    log.setup(log.cfg)
    assert len(log.error_log.filters) == 1

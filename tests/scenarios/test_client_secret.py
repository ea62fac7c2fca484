"""The client secret goes into an address only where the server does not read bodies, and no log ever holds it."""

import contextlib
import gc
import json
import logging
import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from bx24app import log
from bx24app.bitrix24.authorization import AuthorizationServer
from bx24app.outgoing.errors import ExchangeError
from bx24app.settings import read_settings
from tests.conftest import plain_environ


class OddServer:
    """Answers each connection with the next of its answers, byte by byte as they are, and closes it."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                heard = b""
                while b"\r\n\r\n" not in heard:
                    heard += connection.recv(65536)
                self.asked.append(heard.partition(b"\r\n")[0].decode())
                connection.sendall(answer)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # It has answered all it had.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()


@contextlib.contextmanager
def odd_server(*answers: bytes) -> Iterator[OddServer]:
    server = OddServer(list(answers))
    try:
        yield server
    finally:
        server.close()


def error(status: int, code: str, more: str = "") -> bytes:
    body = json.dumps({"error": code, "error_description": "words"}).encode()
    head = f"HTTP/1.1 {status} Some\r\nContent-Type: application/json\r\n{more}Connection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


NOT_READ = error(401, "NO_AUTH_FOUND")


@pytest.fixture(autouse=True)
def insecure(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    yield
    gc.collect()


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "invalid_grant"),
        error(200, "wrong_client"),
        error(403, "NOT_INSTALLED"),
        error(402, "PAYMENT_REQUIRED"),
        error(503, "QUERY_LIMIT_EXCEEDED"),
        error(500, "INTERNAL_SERVER_ERROR"),
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>",
        b"HTTP/1.1 302 Found\r\nLocation: /oauth/token/?client_secret=x\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=lambda answer: answer[9:40].decode() or "nothing",
)
def test_an_answer_that_does_not_say_that_bodies_are_not_read_puts_no_secret_into_an_address(answer: bytes) -> None:
    with odd_server(answer, NOT_READ, NOT_READ) as server:
        with pytest.raises(ExchangeError):
            AuthorizationServer(server.url, "app.1", secrets.token_hex(16)).renew(secrets.token_hex(16))
        assert server.asked == ["POST /oauth/token/ HTTP/1.1"]


# Each makes a library warn, or raise, with the whole address in its words.
ODD_HEADS = {
    "a header without a colon": b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\n{}",
    "an unknown encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "a wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}",
    "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "no status": b"garbage\r\n\r\n",
    "nothing": b"",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?client_secret=x\r\nContent-Length: 0\r\n\r\n",
}


# A library that gives up over a head leaves its socket to the garbage, which is collected here and not in another test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
@pytest.mark.parametrize("head", ODD_HEADS.values(), ids=ODD_HEADS)
def test_whatever_comes_back_the_address_of_the_documented_way_is_not_logged(
    head: bytes, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings(plain_environ() | {"BX24APP_LOG_LEVEL": level})
    client_secret, token = secrets.token_hex(16), secrets.token_hex(16)
    records: list[str] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    handler = Everything()
    log.init_app(settings)
    logging.getLogger().addHandler(handler)
    try:
        with odd_server(NOT_READ, head) as server:
            with pytest.raises(ExchangeError) as caught:
                AuthorizationServer(server.url, "app.1", client_secret).renew(token)
            assert [line.partition("?")[0] for line in server.asked] == [
                "POST /oauth/token/ HTTP/1.1",
                "GET /oauth/token/",
            ]
    finally:
        logging.getLogger().removeHandler(handler)
        log.init_app(read_settings(plain_environ()))
    told = "\n".join([*records, capsys.readouterr().err, str(caught.getrepr(style="native"))])
    assert client_secret not in told
    assert token not in told

"""A real HTTP server in a thread, which remembers what it was asked."""

import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, Request, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

SECRET_FIELDS = frozenset({"auth", "client_secret", "refresh_token", "access_token"})


class _KeepAlive(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: object) -> None:
        logging.getLogger("fake_bitrix24").debug(message, *args)


@dataclass
class RecordedRequest:
    """One request as it arrived; ``connection`` tells kept-alive connections apart."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    parameters: dict[str, object] = field(repr=False)
    user_id: int | None
    connection: tuple[str, int]
    at: float


def parameters_of(incoming: Request) -> dict[str, object]:
    """JSON when it says so, else the form; the query comes before (docs: settings/how-to-call-rest-api)."""
    found: dict[str, object] = dict(incoming.args.items())
    if incoming.mimetype == "application/json":
        body = incoming.get_json(silent=True)
        found.update(body if isinstance(body, dict) else {})
    else:
        found.update(incoming.form.items())
    return found


class Server:
    """Serves a Flask app on one loopback address."""

    def __init__(self, name: str, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.app = Flask(name, root_path=str(Path(__file__).parent), static_folder=None)
        self.host = host
        self.requests: list[RecordedRequest] = []
        self._tls = tls
        self._servers: list[BaseWSGIServer] = []
        self._threads: list[threading.Thread] = []
        self._listen(port)

    def _listen(self, port: int) -> None:
        server = make_server(
            self.host, port, self.app, threaded=True, request_handler=_KeepAlive, ssl_context=self._tls
        )
        name = f"{self.app.name}-{len(self._servers)}"
        self._servers.append(server)
        self._threads.append(threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name=name))

    @property
    def port(self) -> int:
        """The port it listens on, the newest after a move."""
        return self._servers[-1].server_port

    @property
    def scheme(self) -> str:
        """``https`` when it speaks TLS."""
        return "https" if self._tls else "http"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.host}:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._threads[-1].start()

    def move(self) -> None:
        """Listen on another port too, which is its address from now on; the old one answers as well."""
        self._listen(0)
        self.start()

    def stop(self) -> None:
        """Stop answering, if it ever began, and close the sockets."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
            server.server_close()
            if thread.ident is not None:
                thread.join(timeout=5)

    def record(self, path: str, user_id: int | None = None) -> RecordedRequest:
        """Remember the request being answered."""
        peer = (request.environ["REMOTE_ADDR"], int(request.environ["REMOTE_PORT"]))
        recorded = RecordedRequest(
            verb=request.method,
            path=path,
            query=request.query_string.decode(),
            headers=dict(request.headers.items()),
            parameters=parameters_of(request),
            user_id=user_id,
            connection=peer,
            at=time.monotonic(),
        )
        self.requests.append(recorded)
        return recorded

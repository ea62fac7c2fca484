"""The app on a real HTTP server in a thread."""

import socket
import threading

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        pass


class Serving:
    """A server whose address exists before the app, whose PUBLIC_URL names it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = socket.create_server((host, port))
        self._host = host
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self._server: BaseWSGIServer | None = None

    def serve(self, app: Flask) -> None:
        """Begin to answer."""
        self._server = make_server(self._host, 0, app, threaded=True, request_handler=_Quiet, fd=self._socket.fileno())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name="app").start()

    def stop(self) -> None:
        """Stop answering."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self._socket.close()

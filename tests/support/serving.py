"""The app on a real HTTP server in a thread, with templates that hundreds of apps in one process share."""

import socket
import threading
from types import CodeType

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

COMPILED: dict[str, tuple[str, CodeType]] = {}


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


class _Memory(BytecodeCache):
    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = COMPILED.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        COMPILED[bucket.key] = (bucket.checksum, bucket.code)


def compiled_once(app: Flask) -> Flask:
    """Let an app take the templates that another one has compiled, and not compile its own; returns the app."""
    app.jinja_env.bytecode_cache = _Memory()
    return app

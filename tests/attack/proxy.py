"""The reverse proxy that stands in front (docs/operating.md): everybody of a test comes in through it."""

import http.client
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TIMEOUT_SECONDS = 40
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Proxy(Flask):
    """Hands every request to a process over HTTP and adds whose address it came from, as nginx does.

    Its test client is what actors and visitors of all other tests have too.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        super().__init__("proxy", static_folder=None)
        self._port, self._host, self._tls = port, host, tls

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Ask, and give back what was answered."""
        connection = self._connection()
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(length) if length else None
            path, query = environ["REQUEST_URI"].partition("?")[0], environ["QUERY_STRING"]
            target = f"{path}?{query}" if query else path
            headers = _headers(environ)
            if self._tls:
                # Over TLS it stands for the browser, which asks a site by its name.
                headers["HOST"] = f"{self._host}:{self._port}"
            connection.request(environ["REQUEST_METHOD"], target, body, headers)
            # An answer that ends in the middle would keep its socket open until garbage is collected.
            with connection.getresponse() as answer:
                content = answer.read()
        finally:
            connection.close()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        start_response(f"{answer.status} {answer.reason or 'none'}", kept)
        return [content]

    def _connection(self) -> http.client.HTTPConnection:
        """Each request has its own; with ``tls`` the certificate is checked."""
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)


def _headers(environ: "WSGIEnvironment") -> dict[str, str]:
    sent = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        sent["CONTENT-TYPE"] = environ["CONTENT_TYPE"]
    told = sent.get("X-FORWARDED-FOR")
    sent["X-FORWARDED-FOR"] = ", ".join(filter(None, (told, cast("str", environ["REMOTE_ADDR"]))))
    return sent

"""Whose request it is: the address that limits count, as an address and nothing else."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def plain_address(text: str) -> str:
    """An address without port, brackets and zone, in its one spelling; empty for what is none.

    Some proxies (Azure's, IIS) write the port into ``X-Forwarded-For``, and each connection has another one.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return ""


class PlainAddress:
    """Lets the app see plain addresses only; what is no address is the same nobody for every limit."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        environ["REMOTE_ADDR"] = plain_address(str(environ.get("REMOTE_ADDR") or ""))
        return self._app(environ, start_response)

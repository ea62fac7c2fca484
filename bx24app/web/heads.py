"""What is read of a request's head: the address that limits count, and no list longer than people's browsers send."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Browsers send some 150 characters. Of the 8 KB that servers let through each name is compared with each of ours, which
# holds up a whole process for 40 ms, before it is known who asks.
# None of these decides what is done (If-Match does).
LONGEST_LIST = 300
LISTS = (
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_IF_NONE_MATCH",
    "HTTP_RANGE",
    "CONTENT_TYPE",
)


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


def first_of_list(text: str) -> str:
    """As many whole entries of a list with commas, the first ones, as ``LONGEST_LIST`` characters hold."""
    return text if len(text) <= LONGEST_LIST else text[: LONGEST_LIST + 1].rpartition(",")[0]


class PlainHead:
    """Lets the app see plain addresses, where what is none is the same nobody for every limit, and short lists."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        environ["REMOTE_ADDR"] = plain_address(str(environ.get("REMOTE_ADDR") or ""))
        for name in LISTS:
            if name in environ:
                environ[name] = first_of_list(environ[name])
        return self._app(environ, start_response)

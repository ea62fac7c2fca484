"""What is read of a request's head: the address that limits count, a host that is one, a query, and short lists."""

import re
from collections.abc import Iterable
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.wrappers import Response

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
LONGEST_HOST = 262
# Of a query: our longest address has a dozen.
MOST_PARAMETERS = 100
# A name, which browsers write in ASCII, or an address; monitors may ask under any of them.
HOST = re.compile(
    r"([a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|\[[0-9a-f:.]{2,45}\])(:[0-9]{0,5})?", re.IGNORECASE | re.ASCII
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


def is_host(text: str) -> bool:
    """Tell whether this may stand in ``Host``: a name or an address, with a port or without, or nothing."""
    return not text or (len(text) <= LONGEST_HOST and HOST.fullmatch(text) is not None)


class PlainRequest(Request):
    """A request whose query may hold any bytes: what is no UTF-8 is replaced, as in the path."""

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The parameters of the query; the library's own fails at bytes, and quotes escaped ones one by one, slowly."""
        query = self.query_string.decode("utf-8", "replace")
        return ImmutableMultiDict(parse_qsl(query, keep_blank_values=True, errors="replace"))


class PlainHead:
    """Lets the app see plain addresses, where what is none is the same nobody for every limit, and short lists.

    A host that is none is answered here: Flask knows no routes for it, and an error's page could not be made. So is a
    query that would take long to read, which pages of errors do too.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        if not is_host(str(environ.get("HTTP_HOST") or "")):
            return Response("The Host header has no name of a machine.\n", 400)(environ, start_response)
        if str(environ.get("QUERY_STRING") or "").count("&") >= MOST_PARAMETERS:
            told = f"The address has more than {MOST_PARAMETERS} parameters.\n"
            return Response(told, 400)(environ, start_response)
        environ["REMOTE_ADDR"] = plain_address(str(environ.get("REMOTE_ADDR") or ""))
        for name in LISTS:
            if name in environ:
                environ[name] = first_of_list(environ[name])
        return self._app(environ, start_response)

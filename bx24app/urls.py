"""One way to write an address of the web, as browsers write it, however people have typed it.

Small letters, names in punycode (IDNA 2008 as browsers use it, UTS 46), no default port, no dot at the end.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urlsplit

import idna

DEFAULT_PORTS = {"http": 80, "https": 443}
# Copied texts begin and end with these: white space, and marks without a picture.
_AROUND = "\ufeff\u200b\u200e\u200f\u2060\u202a\u202c \t\r\n\xa0"
_HOST = re.compile(r"(?!.*\.\.)[a-z0-9_-](?:[a-z0-9._-]{0,251}[a-z0-9_-])?")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
# Characters of a path or query that stay as they are, those of percent-encoding among them.
_UNESCAPED = "!#$%&'()*+,/:;=?@[]~"


@lru_cache(maxsize=256)
def normal_origin(text: str) -> str:
    """Write scheme, host and port of an address, which has nothing else; raises ``ValueError``."""
    parts = _split(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("an address without a path")
    return _origin(parts)


def normal_url(text: str) -> str:
    """Write an address with its path and query, without a fragment; raises ``ValueError``."""
    parts = _split(text)
    query = f"?{quote(parts.query, safe=_UNESCAPED)}" if parts.query else ""
    return f"{_origin(parts)}{quote(parts.path, safe=_UNESCAPED)}{query}"


def origin_of(text: str) -> str:
    """Return the origin of a page, of which people often give the whole address; raises ``ValueError``."""
    return _origin(_split(text))


def normal_host(host: str) -> str:
    """Write a host: a name in punycode, or an IP address; raises ``ValueError``."""
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host)}]"
    name = unquote(host).lower()
    name = (name if name.isascii() else _in_punycode(name)).removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError("a host such as example.com")
    return name


def _split(text: str) -> SplitResult:
    text = text.strip(_AROUND)
    if _CONTROL_CHARACTER.search(text):
        raise ValueError("an address on one line")
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an address such as https://example.com")
    return parts


def _origin(parts: SplitResult) -> str:
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{normal_host(parts.hostname or '')}{port}"


def _in_punycode(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.InvalidCodepoint:
        # Browsers know names that the standard leaves out, such as those of emoji.
        labels = idna.uts46_remap(name, std3_rules=False).split(".")
        return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)

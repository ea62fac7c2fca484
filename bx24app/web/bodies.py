"""The body of a request as a JSON value or as the fields of a form, in whatever charset it came."""

import json
import re
import sys
from binascii import a2b_qp
from collections.abc import Iterable
from io import BytesIO

from flask import request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from bx24app.errors import Malformed
from bx24app.web.charsets import charset_of, known_charset

MAX_FIELDS = 1000
# Of JSON, commas and brackets: what validates it takes 15 us for a field, and up to 60 for one that nobody knows.
MAX_BODY_SIGNS = 5000
_BYTES = "latin-1"
# Browsers write so what the charset of the page does not have.
_REFERENCE = re.compile(r"&#(\d{2,7});")
# Each costs the interpreter as much as a hundred letters.
MAX_BAD_ESCAPES = 5000
# Of a multipart body, and of the heads of its parts together: the library takes 20 us for a part, and up to 0.7 ms for
# 1 KB of a head.
MAX_BODY_PARTS, PART_HEADS_BYTES = 100, 16 * 1024
_BAD_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class UnreadableBody(Exception):
    """A body that is no request; ``fields`` are the wrong ones, none: nothing could be read, and ``why`` says why."""

    def __init__(self, *fields: str, why: str = "not JSON") -> None:
        super().__init__("unreadable")
        self.fields, self.why = fields, why


def read_json(language: str = "") -> object:
    """Read the body as JSON; raises ``UnreadableBody``. ``language`` is that of the portal."""
    return _json(request.get_data(), language)


def read_fields(language: str = "") -> dict[str, object]:
    """Read the fields of a JSON object or of a form; raises ``UnreadableBody``.

    A body that begins with a brace is JSON, whatever its content type says: scripts send it as plain text, curl as a
    form. Of a field that is sent twice the last value counts that is not empty, as of a checkbox behind a hidden field.
    """
    data = request.get_data()
    if request.is_json or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        sent = _json(data, language)
        if not isinstance(sent, dict):
            raise UnreadableBody
        return sent
    pairs = list(_pairs(data))
    named = request.mimetype_params.get("charset")
    if not known_charset(named):
        named = next((value.decode(_BYTES) for name, value in pairs if name == b"_charset_"), None)
    found = charset_of(b"\n".join(part for pair in pairs for part in pair), named, language)
    fields: dict[str, object] = {}
    for name, value in pairs:
        text = _REFERENCE.sub(_character, value.decode(found, "ignore"))
        fields[name.decode(found, "ignore")] = text or fields.get(name.decode(found, "ignore"), "")
    return fields


def read_posted() -> dict[str, str]:
    """Read the fields that a portal posts, in UTF-8, the first of each name; raises ``Malformed``.

    Flask's own reading of 256 KB takes a quarter of a second of the interpreter, before anything is proven.
    """
    try:
        pairs = _pairs(request.get_data())
    except UnreadableBody:
        raise Malformed("fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return fields


def _json(data: bytes, language: str) -> object:
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_BODY_SIGNS:
        raise UnreadableBody(why=f"more than {MAX_BODY_SIGNS} values")
    # Two of three bytes that are null, or half of them, are a sign too (RFC 4627).
    found: str = json.detect_encoding(data)
    if found.startswith("utf-8"):
        found = charset_of(data, request.mimetype_params.get("charset"), language)
    try:
        return _without_surrogates(json.loads(data.decode(found, "ignore"), strict=False))
    except (ValueError, RecursionError):
        raise UnreadableBody from None


def _without_surrogates(value: object) -> object:
    """Leave out the halves of characters that a script has cut in two."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("", value)
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {_LONE_SURROGATE.sub("", name): _without_surrogates(one) for name, one in value.items()}
    return value


def _character(match: re.Match[str]) -> str:
    code = int(match[1])
    return _LONE_SURROGATE.sub("", chr(code)) if code <= sys.maxunicode else ""


def _pairs(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    """The fields of a form as bytes: their charset is found afterwards."""
    if request.mimetype == "multipart/form-data":
        return _parts(data, request.mimetype_params.get("boundary", ""))
    if data.count(b"&") >= MAX_FIELDS:
        raise UnreadableBody
    plain, bad = _BAD_ESCAPE.subn(b"%25", data.removeprefix(b"\xef\xbb\xbf"), MAX_BAD_ESCAPES + 1)
    if bad > MAX_BAD_ESCAPES:
        raise UnreadableBody
    pairs = (pair.partition(b"=") for pair in plain.split(b"&") if pair)
    return [(_unescaped(name), _unescaped(value)) for name, _, value in pairs]


def _unescaped(text: bytes) -> bytes:
    """What a form's escapes stand for, none of which is bad.

    Those of mail are alike but for their sign, and Python reads them thirty times as fast as an address's.
    """
    return a2b_qp(text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


def _parts(data: bytes, boundary: str) -> list[tuple[bytes, bytes]]:
    """The fields of a multipart body, likewise."""
    try:
        delimiter = b"--" + boundary.encode("ascii")
        before, *parts = data.split(delimiter, MAX_BODY_PARTS + 1)
        ends = [_BLANK_LINE.search(part, 0, PART_HEADS_BYTES) for part in parts if not part.startswith(b"--")]
        heads = [PART_HEADS_BYTES if end is None else end.start() for end in ends]
        if len(before) > len(b"\r\n") or len(heads) > MAX_BODY_PARTS or sum(heads) >= PART_HEADS_BYTES:
            raise UnreadableBody
        parser = _BytesParser(max_form_memory_size=len(data))
        pairs = parser.parse(BytesIO(data), delimiter[2:], len(data))[0].items(multi=True)
        # A part may have no name; names are read as browsers write them, values in whatever charset follows.
        return [(name.encode(), value.encode(_BYTES)) for name, value in pairs if name is not None]
    except (ValueError, RequestEntityTooLarge):
        raise UnreadableBody from None


class _BytesParser(MultiPartParser):
    """Give the values of fields as they came, a character for each byte."""

    def get_part_charset(self, headers: Headers) -> str:  # noqa: ARG002
        """Whatever a part says: browsers never say it."""
        return _BYTES

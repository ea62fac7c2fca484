"""Read the answer of a Bitrix24 server: a result, or a typed error."""

import json
import re
import zlib
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit

import requests

from bx24app.bitrix24.errors import Moved, error_for
from bx24app.outgoing.adapter import exchanging
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.outgoing.retry_after import asked_wait

Json = Any
MAX_ANSWER_BYTES = 8 * 1024 * 1024
# Of the signs that stand between values; a batch of 50 lists of 50 rows has half as many. Each value takes far more
# memory than its sign, and Python does nothing else while it reads them.
MAX_ANSWER_SIGNS = 300_000
CHUNK_BYTES = 64 * 1024
# JSON escapes can put NUL and lone surrogates into a text, and no database stores them.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNSTORABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# One sign beyond U+FFFF makes Python keep four bytes for each of the others: few that are this large are read at once.
LARGE_BYTES = 1024 * 1024
_large_answers = BoundedSemaphore(2)
GZIP = b"\x1f\x8b"
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def _read_body(response: requests.Response, most: int) -> bytes:
    body = bytearray()  # Bytes would be copied for each chunk.
    with closing(response), exchanging():
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > most:
                raise UnreadableAnswer
    return _plain(bytes(body), most)


def _plain(body: bytes, most: int) -> bytes:
    """A body as it was before a server compressed it, which some do though nobody asked; at once, and within bounds."""
    if not body.startswith(GZIP):
        return body
    try:
        plain = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, most + 1)
    except zlib.error:
        raise UnreadableAnswer from None
    if len(plain) > most:
        raise UnreadableAnswer
    return plain


def _host_of(location: str) -> str:
    """Where a redirect leads to; empty when that cannot be read."""
    try:
        return urlsplit(location).netloc
    except ValueError:
        return ""


def _storable(value: Json) -> Json:
    if isinstance(value, str):
        return UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _parsed(body: bytes) -> dict[str, Json]:
    """Read a body as a JSON object; raises ``UnreadableAnswer``."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_ANSWER_SIGNS:
        raise UnreadableAnswer
    try:
        answer = json.loads(body.decode("utf-8-sig"))
        if UNSTORABLE_ESCAPE.search(body):
            answer = _storable(answer)
    except (ValueError, RecursionError):
        raise UnreadableAnswer from None
    if not isinstance(answer, dict):
        raise UnreadableAnswer
    return answer


def read_answer(response: requests.Response, most: int = MAX_ANSWER_BYTES) -> dict[str, Json]:
    """Read the JSON object of an answer of ``most`` bytes.

    Raises ``Moved``, a ``Bitrix24Error`` by its code (also with status 200), or a ``NoUsableAnswer``.
    """
    if response.status_code in REDIRECTS:
        response.close()  # Its body is not read, which alone would give the connection back.
        raise Moved(_host_of(response.headers.get("Location", "")))
    body = _read_body(response, most)
    with _large_answers if len(body) > LARGE_BYTES else nullcontext():
        answer = _parsed(body)
    # Some methods answer with an empty error code, so the presence of the key decides, not its value.
    if "error" in answer:
        words = str(answer.get("error_description") or "")
        error = error_for(str(answer["error"] or ""), words, response.status_code)
        error.asked_wait = asked_wait(response, datetime.now(UTC))
        raise error
    if response.status_code != requests.codes.ok:
        raise UnreadableAnswer
    return answer


def as_object(value: Json) -> dict[str, Json]:
    """Read a JSON object; PHP writes an empty one as ``[]``. Raises ``UnreadableAnswer`` for anything else."""
    if isinstance(value, dict):
        return value
    if value == []:
        return {}
    raise UnreadableAnswer

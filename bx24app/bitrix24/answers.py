"""Read the answer of a Bitrix24 server: a result, or a typed error."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from bx24app.bitrix24.errors import Moved, error_for
from bx24app.outgoing.adapter import failure_of
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.outgoing.retry_after import asked_wait

Json = Any
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
# JSON escapes can put NUL and lone surrogates into a text, and no database stores them.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def _read_body(response: requests.Response) -> bytes:
    body = b""
    try:
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise UnreadableAnswer
    except requests.RequestException as error:
        raise failure_of(error) from None
    finally:
        response.close()
    return body


def _storable(value: Json) -> Json:
    if isinstance(value, str):
        return UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def read_answer(response: requests.Response) -> dict[str, Json]:
    """Read the JSON object of an answer.

    Raises ``Moved``, a ``Bitrix24Error`` by its code (also with status 200), or a ``NoUsableAnswer``.
    """
    if response.status_code in REDIRECTS:
        response.close()  # Its body is not read, which alone would give the connection back.
        raise Moved(urlsplit(response.headers.get("Location", "")).netloc)
    try:
        answer = _storable(json.loads(_read_body(response)))
    except (ValueError, RecursionError):
        raise UnreadableAnswer from None
    if not isinstance(answer, dict):
        raise UnreadableAnswer
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

"""The header ``Idempotency-Key``: 1 to 255 printable ASCII characters, with or without quotes."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

# A string of RFC 8941 (3.3.3): in quotes, with a backslash before a quote or a backslash.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_KEY = re.compile(r"[ -~]{1,255}")
_LONGEST = 512


def _key(sent: str) -> str:
    text = sent.strip(" \t")
    if quoted := _STRING.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    if not _KEY.fullmatch(text) or not text.strip():
        raise ValueError("1 to 255 printable ASCII characters")
    return text


IdempotencyKey = Annotated[
    str,
    Field(
        pattern=r"^[ -~]*[!-~][ -~]*$",
        max_length=_LONGEST,
        description="1 to 255 printable ASCII characters; a string in quotes (RFC 8941) is the same as without them.",
    ),
    AfterValidator(_key),
]

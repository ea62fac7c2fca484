"""Frame posts, with which a portal opens our pages, as typed values. Nothing in them is proven.

``services/portals/launch.py`` proves them.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bx24app.errors import Malformed

MAX_OPTIONS = 64
# Bytes that could not be decoded arrive as U+FFFD, and PostgreSQL does not store NUL.
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


MemberId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]


UserId = Annotated[int, Field(ge=0, lt=2**31)]


# We send tokens in headers, which must be ASCII.
Token = Annotated[str, Field(max_length=512, pattern=r"^[A-Za-z0-9_.~+/=-]*$", repr=False)]


def _options(value: object) -> dict[str, str]:
    """Read PLACEMENT_OPTIONS, a JSON object in a string, as far as it is one: a page opens without options too."""
    try:
        parsed = json.loads(str(value))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(parsed, dict) or len(parsed) > MAX_OPTIONS:
        return {}
    items = ((key, str(item)) for key, item in parsed.items() if isinstance(item, str | int))
    return {key: item for key, item in items if not UNREADABLE.search(key + item)}


class FramePost(BaseModel):
    """The post with which a portal opens a page of the app (docs: api-reference/widgets/index.md)."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    # Query string
    DOMAIN: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\w.:\[\]-]+$")]
    PROTOCOL: Literal["0", "1"] = "1"
    LANG: Annotated[str, Field(max_length=16)] = "en"
    APP_SID: Annotated[str, Field(max_length=64)] = ""
    # Body
    AUTH_ID: Token = ""
    AUTH_EXPIRES: Annotated[int, Field(ge=0, le=86400)] = 3600
    REFRESH_ID: Token = ""
    APPLICATION_TOKEN: Token = ""
    member_id: MemberId
    PLACEMENT: Annotated[str, Field(max_length=128, pattern=r"^[A-Z0-9_]+$")] = "DEFAULT"
    PLACEMENT_OPTIONS: Annotated[dict[str, str], BeforeValidator(_options)] = {}


_IN_QUERY = frozenset({"DOMAIN", "PROTOCOL", "LANG", "APP_SID"})


def read_frame_post(query: Mapping[str, str], form: Mapping[str, str]) -> FramePost:
    """Read a frame post; each field is taken from its own source only, query or body. Raises ``Malformed``."""
    fields = {name: query[name] for name in _IN_QUERY & query.keys()}
    fields |= {name: form[name] for name in FramePost.model_fields.keys() - _IN_QUERY if name in form}
    if any(UNREADABLE.search(value) for name, value in fields.items() if name != "PLACEMENT_OPTIONS"):
        raise Malformed("undecodable or control characters")
    try:
        return FramePost.model_validate(fields)
    except ValidationError as error:
        names = sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]})
        raise Malformed(f"frame post: {', '.join(names)}") from None

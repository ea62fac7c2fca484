"""What Bitrix24 posts to us: frame posts and events, as typed values. Nothing in them is proven."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bx24app.errors import Malformed

log = structlog.get_logger(__name__)
MAX_OPTIONS = 64
MAX_EVENT_KEYS = 200
# Undecodable bytes arrive as U+FFFD; PostgreSQL stores no NUL.
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
KEY = re.compile(r"^(?P<head>[A-Za-z_]\w{0,63})(?P<rest>(?:\[\w{1,64}\]){0,3})$")

MemberId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
UserId = Annotated[int, Field(ge=0, lt=2**31)]
# In a header it must be ASCII.
Token = Annotated[str, Field(max_length=512, pattern=r"^[A-Za-z0-9_.~+/=-]*$", repr=False)]


def _options(value: object) -> dict[str, str]:
    """Read PLACEMENT_OPTIONS: a JSON string that may be absent, empty, ``""`` or ``[]``."""
    if value in (None, ""):
        return {}
    try:
        parsed = json.loads(str(value))
    except (ValueError, RecursionError):
        raise ValueError("PLACEMENT_OPTIONS is not JSON") from None
    if parsed in ("", []):
        return {}
    if not isinstance(parsed, dict) or len(parsed) > MAX_OPTIONS:
        raise ValueError("PLACEMENT_OPTIONS is not an object")
    return {str(key): str(item) for key, item in parsed.items() if isinstance(item, str | int)}


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


def _check_readable(values: Iterable[str]) -> None:
    if any(UNREADABLE.search(value) for value in values):
        raise Malformed("undecodable or control characters")


_IN_QUERY = frozenset({"DOMAIN", "PROTOCOL", "LANG", "APP_SID"})


def read_frame_post(query: Mapping[str, str], form: Mapping[str, str]) -> FramePost:
    """Read a frame post; the two sources are never mixed. Raises ``Malformed``."""
    fields = {name: query[name] for name in _IN_QUERY & query.keys()}
    fields |= {name: form[name] for name in FramePost.model_fields.keys() - _IN_QUERY if name in form}
    _check_readable(fields.values())
    try:
        return FramePost.model_validate(fields)
    except ValidationError as error:
        names = sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]})
        raise Malformed(f"frame post: {', '.join(names)}") from None


@dataclass(frozen=True)
class Event:
    """An event of the queue with its proof; ``fields`` are those of ``data``."""

    name: str
    member_id: str
    application_token: str = field(repr=False)
    access_token: str = field(repr=False)
    ts: int
    fields: dict[str, str] = field(repr=False)


class CallEvent(BaseModel):
    """The ``data`` of the three telephony events (docs: api-reference/telephony/voximplant/events)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    CALL_ID: Annotated[str, Field(min_length=1, max_length=255)]
    CALL_TYPE: int | None = None
    ACCOUNT_SEARCH_ID: Annotated[str, Field(max_length=255)] = ""
    PORTAL_NUMBER: Annotated[str, Field(max_length=255)] = ""
    PHONE_NUMBER: Annotated[str, Field(max_length=64, repr=False)] = ""
    USER_ID: UserId | None = None
    PORTAL_USER_ID: UserId | None = None
    CALL_DURATION: Annotated[int, Field(ge=0, le=10**7)] | None = None
    CALL_START_DATE: datetime | None = None
    COST: Annotated[Decimal, Field(ge=0, le=10**7)] | None = None
    COST_CURRENCY: Annotated[str, Field(max_length=16)] = ""
    CALL_FAILED_CODE: Annotated[str, Field(max_length=32)] = ""
    CALL_FAILED_REASON: Annotated[str, Field(max_length=255)] = ""

    @property
    def line_id(self) -> str:
        """The line, under whichever name this event gives it."""
        return self.ACCOUNT_SEARCH_ID or self.PORTAL_NUMBER


# Without these nobody could tell which call an event speaks of, or how it ended.
_NEEDED = frozenset({"CALL_ID", "CALL_TYPE", "CALL_FAILED_CODE"})


def read_call_event(fields: Mapping[str, str]) -> CallEvent:
    """Read the data of a telephony event; PHP's empty strings mean absent.

    No event is sent twice: what cannot be read of cost, duration, time or persons is left out. Raises ``Malformed``
    for the call itself, its type and its code.
    """
    given = {key: value for key, value in fields.items() if value != ""}
    try:
        return CallEvent.model_validate(given)
    except ValidationError as error:
        wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
    if wrong & _NEEDED:
        raise Malformed(f"event data: {', '.join(sorted(wrong))}")
    log.warning("event_fields_unreadable", fields=sorted(wrong))
    return CallEvent.model_validate({key: value for key, value in given.items() if key not in wrong})


def _unnest(items: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Undo PHP's nesting: ``data[CALL_ID]=x`` becomes ``{"data": {"CALL_ID": "x"}}``; deeper keys get dots."""
    tree: dict[str, dict[str, str]] = {}
    for count, (key, value) in enumerate(items):
        match = KEY.match(key)
        if count >= MAX_EVENT_KEYS or match is None:
            raise Malformed("event keys")
        path = re.findall(r"\[(\w+)\]", match["rest"])
        tree.setdefault(match["head"], {})[".".join(path)] = value
    return tree


def read_event(items: Iterable[tuple[str, str]]) -> Event:
    """Read an event from its form fields, in whatever order. Raises ``Malformed``."""
    tree = _unnest(items)
    _check_readable(value for branch in tree.values() for value in branch.values())
    auth, name = tree.get("auth", {}), tree.get("event", {}).get("", "")
    member_id = auth.get("member_id", "")
    ts = tree.get("ts", {}).get("", "0")
    if not re.fullmatch(r"[A-Za-z]{1,64}", name) or not re.fullmatch(r"[0-9a-fA-F]{32}", member_id):
        raise Malformed("event name or member_id")
    if not re.fullmatch(r"[0-9]{1,12}", ts):
        raise Malformed("event ts")
    return Event(
        name=name.upper(),
        member_id=member_id,
        application_token=auth.get("application_token", ""),
        access_token=auth.get("access_token", ""),
        ts=int(ts),
        fields=tree.get("data", {}),
    )

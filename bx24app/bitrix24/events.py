"""Events that a portal sends, as typed values. Nothing in them is proven yet."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bx24app.bitrix24.frame_post import UNREADABLE, UserId
from bx24app.errors import Malformed

log = structlog.get_logger(__name__)


EVENT_HEADS = ("event", "data", "auth", "ts")
FIELD_KEY = re.compile(r"(?P<head>[a-z_]{1,32})(?P<path>(?:\[\w{1,64}\]){0,8})")


@dataclass(frozen=True)
class Event:
    """An event with the tokens that may prove it; ``fields`` are the fields of ``data``."""

    name: str
    member_id: str
    application_token: str = field(repr=False)
    access_token: str = field(repr=False)
    ts: int
    fields: dict[str, str] = field(repr=False)


class CallEvent(BaseModel):
    """What is read of the ``data`` of telephony events (docs: api-reference/telephony/voximplant/events).

    How long a call took, what it cost and why it failed is read from the call history alone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    CALL_ID: Annotated[str, Field(min_length=1, max_length=255)]
    CALL_TYPE: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    PHONE_NUMBER: Annotated[str, Field(max_length=64, repr=False)] = ""
    USER_ID: UserId | None = None
    CALL_FAILED_CODE: Annotated[str, Field(max_length=32)] = ""


# Without these fields an event does not say which call it is about, or how the call ended.
_NEEDED = frozenset({"CALL_ID", "CALL_TYPE", "CALL_FAILED_CODE"})


def read_call_event(fields: Mapping[str, str]) -> CallEvent:
    """Read the data of a telephony event; PHP sends an absent value as an empty string.

    The portal sends no event twice, so an unreadable number or person is left out and the rest is kept.
    Raises ``Malformed`` when the call's id, type or code cannot be read.
    """
    present = {key: value for key, value in fields.items() if value != ""}
    try:
        return CallEvent.model_validate(present)
    except ValidationError as error:
        wrong = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
    if wrong & _NEEDED:
        raise Malformed(f"event data: {', '.join(sorted(wrong))}")
    log.warning("event_fields_unreadable", fields=sorted(wrong))
    return CallEvent.model_validate({key: value for key, value in present.items() if key not in wrong})


def read_fields(items: Iterable[tuple[str, str]], heads: Collection[str]) -> dict[str, dict[str, str]]:
    """Undo PHP's nesting: ``data[CALL_ID]=x`` becomes ``{"data": {"CALL_ID": "x"}}``; dots join deeper keys.

    Nothing is sent twice, so what has another shape or head, or cannot be read, is left out, and the rest is kept.
    """
    tree: dict[str, dict[str, str]] = {head: {} for head in heads}
    for key, value in items:
        match = FIELD_KEY.fullmatch(key)
        if match is not None and match["head"] in tree and not UNREADABLE.search(value):
            tree[match["head"]][match["path"].replace("][", ".").strip("[]")] = value
    return tree


def read_event(items: Iterable[tuple[str, str]]) -> Event:
    """Read an event from its form fields, which may come in any order. Raises ``Malformed``."""
    tree = read_fields(items, EVENT_HEADS)
    auth, name = tree["auth"], tree["event"].get("", "")
    member_id = auth.get("member_id", "")
    ts = tree["ts"].get("", "0")
    if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name) or not re.fullmatch(r"[0-9a-fA-F]{32}", member_id):
        raise Malformed("event name or member_id")
    if not re.fullmatch(r"[0-9]{1,12}", ts):
        raise Malformed("event ts")
    return Event(
        name=name.upper(),
        member_id=member_id,
        application_token=auth.get("application_token", ""),
        access_token=auth.get("access_token", ""),
        ts=int(ts),
        fields=tree["data"],
    )

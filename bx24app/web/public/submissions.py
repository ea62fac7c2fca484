"""What visitors of a website send, read into values; whatever cannot be read is named, not trusted."""

import json
from datetime import UTC, datetime
from typing import Annotated

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bx24app.services.calling.spoken_text import one_line
from bx24app.services.websites.submit import FormPost

# The honest body holds a few fields and a proof of work.
MAX_SUBMISSION_BYTES = 16 * 1024
MAX_DECORATION = 4000
_YES = frozenset({True, "true", "on", "yes", "1"})


class UnreadableBody(Exception):
    """A body that is no request; ``fields`` are the wrong ones, none: nothing could be read."""

    def __init__(self, *fields: str) -> None:
        super().__init__("unreadable")
        self.fields = fields


def _yes(value: object) -> bool:
    return isinstance(value, bool | str) and value in _YES


Short = Annotated[str, Field(max_length=255)]
Long = Annotated[str, Field(max_length=4000)]


def _decoration(value: object) -> object:
    """Cut what is only decoration, and leave out what is null: neither costs a visitor the call."""
    return "" if value is None else value[:MAX_DECORATION] if isinstance(value, str) else value


Decoration = Annotated[str, BeforeValidator(_decoration)]


class SubmissionBody(BaseModel):
    """The body of ``POST /w/<form_key>/callbacks``, as JSON or as a form."""

    model_config = ConfigDict(extra="ignore", strict=True)

    number: Short
    name: Decoration = ""
    topic: Decoration = ""
    consent: Annotated[bool, BeforeValidator(_yes)] = False
    scheduled_at: Short | None = None
    page: Decoration = ""
    altcha: Long | None = None
    token: Long | None = None
    idempotency_key: Short | None = None
    # Nobody sees this field, see ``rules.HONEYPOT``.
    leave_empty: Short = ""


def read_moment(text: str | None) -> tuple[datetime | None, str]:
    """A moment with its offset from UTC, or the text that is none; both empty where nothing was written."""
    if not text or not text.strip():
        return None, ""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC), ""
    except (ValueError, OverflowError):
        pass
    return None, one_line(text)[:64] or "unreadable"


def fields_sent() -> dict[str, object]:
    """The fields of the body; raises ``Unreadable``."""
    if not request.is_json:
        return dict(request.form.items())
    try:
        sent = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise UnreadableBody from None
    if not isinstance(sent, dict):
        raise UnreadableBody
    return sent


def read_submission(language: str) -> FormPost:
    """The request that a body makes; raises ``Unreadable`` naming its wrong fields."""
    try:
        visit = SubmissionBody.model_validate(fields_sent())
    except ValidationError as error:
        raise UnreadableBody(*(str(e["loc"][0]) for e in error.errors(include_input=False))) from None
    scheduled_at, unreadable_time = read_moment(visit.scheduled_at)
    return FormPost(
        number=visit.number,
        name=visit.name,
        topic=visit.topic,
        consents=visit.consent,
        scheduled_at=scheduled_at,
        unreadable_time=unreadable_time,
        page=visit.page,
        altcha=visit.altcha or "",
        token=visit.token or "",
        honeypot=visit.leave_empty,
        idempotency_key=visit.idempotency_key,
        origin=request.headers.get("Origin"),
        address=request.remote_addr or None,
        language=language,
    )

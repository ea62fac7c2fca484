"""What visitors of a website send, read into values; what cannot be read is named, or left out if it is no matter."""

from datetime import datetime
from typing import Annotated

from flask import request
from pydantic import ConfigDict, Field, ValidationError

from bx24app.inputs import AlsoWritten, Consent, Decor, TolerantModel, TypedNumber, decoration_of, is_nothing, text_of
from bx24app.services.calling.decoration import SentTexts
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.websites.submit import FormPost
from bx24app.web.bodies import UnreadableBody, read_fields
from bx24app.web.moments import read_moment

# The honest body holds a few fields, a proof of work, and the address of a page, to which advertisements add a lot.
MAX_SUBMISSION_BYTES = 64 * 1024
MAX_TIME = 255
# Fields of ours, or of browsers, that mean nothing here: nobody is told that they are left out.
_SILENT = frozenset({"_charset_", "lang", "frame"})


class SubmissionBody(TolerantModel):
    """The body of ``POST /w/<form_key>/callbacks``, as JSON or as a form."""

    model_config = ConfigDict(extra="allow")

    number: TypedNumber
    name: Decor = ""
    topic: Decor = ""
    consent: Consent = False
    scheduled_at: Annotated[str, Field(max_length=MAX_TIME), AlsoWritten(text_of)] | None = None
    page: Decor = ""
    # One that is too long, or no text, proves nothing.
    altcha: Decor = ""
    token: Decor = ""
    idempotency_key: Decor = ""
    # Nobody sees this field, see ``rules.HONEYPOT``.
    leave_empty: Decor = ""


def read_time(written: object) -> tuple[datetime | None, str]:
    """A moment with its offset from UTC, or the text that is none; both empty where nothing was written."""
    if is_nothing(written):
        return None, ""
    moment = read_moment(written)
    return moment, "" if moment else one_line(decoration_of(written))[:MAX_TIME] or "unreadable"


def typed_texts(portal_language: str) -> dict[str, str]:
    """What was typed into a form that is shown again; empty when none was sent."""
    try:
        return {name: decoration_of(value) for name, value in read_fields(portal_language).items()}
    except UnreadableBody:
        return {}


def read_submission(language: str, portal_language: str) -> FormPost:
    """The request that a body makes, of a visitor who reads ``language``; raises ``UnreadableBody``."""
    sent = read_fields(portal_language)
    try:
        visit = SubmissionBody.read(sent)
    except RecursionError:
        raise UnreadableBody from None
    except ValidationError as error:
        raise UnreadableBody(*(str(e["loc"][0]) for e in error.errors(include_input=False) if e["loc"])) from None
    others = {name: value for name, value in (visit.model_extra or {}).items() if name not in _SILENT}
    scheduled_at, unreadable_time = read_time(visit.scheduled_at)
    return FormPost(
        number=visit.number,
        texts=SentTexts(visit.name, visit.topic, visit.page, language, others),
        consents=visit.consent,
        scheduled_at=scheduled_at,
        unreadable_time=unreadable_time,
        altcha=visit.altcha,
        token=visit.token,
        honeypot=visit.leave_empty,
        idempotency_key=visit.idempotency_key or None,
        origin=request.headers.get("Origin"),
        address=request.remote_addr or None,
    )

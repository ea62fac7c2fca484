"""Taking callback requests of a site's back end, under the key of one of the portal's forms."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.errors import DuplicateOpenCallback, IdempotencyKeyReused, RuleRefused, UnknownLine, UnknownVoice
from bx24app.models import Callback, Source, utcnow
from bx24app.services.callbacks import request as callback_request
from bx24app.services.callbacks.queries import with_history
from bx24app.services.callbacks.request import AcceptedCallback
from bx24app.services.calling import spoken_text
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.websites import forms, quotas, rejections, rules
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.quotas import Admission
from bx24app.services.websites.rows import (
    PreparedSubmission,
    callback_of,
    clean_page,
    submission_digest,
    website_request_of,
)
from bx24app.services.websites.submission import Submission, read_number
from bx24app.services.websites.submit import COLLISION_TRIES, Collision, insert_submission


@dataclass(frozen=True)
class ApiPost:
    """A request as a back end sends it; line, voice and text are those of the form unless given."""

    to_number: str
    line_id: str | None = None
    voice_id: str | None = None
    text: str | None = None
    scheduled_at: datetime | None = None
    name: str = ""
    topic: str = ""
    page: str = ""
    consents: bool = False
    language: str = "en"


def submit_with_key(form_id: int, asked: ApiPost, idempotency_key: str | None = None) -> AcceptedCallback:
    """Accept a request of a form's key; it is committed when this returns, and a worker is woken.

    Idempotent under one key. Raises a ``RuleRefused``, noted for the portal, ``UnknownLine``, ``UnknownVoice``,
    ``TextInvalid``, ``DuplicateOpenCallback`` (with an id only of the same form), ``IdempotencyKeyReused``.
    """
    request = _read(forms.open_form_by_id(form_id), asked, idempotency_key)
    earlier = _earlier(request)
    if earlier is not None:
        return earlier
    try:
        return _submit(request)
    except RuleRefused as refusal:
        rejections.record(request.case, refusal)
        raise


def _read(opened: OpenForm, asked: ApiPost, idempotency_key: str | None) -> PreparedSubmission:
    case = Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=read_number(asked.to_number, opened),
        source=Source.API,
        name=one_line(asked.name),
        topic=one_line(asked.topic),
        consents=asked.consents,
        scheduled_at=asked.scheduled_at,
        key=idempotency_key,
    )
    return PreparedSubmission(
        case=case,
        page=clean_page(asked.page),
        language=asked.language,
        digest=submission_digest(case, asked.line_id, asked.voice_id, asked.text, asked.page),
        line=_line(opened, asked.line_id),
        voice_id=_voice(opened, asked.voice_id),
        text=None if asked.text is None else spoken_text.check_text(asked.text),
    )


def _line(opened: OpenForm, line_id: str | None) -> tuple[str, str] | None:
    """A line of the kept list; no portal is asked on this way."""
    if line_id is None:
        return None
    line = opened.portal.usable_line(line_id)
    if line is None:
        raise UnknownLine("line_id")
    return line.line_id, line.name


def _voice(opened: OpenForm, voice_id: str | None) -> str | None:
    if voice_id and voice_id not in (opened.portal.voices or {}):
        raise UnknownVoice("voice_id")
    return voice_id or None


def _earlier(request: PreparedSubmission) -> AcceptedCallback | None:
    case = request.case
    if case.key is None:
        return None
    with reading() as session:
        query = with_history().where(Callback.portal_id == case.portal.id, Callback.idempotency_key == case.key)
        callback = session.scalar(query)
    if callback is not None and callback.request_digest != request.digest:
        raise IdempotencyKeyReused
    return None if callback is None else AcceptedCallback(callback, replayed=True)


def _submit(request: PreparedSubmission) -> AcceptedCallback:
    rules.check_rules(request.case, has_line=request.line is not None)
    buckets = quotas.rate_limits_of(request.case)
    for _ in range(COLLISION_TRIES):
        try:
            with writing() as session:
                accepted = _store(session, request, buckets)
        except Collision:
            continue
        accepted = accepted or _earlier(request)
        if accepted is not None:
            wakeup.wake()
            return accepted
    raise RuntimeError("requests for one number never stopped meeting")


def _store(session: Session, request: PreparedSubmission, buckets: list[RateLimit]) -> AcceptedCallback | None:
    case = request.case
    admitted = quotas.take_quotas(session, case, buckets)
    if admitted == Admission.REPEATED:
        return None
    if admitted == Admission.IN_HAND:
        held = select(Callback).where(Callback.portal_id == case.portal.id, Callback.to_number == case.typed.e164)
        callback = session.scalars(held.where(Callback.holds_number)).one()
        raise DuplicateOpenCallback(callback.id if callback.form_id == case.form.id else None)
    callback = callback_request.prepare_insert(callback_of(request))
    insert_submission(session, admitted, callback, website_request_of(request, callback))
    return AcceptedCallback(callback)

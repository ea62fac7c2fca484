"""Taking callback requests of a site's back end, under the key of one of the portal's forms."""

from dataclasses import dataclass
from datetime import datetime

from bx24app.errors import DuplicateOpenCallback, Refusal, RuleRefused, UnknownLine, UnknownVoice
from bx24app.models import Callback, DecoyRequest, Source, utcnow
from bx24app.services.callbacks.accept import earlier_answer
from bx24app.services.callbacks.conditions import Obstacle
from bx24app.services.callbacks.request import AcceptedCallback
from bx24app.services.calling import spoken_text
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.websites import forms, quotas, rejections
from bx24app.services.websites.candidate import PreparedSubmission, clean_page, submission_digest
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission, read_number
from bx24app.services.websites.submit import accept_submission


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

    Idempotent under one key. Raises a ``RuleRefused``, recorded for the portal, ``UnknownLine``, ``UnknownVoice``,
    ``TextInvalid``, ``DuplicateOpenCallback`` (with an id only of the same form), ``IdempotencyKeyReused``.
    """
    opened = forms.open_form_by_id(form_id)
    case = _submission_of(opened, asked, idempotency_key)
    digest = submission_digest(case, asked.line_id, asked.voice_id, asked.text, asked.page)
    try:
        outcome = accept_submission(_prepare(opened, asked, case, digest))
        if not isinstance(outcome, Obstacle):
            return _accepted(outcome, replayed=False)
        if outcome.earlier is None:
            raise _refusal(case, outcome)
        return _accepted(outcome.earlier, replayed=True)
    except Refusal as refusal:
        earlier = earlier_answer(case.portal.id, case.key, digest)
        if earlier is not None:
            return _accepted(earlier, replayed=True)
        if isinstance(refusal, RuleRefused):
            rejections.record(case, refusal)
        raise


def _accepted(row: Callback | DecoyRequest, *, replayed: bool) -> AcceptedCallback:
    assert isinstance(row, Callback), "decoys are for visitors"
    return AcceptedCallback(row, replayed)


def _refusal(case: Submission, obstacle: Obstacle) -> Refusal:
    holder = obstacle.holder
    if holder is not None:
        return DuplicateOpenCallback(holder.id if holder.form_id == case.form.id else None)
    return quotas.rejection_of(case, obstacle)


def _submission_of(opened: OpenForm, asked: ApiPost, idempotency_key: str | None) -> Submission:
    return Submission(
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


def _prepare(opened: OpenForm, asked: ApiPost, case: Submission, digest: str) -> PreparedSubmission:
    return PreparedSubmission(
        case=case,
        page=clean_page(asked.page),
        language=asked.language,
        digest=digest,
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

"""Accept the callback requests that a site's back end sends with an API key."""

from dataclasses import dataclass, field
from datetime import datetime

from bx24app.errors import NumberInHand, Refusal, RuleRefused, UnknownLine, UnknownVoice
from bx24app.models import Callback, DecoyRequest, Source, utcnow
from bx24app.services.callbacks.accept import earlier_answer
from bx24app.services.callbacks.conditions import Obstacle
from bx24app.services.callbacks.idempotency import back_end_key
from bx24app.services.callbacks.request import AcceptedCallback
from bx24app.services.calling import spoken_text
from bx24app.services.calling.decoration import SentTexts, listed_topic, read_decoration
from bx24app.services.websites import forms, quotas, rejections
from bx24app.services.websites.candidate import PreparedSubmission, submission_digest
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission, read_number
from bx24app.services.websites.submit import accept_submission


@dataclass(frozen=True)
class ApiPost:
    """A request as a back end sends it; where line, voice or text is None, that of the form is used."""

    to_number: str
    line_id: str | None = None
    voice_id: str | None = None
    text: str | None = None
    scheduled_at: datetime | None = None
    texts: SentTexts = field(default_factory=SentTexts)
    consents: bool = False


def submit_with_key(form_id: int, post: ApiPost, idempotency_key: str | None = None) -> AcceptedCallback:
    """Accept a request for the form of an API key, and wake a worker; commits.

    Idempotent under one idempotency key of the form. Raises a ``RuleRefused``, which is also stored as a rejection,
    ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``, ``IdempotencyKeyReused``, and ``NumberInHand``, which
    has an id only when the other callback belongs to the same form.
    """
    opened = forms.open_form_by_id(form_id)
    submission = _submission_of(opened, post, idempotency_key)
    digest = submission_digest(submission, post.line_id, post.voice_id, post.text, submission.decoration.page)
    try:
        outcome = accept_submission(_prepare(opened, post, submission, digest))
        if not isinstance(outcome, Obstacle):
            return _accepted(submission, outcome, replayed=False)
        if outcome.earlier is None:
            raise _refusal(submission, outcome)
        return _accepted(submission, outcome.earlier, replayed=True)
    except Refusal as refusal:
        earlier = earlier_answer(submission.portal.id, submission.key, digest)
        if earlier is not None:
            return _accepted(submission, earlier, replayed=True)
        if isinstance(refusal, RuleRefused):
            rejections.record(submission, refusal)
        raise


def _accepted(submission: Submission, row: Callback | DecoyRequest, *, replayed: bool) -> AcceptedCallback:
    assert isinstance(row, Callback), "decoys are for visitors"
    return AcceptedCallback(row, replayed, submission.parsed, submission.country)


def _refusal(submission: Submission, obstacle: Obstacle) -> Refusal:
    holder = obstacle.holder
    if holder is not None:
        return NumberInHand(holder.id if holder.form_id == submission.form.id else None)
    return quotas.rejection_of(submission, obstacle)


def _submission_of(opened: OpenForm, post: ApiPost, idempotency_key: str | None) -> Submission:
    # A back end has a form of its own: it may name other topics than ours.
    is_listed = bool(listed_topic(post.texts.topic, opened.form.topics))
    return Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=read_number(post.to_number, opened),
        source=Source.API,
        decoration=read_decoration(post.texts, opened.form.topics if is_listed else ()),
        consents=post.consents,
        scheduled_at=post.scheduled_at,
        key=back_end_key(opened.form.id, idempotency_key),
    )


def _prepare(opened: OpenForm, post: ApiPost, submission: Submission, digest: str) -> PreparedSubmission:
    return PreparedSubmission(
        submission=submission,
        digest=digest,
        line=_line(opened, post.line_id),
        voice_id=_voice(opened, post.voice_id),
        text=None if post.text is None else spoken_text.check_text(post.text),
    )


def _line(opened: OpenForm, line_id: str | None) -> tuple[str, str] | None:
    """Find a line in the stored list, without asking the portal; raises ``UnknownLine``."""
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

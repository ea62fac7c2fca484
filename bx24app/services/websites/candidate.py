"""Make the candidate of a submission that passed the rules: callback, website request, decoy and quotas."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bx24app.models import Callback, DecoyRequest, Source, WebsiteRequest
from bx24app.services.callbacks.accept import prepare_for_insert
from bx24app.services.callbacks.conditions import Candidate
from bx24app.services.callbacks.idempotency import request_digest
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import spoken_text
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.websites import forms, quotas
from bx24app.services.websites.submission import Submission


@dataclass(frozen=True)
class PreparedSubmission:
    """A submission with what is stored beside it; where line, voice or text is None, that of the form is used.

    ``form_revisions`` are compared when it is accepted; None: its form was read for it.
    """

    submission: Submission
    digest: str = ""
    form_revisions: tuple[int, int, int] | None = None
    line: tuple[str, str] | None = None
    voice_id: str | None = None
    text: str | None = None


def submission_digest(submission: Submission, *more: object) -> str:
    """Return a digest that tells whether two requests under one idempotency key are the same."""
    fields = [
        submission.form.id,
        submission.parsed.e164,
        submission.name,
        submission.topic,
        submission.scheduled_at,
        *more,
    ]
    return request_digest(fields)


def candidate_of(request: PreparedSubmission, limits: Sequence[RateLimit]) -> Candidate:
    """Make the candidate of a submission; reads nothing."""
    submission = request.submission
    callback = prepare_for_insert(_callback_of(request))
    is_visitor = submission.source == Source.WEBSITE
    return Candidate(
        callback=callback,
        at=submission.now,
        website_request=_website_request_of(request, callback),
        form_key=submission.form.key,
        form_revisions=request.form_revisions,
        number_digest=submission.number.digest,
        rate_limits=tuple(limits),
        budget=quotas.budget_of(submission),
        decoy=_decoy_of(request, callback) if is_visitor else None,
        rejection=quotas.hidden_rejection(submission) if is_visitor else None,
    )


def _decoy_of(request: PreparedSubmission, callback: Callback) -> DecoyRequest:
    """Make the decoy for a number that is held or listed: the visitor may be a stranger and must not learn that."""
    submission = request.submission
    return DecoyRequest(
        id=callback.id,
        form_id=submission.form.id,
        idempotency_key=request.submission.key,
        request_digest=request.digest,
        scheduled_at=submission.scheduled_at,
        due_at=submission.due_at,
        created_at=submission.now,
        line_id=callback.line_id,
        expires_at=callback.expires_at,
    )


def _callback_of(request: PreparedSubmission) -> Callback:
    submission = request.submission
    line = request.line or forms.form_line(submission.form, submission.portal)
    assert line is not None, "the rule `line` holds"
    callback = Callback(
        portal_id=submission.portal.id,
        to_number=submission.parsed.e164,
        customer_name=submission.name or None,
        line_id=line[0],
        line_name=line[1][:255],
        voice_id=request.voice_id or submission.form.voice_id or submission.portal.settings.default_voice_id,
        text=request.text or _spoken(request),
        source=submission.source,
        form_id=submission.form.id,
        idempotency_key=request.submission.key,
        request_digest=request.digest,
        scheduled_at=submission.scheduled_at,
        due_at=submission.due_at,
        expires_at=submission.due_at + expiry_of(submission.source, submission.form),
        created_at=submission.now,
        updated_at=submission.now,
        attempts=[],
        decisions=[],
    )
    if submission.decoration.note:
        callback.decide("decoration", submission.now, **submission.decoration.note)
    return callback


def _spoken(request: PreparedSubmission) -> str:
    submission = request.submission
    template = submission.form.text or spoken_text.default_template(submission.portal.language)
    page = urlsplit(submission.decoration.page)
    return spoken_text.fill_template(
        template,
        name=submission.name,
        topic=submission.topic,
        form=submission.form.name,
        page=f"{page.hostname or ''}{page.path}",
    )


def _website_request_of(request: PreparedSubmission, callback: Callback) -> WebsiteRequest:
    """Make the row of what the website sent, with the text to which the visitor consented, in their language."""
    submission, form = request.submission, request.submission.form
    consented = form.consent_in(submission.decoration.language) if submission.consents else None
    return WebsiteRequest(
        callback_id=callback.id,
        form_id=form.id,
        name=submission.name,
        topic=submission.topic,
        page=submission.decoration.page,
        utm=submission.decoration.utm,
        language=submission.decoration.language,
        address=submission.address,
        consent_text=consented,
        consent_version=form.consent_version if consented else None,
        consent_at=submission.now if consented else None,
        number_digest=submission.number.digest,
        created_at=submission.now,
    )

"""From a submission that every rule lets pass to the candidate that is accepted: callback, request, decoy, quotas."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from uuid6 import uuid7

from bx24app.models import Callback, DecoyRequest, Source, WebsiteRequest
from bx24app.services.callbacks.accept import complete
from bx24app.services.callbacks.conditions import Candidate
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import spoken_text
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.websites import forms, quotas
from bx24app.services.websites.submission import Submission

MAX_PAGE = 2000
MAX_MARKS = 10
MAX_MARK = 255


@dataclass(frozen=True)
class PreparedSubmission:
    """A case with what is stored beside its callback; line, voice and text are those of its form unless given."""

    case: Submission
    page: str = ""
    language: str = "en"
    digest: str = ""
    line: tuple[str, str] | None = None
    voice_id: str | None = None
    text: str | None = None


def submission_digest(case: Submission, *more: object) -> str:
    """Tell one request from another under the same key."""
    said = [case.form.id, case.typed.e164, case.name, case.topic, case.scheduled_at, *more]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


def clean_page(text: str) -> str:
    """The address of a page as it may be kept; anything else is dropped."""
    try:
        url = urlsplit(spoken_text.one_line(text)[:MAX_PAGE])
    except ValueError:
        return ""
    return url.geturl() if url.scheme in ("https", "http") and url.netloc else ""


def _marks(page: str) -> dict[str, str]:
    """The ``utm_*`` marks of a page's address."""
    found = [(name, value) for name, value in parse_qsl(urlsplit(page).query) if name.lower().startswith("utm_")]
    return {name.lower()[:MAX_MARK]: value[:MAX_MARK] for name, value in found[:MAX_MARKS]}


def candidate_of(request: PreparedSubmission, limits: Sequence[RateLimit]) -> Candidate:
    """The candidate of a submission as it is now; reads the money spent today where the form has a budget of it."""
    case = request.case
    callback = complete(_callback_of(request))
    return Candidate(
        callback=callback,
        at=case.now,
        website_request=_website_request_of(request, callback),
        form_key=case.form.key,
        number_digest=case.number.digest,
        rate_limits=tuple(limits),
        budget=quotas.budget_of(case),
        decoy=_decoy_of(request) if case.source == Source.WEBSITE else None,
    )


def _decoy_of(request: PreparedSubmission) -> DecoyRequest:
    """What answers for a number that is in hand: a visitor may be a stranger to it."""
    case = request.case
    return DecoyRequest(
        id=uuid7(),
        form_id=case.form.id,
        idempotency_key=request.case.key,
        request_digest=request.digest,
        scheduled_at=case.scheduled_at,
        due_at=case.due_at,
        expires_at=case.due_at + expiry_of(case.source, case.form),
        created_at=case.now,
    )


def _callback_of(request: PreparedSubmission) -> Callback:
    case = request.case
    line = request.line or forms.form_line(case.form, case.portal)
    assert line is not None, "the rule `line` holds"
    return Callback(
        portal_id=case.portal.id,
        to_number=case.typed.e164,
        line_id=line[0],
        line_name=line[1][:255],
        voice_id=request.voice_id or case.form.voice_id or case.portal.settings.default_voice_id,
        text=request.text or _spoken(request),
        source=case.source,
        form_id=case.form.id,
        idempotency_key=request.case.key,
        request_digest=request.digest,
        scheduled_at=case.scheduled_at,
        due_at=case.due_at,
        expires_at=case.due_at + expiry_of(case.source, case.form),
        created_at=case.now,
        updated_at=case.now,
        attempts=[],
        decisions=[],
    )


def _spoken(request: PreparedSubmission) -> str:
    case = request.case
    template = case.form.text or spoken_text.default_template(case.portal.language)
    page = urlsplit(request.page)
    return spoken_text.fill_template(
        template, name=case.name, topic=case.topic, form=case.form.name, page=f"{page.hostname or ''}{page.path}"
    )


def _website_request_of(request: PreparedSubmission, callback: Callback) -> WebsiteRequest:
    """What came with the callback, and what the visitor agreed to."""
    case, form = request.case, request.case.form
    consents = case.consents and form.consent_text is not None
    return WebsiteRequest(
        callback_id=callback.id,
        form_id=form.id,
        name=case.name,
        topic=case.topic,
        page=request.page,
        utm=_marks(request.page),
        language=request.language,
        address=case.address,
        consent_text=form.consent_text if consents else None,
        consent_version=form.consent_version if consents else None,
        consent_at=case.now if consents else None,
        number_digest=case.number.digest,
        created_at=case.now,
    )

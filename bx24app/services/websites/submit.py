"""Accept the callback requests of a website's visitors."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from bx24app.errors import ChangedMeanwhile, RuleRefused
from bx24app.models import Callback, DecoyRequest, utcnow
from bx24app.services.callbacks.accept import accept, earlier_answer
from bx24app.services.callbacks.conditions import FORM_UNCHANGED, Obstacle
from bx24app.services.callbacks.decoys import ShownStep, shown_step
from bx24app.services.callbacks.idempotency import unkeyed_visitor_key, visitor_key
from bx24app.services.callbacks.retry_policy import retry_policy_of_form
from bx24app.services.calling.decoration import SentTexts, read_decoration
from bx24app.services.websites import challenge, forms, quotas, rejections, rules
from bx24app.services.websites.candidate import PreparedSubmission, candidate_of, submission_digest
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission, read_number


@dataclass(frozen=True)
class FormPost:
    """A request as a website's form sends it, with its origin and its address."""

    number: str
    texts: SentTexts = field(default_factory=SentTexts)
    consents: bool = False
    scheduled_at: datetime | None = None
    unreadable_time: str = ""
    altcha: str = ""
    token: str = ""
    honeypot: str = ""
    idempotency_key: str | None = None
    origin: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Receipt:
    """The answer to a request; ``id`` is the id of its callback, or of a decoy that looks the same.

    ``extension`` was typed after the number and is not dialled.
    """

    id: UUID
    state: str
    expected_at: datetime
    extension: str = ""


def submit(opened: OpenForm, post: FormPost) -> Receipt:
    """Accept a visitor's request, and wake a worker; commits.

    Idempotent under one idempotency key. When another callback holds the number, or it is on the do-not-call list, the
    answer is that of a decoy: it looks the same, but nobody is called. Raises ``IdempotencyKeyReused``, a
    ``RuleRefused``, which is also stored as a rejection, or ``ChangedMeanwhile``: the form is not the one that was in
    memory, nothing was done, and the caller opens it anew.
    """
    request = _read(opened, post)
    submission = request.submission
    try:
        outcome = accept_submission(request)
        if not isinstance(outcome, Obstacle):
            return _receipt(outcome, submission)
        if outcome.condition == FORM_UNCHANGED:
            raise ChangedMeanwhile
        if outcome.earlier is None:
            raise quotas.rejection_of(submission, outcome)
        return _receipt(outcome.earlier, submission)
    except RuleRefused as refusal:
        forms.confirm(opened)
        earlier = _earlier(post, request)
        if earlier is not None:
            return _receipt(earlier, submission)
        rejections.record(submission, refusal)
        raise


def _earlier(post: FormPost, request: PreparedSubmission) -> Callback | DecoyRequest | None:
    """Find what the same request led to; its proof is spent, so a repeat comes here after an upgrade too."""
    submission = request.submission
    former_key = unkeyed_visitor_key(submission.form.key, post.idempotency_key, submission.parsed.e164)
    return earlier_answer(submission.portal.id, submission.key, request.digest, former_key)


def accept_submission(request: PreparedSubmission) -> Callback | DecoyRequest | Obstacle:
    """Check a submission against the rules of its form, and accept it; commits.

    Returns the first condition that does not hold as an ``Obstacle``. Raises the ``RuleRefused`` of the first rule that
    the submission does not pass, and ``IdempotencyKeyReused``.
    """
    rules.check_rules(request.submission, has_line=request.line is not None)
    limits = quotas.rate_limits_of(request.submission)
    return accept(lambda: candidate_of(request, limits))


def _receipt(row: Callback | DecoyRequest, submission: Submission) -> Receipt:
    shown = shown_to_visitor(OpenForm(submission.form, submission.portal), row, submission.now)
    return Receipt(row.id, shown.state, shown.due_at, submission.parsed.extension)


def reject_unreadable(opened: OpenForm, refusal: RuleRefused, address: str | None) -> None:
    """Store the rejection of a request that could not be read; commits. Raises ``ChangedMeanwhile`` as ``submit``."""
    forms.confirm(opened)
    submission = Submission(form=opened.form, portal=opened.portal, now=utcnow(), address=address)
    rejections.record(submission, refusal)


def submission_of(opened: OpenForm, post: FormPost) -> Submission:
    """Turn a request into the submission that the rules see."""
    key, number = opened.form.key, read_number(post.number, opened)
    proof = challenge.read_proof(post.altcha, key) if post.altcha else None
    return Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=number,
        key=visitor_key(key, post.idempotency_key, number.parsed.e164),
        origin=post.origin,
        address=post.address,
        decoration=read_decoration(post.texts, opened.form.topics),
        consents=post.consents,
        honeypot=post.honeypot,
        proof=proof,
        forged=bool(post.altcha) and proof is None,
        token=challenge.read_token(post.token, key) if post.token else None,
        scheduled_at=post.scheduled_at,
        unreadable_time=post.unreadable_time,
    )


def _read(opened: OpenForm, post: FormPost) -> PreparedSubmission:
    submission = submission_of(opened, post)
    revisions = opened.revisions if opened.is_unconfirmed else None
    return PreparedSubmission(submission, submission_digest(submission), revisions)


def shown_to_visitor(opened: OpenForm, request: Callback | DecoyRequest, now: datetime) -> ShownStep:
    """Return what the visitor is shown of their request at ``now``; call it outside of transactions."""
    policy = retry_policy_of_form(opened.portal, opened.form)
    line = forms.form_line(opened.form, opened.portal)
    # Where the line redials by itself, no callback of the form is dialled again.
    redials = line is not None and opened.portal.redials(line[0])
    return shown_step(request, replace(policy, retries=0) if redials else policy, now)

"""Taking callback requests of a website's visitors."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bx24app.errors import RuleRefused
from bx24app.models import Callback, DecoyRequest, State, utcnow
from bx24app.services.callbacks.accept import accept, earlier_answer
from bx24app.services.callbacks.conditions import Obstacle
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.websites import challenge, quotas, rejections, rules
from bx24app.services.websites.candidate import PreparedSubmission, candidate_of, clean_page, submission_digest
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission, read_number


@dataclass(frozen=True)
class FormPost:
    """A request as a website's form sends it, with where it came from."""

    number: str
    name: str = ""
    topic: str = ""
    consents: bool = False
    scheduled_at: datetime | None = None
    unreadable_time: str = ""
    page: str = ""
    altcha: str = ""
    token: str = ""
    honeypot: str = ""
    idempotency_key: str | None = None
    origin: str | None = None
    address: str | None = None
    language: str = "en"


@dataclass(frozen=True)
class Receipt:
    """The answer to a request: ``id`` is that of its callback, or of a decoy that looks alike."""

    id: UUID
    state: str
    expected_at: datetime


def submit(opened: OpenForm, asked: FormPost) -> Receipt:
    """Take a visitor's request; it is committed when this returns, and a worker is woken.

    The same one under the same key gets the same answer. A number that is in hand gets a decoy: an answer of the same
    shape, with nothing behind it. Raises a ``RuleRefused``, recorded for the portal, or ``IdempotencyKeyReused``.
    """
    request = _read(opened, asked)
    case = request.case
    try:
        outcome = accept_submission(request)
        if not isinstance(outcome, Obstacle):
            return _receipt(outcome, case.now)
        if outcome.earlier is None:
            raise quotas.rejection_of(case, outcome)
        return _receipt(outcome.earlier, case.now)
    except RuleRefused as refusal:
        earlier = earlier_answer(case.portal.id, case.key, request.digest)
        if earlier is not None:
            return _receipt(earlier, case.now)
        rejections.record(case, refusal)
        raise


def accept_submission(request: PreparedSubmission) -> Callback | DecoyRequest | Obstacle:
    """Hold a submission against the rules of its form, and accept it.

    Raises the ``RuleRefused`` of the first rule that does not hold, ``IdempotencyKeyReused``.
    """
    rules.check_rules(request.case, has_line=request.line is not None)
    limits = quotas.rate_limits_of(request.case)
    return accept(lambda: candidate_of(request, limits))


def _receipt(row: Callback | DecoyRequest, now: datetime) -> Receipt:
    return Receipt(row.id, row.state if isinstance(row, Callback) else decoy_state(row, now), row.due_at)


def reject_unreadable(opened: OpenForm, refusal: RuleRefused, address: str | None) -> None:
    """Keep for the portal that a request could not even be read; commits."""
    case = Submission(form=opened.form, portal=opened.portal, now=utcnow(), address=address)
    rejections.record(case, refusal)


def submission_of(opened: OpenForm, asked: FormPost) -> Submission:
    """The request as the rules see it."""
    key, number = opened.form.key, read_number(asked.number, opened)
    proof = challenge.read_proof(asked.altcha, key) if asked.altcha else None
    return Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=number,
        key=_key(key, asked.idempotency_key, number.typed.e164),
        origin=asked.origin,
        address=asked.address,
        name=one_line(asked.name),
        topic=one_line(asked.topic),
        consents=asked.consents,
        honeypot=asked.honeypot,
        proof=proof,
        forged=bool(asked.altcha) and proof is None,
        token=challenge.read_token(asked.token, key) if asked.token else None,
        scheduled_at=asked.scheduled_at,
        unreadable_time=asked.unreadable_time,
    )


def _key(form_key: str, key: str | None, number: str | None) -> str | None:
    """The stored key: one that strangers could know gives nothing away without form and number."""
    return f"w.{hashlib.sha256(f'{form_key} {key} {number}'.encode()).hexdigest()}" if key else None


def _read(opened: OpenForm, asked: FormPost) -> PreparedSubmission:
    case = submission_of(opened, asked)
    return PreparedSubmission(
        case=case, page=clean_page(asked.page), language=asked.language, digest=submission_digest(case)
    )


def decoy_state(decoy: DecoyRequest, now: datetime) -> State:
    """Tell the state in which a decoy is shown."""
    if decoy.cancelled_at is not None:
        return State.CANCELLED
    if now > decoy.expires_at:
        return State.EXPIRED
    # Two equal requests may meet, and one then gets the other's decoy, which was created after its own ``now``. It must
    # be shown as queued all the same.
    return State.SCHEDULED if decoy.due_at > max(now, decoy.created_at) else State.QUEUED

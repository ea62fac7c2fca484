"""Taking callback requests of the public and of sites' back ends: judged, stored and limited in one transaction."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import insert_or_ignore, insert_rows, reading, writing
from bx24app.errors import IdempotencyKeyReused, RuleRefused
from bx24app.models import Callback, DecoyRequest, State, WebsiteRequest, utcnow
from bx24app.services.callbacks import request as callback_request
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.webhooks import outbox
from bx24app.services.websites import challenge, one_trip, quotas, rejections, rules
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.quotas import Admission
from bx24app.services.websites.rows import (
    PreparedSubmission,
    callback_of,
    clean_page,
    decoy_of,
    submission_digest,
    website_request_of,
)
from bx24app.services.websites.submission import Submission, read_number

# Two requests that meet in the same instant: the second attempt sees what the first has stored.
COLLISION_TRIES = 3


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


class Collision(Exception):
    """Two requests for one number, or under one key, met at this very moment."""


@dataclass(frozen=True)
class Receipt:
    """The answer to a request: ``id`` is that of its callback, or of a ghost that looks alike."""

    id: UUID
    state: str
    expected_at: datetime


def submit(opened: OpenForm, asked: FormPost) -> Receipt:
    """Take a visitor's request; it is committed when this returns, and a worker is woken.

    The same one under the same key gets the same answer. A number that is in hand gets a ghost: an answer of the
    same shape, with nothing behind it. Raises a ``RuleRefused``, noted for the portal, or ``IdempotencyKeyReused``.
    """
    request = _read(opened, asked)
    try:
        return _submit(request)
    except RuleRefused as refusal:
        earlier = _earlier(request)
        if earlier is not None:
            return earlier
        rejections.record(request.case, refusal)
        raise


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


def _submit(request: PreparedSubmission) -> Receipt:
    rules.check_rules(request.case)
    buckets = quotas.rate_limits_of(request.case)
    for _ in range(COLLISION_TRIES):
        # Made before the transaction begins, while others may write.
        callback = callback_of(request)
        besides = website_request_of(request, callback_request.prepare_insert(callback))
        if one_trip.keep(request.case, buckets, callback, besides):
            wakeup.wake()
            return Receipt(callback.id, callback.state, callback.due_at)
        try:
            with writing() as session:
                taken = _store(session, request, buckets, (callback, besides))
        except Collision:
            continue
        taken = taken or _earlier(request)
        if taken is not None:
            wakeup.wake()
            return taken
    raise RuntimeError("requests for one number never stopped meeting")


def _store(
    session: Session, request: PreparedSubmission, buckets: list[RateLimit], rows: tuple[Callback, WebsiteRequest]
) -> Receipt | None:
    admitted = quotas.take_quotas(session, request.case, buckets)
    if admitted == Admission.REPEATED:
        return None
    if admitted == Admission.IN_HAND:
        return _store_ghost(session, request)
    callback, besides = rows
    insert_submission(session, admitted, callback, besides)
    return Receipt(callback.id, callback.state, callback.due_at)


def insert_submission(session: Session, admitted: Admission, callback: Callback, besides: WebsiteRequest) -> None:
    """Insert a prepared callback with what came beside it; raises ``Met``."""
    if not insert_or_ignore(session, callback):
        raise Collision
    insert_rows(session, besides)
    if admitted == Admission.NEW_TO_TELL:
        outbox.record_changes(session, [callback])


def _store_ghost(session: Session, request: PreparedSubmission) -> Receipt:
    ghost = decoy_of(request)
    if not insert_or_ignore(session, ghost):
        raise Collision
    return Receipt(ghost.id, decoy_state(ghost, request.case.now), ghost.due_at)


def decoy_state(ghost: DecoyRequest, now: datetime) -> State:
    """Where a ghost pretends to stand."""
    if ghost.cancelled_at is not None:
        return State.CANCELLED
    if now > ghost.expires_at:
        return State.EXPIRED
    # Of two that met, the earlier one may be answered with the later one's ghost.
    return State.SCHEDULED if ghost.due_at > max(now, ghost.created_at) else State.QUEUED


def _earlier(request: PreparedSubmission) -> Receipt | None:
    """The answer that the same request had before; raises ``IdempotencyKeyReused`` for another under its key."""
    if request.case.key is None:
        return None
    with reading() as session:
        query = select(Callback).where(Callback.portal_id == request.case.portal.id)
        callback = session.scalar(query.where(Callback.idempotency_key == request.case.key))
        ghost = session.scalar(select(DecoyRequest).where(DecoyRequest.idempotency_key == request.case.key))
    earlier = callback or ghost
    if earlier is None:
        return None
    if earlier.request_digest != request.digest:
        raise IdempotencyKeyReused
    state = earlier.state if isinstance(earlier, Callback) else decoy_state(earlier, request.case.now)
    return Receipt(earlier.id, state, earlier.due_at)

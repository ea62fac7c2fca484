"""Taking callback requests of the public and of sites' back ends: judged, stored and limited in one transaction."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.errors import IdempotencyKeyReused, RuleRefused
from bx24app.extensions import insert_row, reading, writing
from bx24app.models import Callback, Ghost, State, WebsiteRequest, utcnow
from bx24app.services import admission, callbacks, defence, do_not_call, proofs, refusals, waking
from bx24app.services.admission import Admitted
from bx24app.services.cases import Case
from bx24app.services.forms import Open
from bx24app.services.limits import Bucket
from bx24app.services.website_requests import Request, beside, callback_of, digest_of, ghost_of, one_line, page_of

# Two requests that meet in the same instant: the second attempt sees what the first has stored.
TRIES = 3


@dataclass(frozen=True)
class Asked:
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
class Taken:
    """The answer to a request: ``id`` is that of its callback, or of a ghost that looks alike."""

    id: UUID
    state: str
    expected_at: datetime


def take(opened: Open, asked: Asked) -> Taken:
    """Take a visitor's request; it is committed when this returns, and a worker is woken.

    The same one under the same key gets the same answer. A number that is in hand gets a ghost: an answer of the
    same shape, with nothing behind it. Raises a ``RuleRefused``, noted for the portal, or ``IdempotencyKeyReused``.
    """
    request = _read(opened, asked)
    try:
        return _take(request)
    except RuleRefused as refusal:
        earlier = _earlier(request)
        if earlier is not None:
            return earlier
        refusals.note(request.case, refusal)
        raise


def refuse(opened: Open, refusal: RuleRefused, address: str | None) -> None:
    """Keep for the portal that a request could not even be read; commits."""
    case = Case(form=opened.form, portal=opened.portal, now=utcnow(), number="", address=address)
    refusals.note(case, refusal)


def case_of(opened: Open, asked: Asked) -> Case:
    """The request as the rules see it."""
    key = opened.form.key
    case = Case(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        number=asked.number,
        origin=asked.origin,
        address=asked.address,
        name=one_line(asked.name),
        topic=one_line(asked.topic),
        consents=asked.consents,
        honeypot=asked.honeypot,
        proof=proofs.read_proof(asked.altcha, key) if asked.altcha else None,
        token=proofs.read_token(asked.token, key) if asked.token else None,
        scheduled_at=asked.scheduled_at,
        unreadable_time=asked.unreadable_time,
    )
    forged = bool(asked.altcha) and case.proof is None
    return with_digest(replace(case, forged=forged, key=_key(case, asked.idempotency_key)))


def _key(case: Case, key: str | None) -> str | None:
    """The stored key: one that strangers could know gives nothing away without form and number."""
    named = f"{case.form.key} {key} {case.typed.e164}".encode()
    return f"w.{hashlib.sha256(named).hexdigest()}" if key else None


def with_digest(case: Case) -> Case:
    """The case with the digest of its number, under which numbers are listed and limited."""
    number = case.typed.e164
    return replace(case, number_digest=do_not_call.digest_of(number)) if number else case


def _read(opened: Open, asked: Asked) -> Request:
    case = case_of(opened, asked)
    return Request(case=case, page=page_of(asked.page), language=asked.language, digest=digest_of(case))


def _take(request: Request) -> Taken:
    defence.judge(request.case)
    buckets = admission.buckets_of(request.case)
    for _ in range(TRIES):
        # Before the transaction, which on SQLite keeps every other writer waiting.
        callback = callback_of(request)
        what_came = beside(request, callback)
        try:
            with writing() as session:
                taken = _store(session, request, buckets, (callback, what_came))
        except IntegrityError:
            continue
        taken = taken or _earlier(request)
        if taken is not None:
            waking.wake()
            return taken
    raise RuntimeError("requests for one number never stopped meeting")


def _store(
    session: Session, request: Request, buckets: list[Bucket], new: tuple[Callback, WebsiteRequest]
) -> Taken | None:
    admitted = admission.take(session, request.case, buckets)
    if admitted == Admitted.REPEATED:
        return None
    if admitted == Admitted.IN_HAND:
        return _store_ghost(session, request)
    callback, what_came = new
    callbacks.accept(session, callback, told=admitted == Admitted.NEW_TOLD)
    insert_row(session, what_came)
    return Taken(callback.id, callback.state, callback.due_at)


def _store_ghost(session: Session, request: Request) -> Taken:
    ghost = ghost_of(request)
    session.add(ghost)
    session.flush()
    return Taken(ghost.id, state_of(ghost, request.case.now), ghost.due_at)


def state_of(ghost: Ghost, now: datetime) -> State:
    """Where a ghost pretends to stand."""
    if ghost.cancelled_at is not None:
        return State.CANCELLED
    if now > ghost.expires_at:
        return State.EXPIRED
    return State.SCHEDULED if ghost.due_at > now else State.QUEUED


def _earlier(request: Request) -> Taken | None:
    """The answer that the same request had before; raises ``IdempotencyKeyReused`` for another under its key."""
    if request.case.key is None:
        return None
    with reading() as session:
        query = select(Callback).where(Callback.portal_id == request.case.portal.id)
        callback = session.scalar(query.where(Callback.idempotency_key == request.case.key))
        ghost = session.scalar(select(Ghost).where(Ghost.idempotency_key == request.case.key))
    earlier = callback or ghost
    if earlier is None:
        return None
    if earlier.request_digest != request.digest:
        raise IdempotencyKeyReused
    state = earlier.state if isinstance(earlier, Callback) else state_of(earlier, request.case.now)
    return Taken(earlier.id, state, earlier.due_at)

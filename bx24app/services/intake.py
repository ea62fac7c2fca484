"""Taking callback requests of the public and of sites' back ends: judged, stored and limited in one transaction."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.errors import IdempotencyKeyReused, RuleRefused
from bx24app.extensions import insert_plainly, insert_unless_taken, reading, writing
from bx24app.models import Callback, Ghost, State, WebsiteRequest, utcnow
from bx24app.services import admission, callbacks, defence, one_trip, proofs, refusals, telling, waking
from bx24app.services.admission import Admitted
from bx24app.services.cases import Case, read_number
from bx24app.services.forms import Open
from bx24app.services.limits import Bucket
from bx24app.services.texts import one_line
from bx24app.services.website_requests import Request, beside, callback_of, digest_of, ghost_of, page_of

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


class Met(Exception):
    """Two requests for one number, or under one key, met at this very moment."""


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
    case = Case(form=opened.form, portal=opened.portal, now=utcnow(), address=address)
    refusals.note(case, refusal)


def case_of(opened: Open, asked: Asked) -> Case:
    """The request as the rules see it."""
    key, number = opened.form.key, read_number(asked.number, opened)
    proof = proofs.read_proof(asked.altcha, key) if asked.altcha else None
    return Case(
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
        token=proofs.read_token(asked.token, key) if asked.token else None,
        scheduled_at=asked.scheduled_at,
        unreadable_time=asked.unreadable_time,
    )


def _key(form_key: str, key: str | None, number: str | None) -> str | None:
    """The stored key: one that strangers could know gives nothing away without form and number."""
    return f"w.{hashlib.sha256(f'{form_key} {key} {number}'.encode()).hexdigest()}" if key else None


def _read(opened: Open, asked: Asked) -> Request:
    case = case_of(opened, asked)
    return Request(case=case, page=page_of(asked.page), language=asked.language, digest=digest_of(case))


def _take(request: Request) -> Taken:
    defence.judge(request.case)
    buckets = admission.buckets_of(request.case)
    for _ in range(TRIES):
        # Made before the transaction begins, while others may write.
        callback = callback_of(request)
        besides = beside(request, callbacks.prepare(callback))
        if one_trip.keep(request.case, buckets, callback, besides):
            waking.wake()
            return Taken(callback.id, callback.state, callback.due_at)
        try:
            with writing() as session:
                taken = _store(session, request, buckets, (callback, besides))
        except Met:
            continue
        taken = taken or _earlier(request)
        if taken is not None:
            waking.wake()
            return taken
    raise RuntimeError("requests for one number never stopped meeting")


def _store(
    session: Session, request: Request, buckets: list[Bucket], rows: tuple[Callback, WebsiteRequest]
) -> Taken | None:
    admitted = admission.take(session, request.case, buckets)
    if admitted == Admitted.REPEATED:
        return None
    if admitted == Admitted.IN_HAND:
        return _store_ghost(session, request)
    callback, besides = rows
    keep(session, admitted, callback, besides)
    return Taken(callback.id, callback.state, callback.due_at)


def keep(session: Session, admitted: Admitted, callback: Callback, besides: WebsiteRequest) -> None:
    """Insert a prepared callback with what came beside it; raises ``Met``."""
    if not insert_unless_taken(session, callback):
        raise Met
    insert_plainly(session, besides)
    if admitted == Admitted.NEW_TO_TELL:
        telling.note(session, [callback])


def _store_ghost(session: Session, request: Request) -> Taken:
    ghost = ghost_of(request)
    if not insert_unless_taken(session, ghost):
        raise Met
    return Taken(ghost.id, state_of(ghost, request.case.now), ghost.due_at)


def state_of(ghost: Ghost, now: datetime) -> State:
    """Where a ghost pretends to stand."""
    if ghost.cancelled_at is not None:
        return State.CANCELLED
    if now > ghost.expires_at:
        return State.EXPIRED
    # Of two that met, the earlier one may be answered with the later one's ghost.
    return State.SCHEDULED if ghost.due_at > max(now, ghost.created_at) else State.QUEUED


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

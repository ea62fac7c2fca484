"""Taking callback requests and deciding about them; dialling is in ``dialling``."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, bindparam, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, object_session

from bx24app.errors import (
    DuplicateOpenCallback,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    PortalDisconnected,
    PortalUnpaid,
    TooLate,
)
from bx24app.extensions import insert_row, reading, writing
from bx24app.models import (
    IN_HAND,
    RETRIABLE,
    WAITING,
    Callback,
    Form,
    IllegalTransition,
    Portal,
    PortalState,
    Source,
    State,
    User,
    utcnow,
)
from bx24app.services import lines, numbers, telling, texts, waking
from bx24app.services.callback_lists import get, whole

# Due but not dialled in time (design.md, section 2): a person has moved on by then.
STAFF_EXPIRY = timedelta(minutes=2)
FURTHEST = timedelta(days=366)
OUTCOMES = ("reached", "not_reached", "dial_again")


@dataclass(frozen=True)
class Requested:
    """A request as it was asked; ``to_number`` in any form people write."""

    to_number: str
    line_id: str | None = None
    voice_id: str | None = None
    text: str | None = None
    scheduled_at: datetime | None = None
    crm_entity_type: str | None = None
    crm_entity_id: int | None = None

    def digest(self) -> str:
        """Tells one body from another under the same idempotency key."""
        return hashlib.sha256(json.dumps(asdict(self), default=str, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """The callback of a request; ``replayed`` when the same request came before."""

    callback: Callback
    replayed: bool = False


def request_callback(
    portal_id: int, user_id: int, requested: Requested, idempotency_key: str | None = None
) -> Accepted:
    """Accept a request of a member of staff; it is committed when this returns, and a worker is woken.

    Idempotent under one key. Raises ``InvalidNumber``, ``NumberNotAllowed``, ``UnknownLine``, ``UnknownVoice``,
    ``TextInvalid``, ``InvalidRequest``, ``DuplicateOpenCallback``, ``IdempotencyKeyReused``,
    ``PortalDisconnected``, or a ``Bitrix24Error`` when lines are not known and the portal is silent.
    """
    known = _look(portal_id, user_id, idempotency_key)
    if known.is_repeated and (earlier := _earlier(portal_id, idempotency_key, requested)) is not None:
        return Accepted(earlier, replayed=True)
    callback = _prepare(known, user_id, requested)
    callback.idempotency_key = idempotency_key
    callback.request_digest = requested.digest()
    try:
        with writing() as session:
            _store(session, callback, known.user)
    except IntegrityError:
        return _collided(portal_id, callback, idempotency_key, requested)
    waking.wake()
    return Accepted(callback)


@dataclass(frozen=True)
class _Known:
    """What a request of a member of staff meets, read in one go; ``is_repeated``: its key came before."""

    portal: Portal
    user: User | None
    is_repeated: bool


# Written once: putting it together costs more than running it.
_LOOK = (
    select(
        Portal,
        User,
        exists().where(Callback.portal_id == bindparam("portal_id"), Callback.idempotency_key == bindparam("key")),
    )
    .outerjoin(User, and_(User.portal_id == Portal.id, User.user_id == bindparam("user_id")))
    .where(Portal.id == bindparam("portal_id"))
)


def _look(portal_id: int, user_id: int, key: str | None) -> _Known:
    """Raises ``PortalDisconnected`` for a portal that is not known."""
    with reading() as session:
        row = session.execute(_LOOK, {"portal_id": portal_id, "user_id": user_id, "key": key}).one_or_none()
    if row is None:
        raise PortalDisconnected
    return _Known(*row)


def _earlier(portal_id: int, key: str | None, requested: Requested) -> Callback | None:
    if key is None:
        return None
    with reading() as session:
        callback = session.scalar(whole().where(Callback.portal_id == portal_id, Callback.idempotency_key == key))
    if callback is not None and callback.request_digest != requested.digest():
        raise IdempotencyKeyReused
    return callback


def _prepare(known: _Known, user_id: int, requested: Requested) -> Callback:
    portal = known.portal
    if portal.state != PortalState.INSTALLED:
        raise PortalUnpaid if portal.state == PortalState.UNPAID else PortalDisconnected
    line_id = requested.line_id or portal.default_line_id
    if not line_id:
        raise InvalidRequest("line_id")
    number = numbers.normalize(requested.to_number, portal.default_country)
    voice_id = requested.voice_id or portal.default_voice_id
    if voice_id:
        lines.require_voice(portal.id, voice_id)
    now = utcnow()
    due_at = _due(requested.scheduled_at, now)
    return Callback(
        portal_id=portal.id,
        to_number=number,
        line_id=line_id,
        line_name=(lines.kept_line(portal, line_id) or lines.require_line(portal.id, line_id))[:255],
        voice_id=voice_id or None,
        text=_spoken(requested.text, portal),
        source=Source.STAFF,
        requested_by=user_id,
        crm_entity_type=requested.crm_entity_type,
        crm_entity_id=requested.crm_entity_id,
        scheduled_at=requested.scheduled_at,
        due_at=due_at,
        expires_at=due_at + STAFF_EXPIRY,
        created_at=now,
        updated_at=now,
        attempts=[],
        decisions=[],
    )


def _spoken(text: str | None, portal: Portal) -> str:
    return texts.checked(portal.default_text or texts.default_text(portal.language) if text is None else text)


def _due(scheduled_at: datetime | None, now: datetime) -> datetime:
    if scheduled_at is None:
        return now
    if not now - timedelta(minutes=1) <= scheduled_at <= now + FURTHEST:
        raise InvalidRequest("scheduled_at")
    return max(scheduled_at, now)


def accept(session: Session, callback: Callback, *, told: bool = True) -> None:
    """Take a prepared request in the caller's transaction, whoever asked for it; ``told`` False: no webhook waits.

    Raises ``IntegrityError`` when its number is in hand, or its idempotency key came before. ``waking.wake`` once
    it is committed.
    """
    callback.accept(callback.created_at)
    insert_row(session, callback)
    for decision in callback.decisions:
        decision.callback_id = callback.id
        insert_row(session, decision)
    if told:
        telling.note(session, [callback])


def _store(session: Session, callback: Callback, user: User | None) -> None:
    accept(session, callback)
    chosen = {"last_line_id": callback.line_id, "last_voice_id": callback.voice_id or ""}
    if user is not None and any(getattr(user, name) != value for name, value in chosen.items()):
        session.execute(update(User).where(User.id == user.id).values(chosen))


def _collided(portal_id: int, callback: Callback, key: str | None, requested: Requested) -> Accepted:
    """Another request was faster: the same one under its key, or one for the same number."""
    earlier = _earlier(portal_id, key, requested)
    if earlier is not None:
        return Accepted(earlier, replayed=True)
    with reading() as session:
        open_id = session.scalar(
            select(Callback.id).where(
                Callback.portal_id == portal_id,
                Callback.to_number == callback.to_number,
                Callback.state.in_(IN_HAND),
            )
        )
    if open_id is None:
        # It ended between the two transactions: the number is free now.
        return request_callback(portal_id, callback.requested_by or 0, requested, key)
    raise DuplicateOpenCallback(open_id)


def _patience(callback: Callback) -> timedelta:
    """How long after it is due a callback may still be dialled."""
    session = object_session(callback)
    form = session.get(Form, callback.form_id) if session and callback.form_id else None
    return STAFF_EXPIRY if form is None else timedelta(minutes=form.expiry_minutes)


@contextmanager
def _changing(portal_id: int, callback_id: UUID) -> Iterator[Callback]:
    """Lock one callback for a change; an illegal one is ``TooLate``, another portal's id ``NotFound``."""
    try:
        with writing() as session:
            callback = session.scalar(
                whole().where(Callback.portal_id == portal_id, Callback.id == callback_id).with_for_update()
            )
            if callback is None:
                raise NotFound
            yield callback
    except IllegalTransition:
        raise TooLate from None


def cancel(portal_id: int, callback_id: UUID, user_id: int | None, by: str | None = None) -> Callback:
    """Withdraw a waiting callback; raises ``TooLate`` once it is being dialled. ``by``: who, if no user of ours."""
    with _changing(portal_id, callback_id) as callback:
        now = utcnow()
        callback.cancel(now)
        callback.decide("cancelled", now, user=user_id, by=by)
    return callback


def reschedule(
    portal_id: int, callback_id: UUID, user_id: int | None, scheduled_at: datetime, by: str | None = None
) -> Callback:
    """Move a waiting callback to another time; a past one means now. Raises ``TooLate``, ``InvalidRequest``."""
    with _changing(portal_id, callback_id) as callback:
        if callback.state not in WAITING:
            raise TooLate
        now = utcnow()
        due_at = _due(scheduled_at, now)
        callback.reschedule(now, due_at, due_at + _patience(callback))
        callback.decide("rescheduled", now, user=user_id, by=by, scheduled_at=due_at.isoformat())
    waking.wake()
    return callback


def resolve(portal_id: int, callback_id: UUID, user_id: int, outcome: str) -> Callback:
    """A person says what became of an ``unknown`` callback; raises ``TooLate`` in any other state."""
    with _changing(portal_id, callback_id) as callback:
        if callback.state != State.UNKNOWN:
            raise TooLate
        now = utcnow()
        if outcome == "reached":
            callback.complete(now, "resolved_reached")
        elif outcome == "not_reached":
            callback.miss(now, "resolved_not_reached")
        else:
            callback.dial_again(now, now + STAFF_EXPIRY)
        callback.decide("resolved", now, user=user_id, outcome=outcome)
    waking.wake()
    return callback


def retry(portal_id: int, callback_id: UUID, user_id: int) -> Callback:
    """Ask for the same once more: a new callback. Raises ``TooLate`` unless it was missed, failed or expired."""
    old = get(portal_id, callback_id)
    if old.state not in RETRIABLE:
        raise TooLate
    requested = Requested(
        to_number=old.to_number,
        line_id=old.line_id,
        voice_id=old.voice_id,
        text=old.text,
        crm_entity_type=old.crm_entity_type,
        crm_entity_id=old.crm_entity_id,
    )
    known = _look(portal_id, user_id, None)
    callback = _prepare(known, user_id, requested)
    callback.retry_of = old.id
    callback.decide("retried", callback.created_at, user=user_id, retry_of=str(old.id))
    try:
        with writing() as session:
            _store(session, callback, known.user)
    except IntegrityError:
        return _collided(portal_id, callback, None, requested).callback
    waking.wake()
    return callback

"""Taking callback requests and deciding about them; dialling is in ``dialling``."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from uuid6 import uuid7

from bx24app.bitrix24.errors import Bitrix24Error
from bx24app.errors import (
    DuplicateOpenCallback,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    PortalDisconnected,
    PortalUnpaid,
    Refusal,
    TooLate,
)
from bx24app.extensions import insert_plainly, insert_unless_taken, reading, writing
from bx24app.models import (
    RETRIABLE,
    WAITING,
    Callback,
    IllegalTransition,
    Portal,
    PortalState,
    Source,
    State,
    User,
    utcnow,
)
from bx24app.services import askers, lines, numbers, texts, waking
from bx24app.services.askers import Asker
from bx24app.services.callback_lists import get, whole
from bx24app.services.policies import EXPIRY, policy_of

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


def request_callback(asker: Asker, requested: Requested, idempotency_key: str | None = None) -> Accepted:
    """Accept a request of a member of staff; it is committed when this returns, and a worker is woken.

    Idempotent under one key: it is looked for only once something stands in the way, as an earlier request does.
    Raises ``InvalidNumber``, ``NumberNotAllowed``, ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``,
    ``InvalidRequest``, ``DuplicateOpenCallback``, ``IdempotencyKeyReused``, ``PortalDisconnected``, or a
    ``Bitrix24Error`` when lines are not known and the portal is silent.
    """
    try:
        callback = _prepare(asker, requested)
    except (Refusal, Bitrix24Error):
        earlier = _earlier(asker.portal.id, idempotency_key, requested)
        if earlier is None:
            raise
        return Accepted(earlier, replayed=True)
    callback.idempotency_key = idempotency_key
    callback.request_digest = requested.digest()
    if not _store(callback, asker):
        return _collided(asker, callback, idempotency_key, requested)
    waking.wake()
    return Accepted(callback)


def _earlier(portal_id: int, key: str | None, requested: Requested) -> Callback | None:
    if key is None:
        return None
    with reading() as session:
        callback = session.scalar(whole().where(Callback.portal_id == portal_id, Callback.idempotency_key == key))
    if callback is not None and callback.request_digest != requested.digest():
        raise IdempotencyKeyReused
    return callback


def _prepare(asker: Asker, requested: Requested) -> Callback:
    portal = asker.portal
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
        requested_by=asker.user_id,
        crm_entity_type=requested.crm_entity_type,
        crm_entity_id=requested.crm_entity_id,
        scheduled_at=requested.scheduled_at,
        due_at=due_at,
        expires_at=due_at + EXPIRY[Source.STAFF],
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


def prepare(callback: Callback) -> Callback:
    """Take a request that is about to be inserted plainly, with its decisions: what the unit of work would fill in.

    It is not inserted when its number is in hand, or its idempotency key came before; ``waking.wake`` once it is
    committed.
    """
    callback.id, callback.version = uuid7(), 1
    callback.accept(callback.created_at)
    for decision in callback.decisions:
        decision.callback_id = callback.id
    return callback


def _store(callback: Callback, asker: Asker) -> bool:
    """Insert a request of a member of staff, and remember what they chose; commits.

    False: its number or its key is taken, and nothing was done.
    """
    prepare(callback)
    chosen = callback.line_id, callback.voice_id or ""
    is_new = asker.id is not None and chosen != (asker.line_id, asker.voice_id)
    with writing(at_once=not callback.decisions and not is_new) as session:
        if not insert_unless_taken(session, callback):
            return False
        insert_plainly(session, *callback.decisions)
        if is_new:
            line_id, voice_id = chosen
            session.execute(
                update(User).where(User.id == asker.id).values(last_line_id=line_id, last_voice_id=voice_id)
            )
    return True


def _collided(asker: Asker, callback: Callback, key: str | None, requested: Requested) -> Accepted:
    """Another request was faster: the same one under its key, or one for the same number."""
    earlier = _earlier(asker.portal.id, key, requested)
    if earlier is not None:
        return Accepted(earlier, replayed=True)
    open_id = _holder(asker.portal.id, callback.to_number)
    if open_id is None:
        # It ended between the two transactions: the number is free now.
        return request_callback(asker, requested, key)
    raise DuplicateOpenCallback(open_id)


def _holder(portal_id: int, number: str) -> UUID | None:
    """The callback that holds a number."""
    with reading() as session:
        return session.scalar(
            select(Callback.id).where(
                Callback.portal_id == portal_id, Callback.to_number == number, Callback.holds_number
            )
        )


@dataclass(frozen=True)
class _Change:
    """One callback, locked for a change, and how long it may wait once it is due."""

    callback: Callback
    expiry: timedelta
    now: datetime


@contextmanager
def _changing(portal_id: int, callback_id: UUID) -> Iterator[_Change]:
    """Lock one callback for a change; an illegal one is ``TooLate``, another portal's id ``NotFound``."""
    query = whole().where(Callback.portal_id == portal_id, Callback.id == callback_id)
    try:
        with writing() as session:
            callback = session.scalar(query.with_for_update())
            if callback is None:
                raise NotFound
            policy = policy_of(session, session.get_one(Portal, portal_id), callback)
            yield _Change(callback, policy.expiry, utcnow())
    except IllegalTransition:
        raise TooLate from None


def cancel(portal_id: int, callback_id: UUID, user_id: int | None, by: str | None = None) -> Callback:
    """Withdraw a waiting callback; raises ``TooLate`` once it is being dialled. ``by``: who, if no user of ours."""
    with _changing(portal_id, callback_id) as change:
        change.callback.cancel(change.now)
        change.callback.decide("cancelled", change.now, user=user_id, by=by)
    return change.callback


def reschedule(
    portal_id: int, callback_id: UUID, user_id: int | None, scheduled_at: datetime, by: str | None = None
) -> Callback:
    """Move a waiting callback to another time; a past one means now. Raises ``TooLate``, ``InvalidRequest``."""
    with _changing(portal_id, callback_id) as change:
        callback = change.callback
        if callback.state not in WAITING:
            raise TooLate
        due_at = _due(scheduled_at, change.now)
        callback.reschedule(change.now, due_at, due_at + change.expiry)
        callback.decide("rescheduled", change.now, user=user_id, by=by, scheduled_at=due_at.isoformat())
    waking.wake()
    return callback


def resolve(portal_id: int, callback_id: UUID, user_id: int, outcome: str) -> Callback:
    """A person says what became of an ``unknown`` callback.

    Raises ``TooLate`` in any other state, ``DuplicateOpenCallback`` when it shall be dialled again while another
    callback holds its number.
    """
    try:
        with _changing(portal_id, callback_id) as change:
            callback = change.callback
            if callback.state != State.UNKNOWN:
                raise TooLate
            callback.decide("resolved", change.now, user=user_id, outcome=outcome)
            if outcome == "reached":
                callback.complete(change.now, "resolved_reached")
            elif outcome == "not_reached":
                callback.miss(change.now, "resolved_not_reached")
            else:
                callback.dial_again(change.now, change.now + change.expiry)
    except IntegrityError:
        open_id = _holder(portal_id, get(portal_id, callback_id).to_number)
        raise (DuplicateOpenCallback(open_id) if open_id else TooLate()) from None
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
    asker = askers.look(portal_id, user_id)
    callback = _prepare(asker, requested)
    callback.retry_of = old.id
    callback.decide("retried", callback.created_at, user=user_id, retry_of=str(old.id))
    if not _store(callback, asker):
        return _collided(asker, callback, None, requested).callback
    waking.wake()
    return callback

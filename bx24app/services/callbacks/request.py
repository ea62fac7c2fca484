"""Taking callback requests and deciding about them; dialling is in ``dialling``."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from uuid6 import uuid7

from bx24app.database import insert_or_ignore, insert_rows, reading, writing
from bx24app.errors import (
    DuplicateOpenCallback,
    IdempotencyKeyReused,
    InvalidRequest,
    PortalDisconnected,
    PortalUnpaid,
    Refusal,
)
from bx24app.models import (
    Callback,
    Portal,
    PortalState,
    Source,
    User,
    utcnow,
)
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import with_history
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import phone_numbers, spoken_text
from bx24app.services.portals import lines
from bx24app.services.runtime import wakeup

FURTHEST_SCHEDULE = timedelta(days=366)


@dataclass(frozen=True)
class CallbackRequest:
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
class AcceptedCallback:
    """The callback of a request; ``replayed`` when the same request came before."""

    callback: Callback
    replayed: bool = False


def request_callback(
    asker: Principal, requested: CallbackRequest, idempotency_key: str | None = None
) -> AcceptedCallback:
    """Accept a request of a member of staff; it is committed when this returns, and a worker is woken.

    Idempotent under one key: it is looked for only once something stands in the way, as an earlier request does.
    Raises ``InvalidNumber``, ``NumberNotAllowed``, ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``,
    ``InvalidRequest``, ``DuplicateOpenCallback``, ``IdempotencyKeyReused``, ``PortalDisconnected``, or a
    ``ExchangeError`` when lines are not known and the portal is silent.
    """
    try:
        callback = _prepare(asker, requested)
    except (Refusal, ExchangeError):
        earlier = _earlier(asker.portal.id, idempotency_key, requested)
        if earlier is None:
            raise
        return AcceptedCallback(earlier, replayed=True)
    callback.idempotency_key = idempotency_key
    callback.request_digest = requested.digest()
    if not _store(callback, asker):
        return _collided(asker, callback, idempotency_key, requested)
    wakeup.wake()
    return AcceptedCallback(callback)


def _earlier(portal_id: int, key: str | None, requested: CallbackRequest) -> Callback | None:
    if key is None:
        return None
    with reading() as session:
        callback = session.scalar(
            with_history().where(Callback.portal_id == portal_id, Callback.idempotency_key == key)
        )
    if callback is not None and callback.request_digest != requested.digest():
        raise IdempotencyKeyReused
    return callback


def _prepare(asker: Principal, requested: CallbackRequest) -> Callback:
    portal = asker.portal
    if portal.state != PortalState.INSTALLED:
        raise PortalUnpaid if portal.state == PortalState.UNPAID else PortalDisconnected
    line_id = requested.line_id or portal.settings.default_line_id
    if not line_id:
        raise InvalidRequest("line_id")
    number = phone_numbers.normalize(requested.to_number, portal.settings.default_country)
    voice_id = requested.voice_id or portal.settings.default_voice_id
    if voice_id:
        lines.require_voice(portal.id, voice_id)
    now = utcnow()
    due_at = _due(requested.scheduled_at, now)
    return Callback(
        portal_id=portal.id,
        to_number=number,
        line_id=line_id,
        line_name=(lines.cached_line_name(portal, line_id) or lines.require_line(portal.id, line_id))[:255],
        voice_id=voice_id or None,
        text=_spoken(requested.text, portal),
        source=Source.STAFF,
        requested_by=asker.user_id,
        crm_entity_type=requested.crm_entity_type,
        crm_entity_id=requested.crm_entity_id,
        scheduled_at=requested.scheduled_at,
        due_at=due_at,
        expires_at=due_at + expiry_of(Source.STAFF),
        created_at=now,
        updated_at=now,
        attempts=[],
        decisions=[],
    )


def _spoken(text: str | None, portal: Portal) -> str:
    return spoken_text.check_text(
        portal.settings.default_text or spoken_text.default_text(portal.language) if text is None else text
    )


def _due(scheduled_at: datetime | None, now: datetime) -> datetime:
    if scheduled_at is None:
        return now
    if not now - timedelta(minutes=1) <= scheduled_at <= now + FURTHEST_SCHEDULE:
        raise InvalidRequest("scheduled_at")
    return max(scheduled_at, now)


def prepare_insert(callback: Callback) -> Callback:
    """Take a request that is about to be inserted plainly, with its decisions: what the unit of work would fill in.

    It is not inserted when its number is in hand, or its idempotency key came before; ``waking.wake`` once it is
    committed.
    """
    callback.id, callback.version = uuid7(), 1
    callback.accept(callback.created_at)
    for decision in callback.decisions:
        decision.callback_id = callback.id
    return callback


def _store(callback: Callback, asker: Principal) -> bool:
    """Insert a request of a member of staff, and remember what they chose; commits.

    False: its number or its key is taken, and nothing was done.
    """
    prepare_insert(callback)
    chosen = callback.line_id, callback.voice_id or ""
    is_new = asker.row_id is not None and chosen != (asker.line_id, asker.voice_id)
    with writing(single_statement=not callback.decisions and not is_new) as session:
        if not insert_or_ignore(session, callback):
            return False
        insert_rows(session, *callback.decisions)
        if is_new:
            line_id, voice_id = chosen
            session.execute(
                update(User).where(User.id == asker.row_id).values(last_line_id=line_id, last_voice_id=voice_id)
            )
    return True


def _collided(asker: Principal, callback: Callback, key: str | None, requested: CallbackRequest) -> AcceptedCallback:
    """Another request was faster: the same one under its key, or one for the same number."""
    earlier = _earlier(asker.portal.id, key, requested)
    if earlier is not None:
        return AcceptedCallback(earlier, replayed=True)
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

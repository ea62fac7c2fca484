"""Accept the callback requests of staff."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.errors import (
    InvalidRequest,
    LimitReached,
    NotFound,
    NumberInHand,
    NumberListed,
    PortalDisconnected,
    PortalUnpaid,
    Refusal,
)
from bx24app.models import (
    WAITING,
    Callback,
    DoNotCall,
    Portal,
    PortalState,
    Source,
    User,
    utcnow,
)
from bx24app.models.callbacks.state import WAITING_SQL
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.accept import accept, earlier_answer, prepare_for_insert
from bx24app.services.callbacks.conditions import NOT_LISTED, RETRIED_STORED, Candidate, Obstacle
from bx24app.services.callbacks.idempotency import request_digest, staff_key
from bx24app.services.callbacks.people import read_names
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import do_not_call, phone_numbers, spoken_text
from bx24app.services.calling.phone_numbers import NOTHING_READ, ReadNumber
from bx24app.services.portals import lines

FURTHEST_SCHEDULE = timedelta(days=366)
# So many may wait for one person, and for one number, when another one is planned.
MAX_WAITING, MAX_WAITING_FOR_NUMBER = 200, 10


@dataclass(frozen=True)
class CallbackRequest:
    """A request as it was sent; ``to_number`` is in any form that people write."""

    to_number: str
    line_id: str | None = None
    voice_id: str | None = None
    text: str | None = None
    scheduled_at: datetime | None = None
    crm_entity_type: str | None = None
    crm_entity_id: int | None = None
    # As the card has it.
    customer_name: str = ""

    def digest(self) -> str:
        """Return a digest that tells whether two requests under one idempotency key are the same."""
        return request_digest(self._asked())

    def _asked(self) -> dict[str, object]:
        """Return what makes two requests the same; a name, which may be spoken, only where there is one."""
        return {name: value for name, value in asdict(self).items() if value or name != "customer_name"}


@dataclass(frozen=True)
class AcceptedCallback:
    """The callback of a request; ``replayed`` means that the same request came before.

    ``number`` is what was typed, as it was read with ``country`` as its home.
    """

    callback: Callback
    replayed: bool = False
    number: ReadNumber = NOTHING_READ
    country: str | None = None


def request_callback(
    principal: Principal, requested: CallbackRequest, idempotency_key: str | None = None
) -> AcceptedCallback:
    """Accept a request of a member of staff, and wake a worker; commits.

    Idempotent under one key of the same person. The key is looked up only after an obstacle was found, because an
    earlier request under the same key is always an obstacle.

    Raises ``InvalidNumber``, ``NumberNotAllowed``, ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``,
    ``InvalidRequest``, ``LimitReached``, ``NumberInHand``, ``IdempotencyKeyReused``, ``PortalDisconnected``, or an
    ``ExchangeError`` when the lines are unknown and the portal could not be asked.
    """
    key, digest = staff_key(principal.user_id, idempotency_key), requested.digest()
    country = principal.portal.settings.default_country
    number = phone_numbers.read_number(requested.to_number, country)
    try:
        callback = prepare_callback(principal, requested)
    except (Refusal, ExchangeError):
        earlier = earlier_answer(principal.portal.id, key, digest)
        if not isinstance(earlier, Callback):
            raise
        return AcceptedCallback(earlier, True, number, country)
    callback.idempotency_key, callback.request_digest = key, digest
    return replace(accept_callback(principal, callback), number=number, country=country)


def accept_callback(principal: Principal, callback: Callback) -> AcceptedCallback:
    """Accept a prepared callback of a member of staff, and store the line and the voice that they chose; commits.

    Raises ``NumberListed``, ``NumberInHand``, ``IdempotencyKeyReused``, ``LimitReached``, and ``NotFound`` when it
    repeats a callback that was erased meanwhile.
    """
    digest = do_not_call.number_digest(callback.to_number)
    outcome = accept(lambda: Candidate(prepare_for_insert(callback), callback.created_at, number_digest=digest))
    if isinstance(outcome, Obstacle):
        if isinstance(outcome.earlier, Callback):
            return AcceptedCallback(outcome.earlier, replayed=True)
        if outcome.condition == RETRIED_STORED:
            raise NotFound
        if outcome.condition == NOT_LISTED:
            raise _listed(callback.portal_id, digest)
        holder = outcome.holder
        is_known = holder is not None and principal.own_of in (None, holder.requested_by)
        raise NumberInHand(holder.id if holder is not None and is_known else None)
    if callback.due_at > callback.created_at:
        _withdraw_surplus(callback)
    _remember_choice(principal, callback)
    return AcceptedCallback(callback)


def _withdraw_surplus(planned: Callback) -> None:
    """Take a plan back that was stored beside others in one moment, which together are too many; commits.

    Each that stays has counted all the others that stay. Raises ``LimitReached``.
    """
    try:
        with reading() as session:
            require_room(session, planned)
    except LimitReached:
        with writing() as session:
            stored = session.get(Callback, planned.id, with_for_update=True)
            if stored is not None and stored.state in WAITING:
                stored.cancel(utcnow())
                # The same request again is refused, not answered with what was taken back.
                stored.idempotency_key = stored.request_digest = None
        raise


def _listed(portal_id: int, digest: str) -> NumberListed:
    """Who has put a number on the list, and when; it may have been taken off in this moment."""
    row = select(DoNotCall).where(DoNotCall.portal_id == portal_id, DoNotCall.number_digest == digest)
    with reading() as session:
        listed = session.scalar(row)
        names = read_names(session, portal_id, [listed.added_by]) if listed else {}
    return NumberListed(names.get((listed and listed.added_by) or 0), listed.added_at if listed else utcnow())


def _remember_choice(principal: Principal, callback: Callback) -> None:
    line_id, voice_id = callback.line_id, callback.voice_id or ""
    if principal.row_id is None or (line_id, voice_id) == (principal.line_id, principal.voice_id):
        return
    with writing(single_statement=True) as session:
        chosen = {"last_line_id": line_id, "last_voice_id": voice_id}
        session.execute(update(User).where(User.id == principal.row_id).values(chosen))


def prepare_callback(principal: Principal, requested: CallbackRequest) -> Callback:
    """Make the callback of a request, without storing it; raises as ``request_callback`` does."""
    portal = principal.portal
    if portal.state != PortalState.INSTALLED:
        raise PortalUnpaid if portal.state == PortalState.UNPAID else PortalDisconnected
    line_id = requested.line_id or portal.settings.default_line_id
    if not line_id:
        raise InvalidRequest("line_id")
    number = phone_numbers.dialled_number(requested.to_number, portal.settings.default_country)
    voice_id = requested.voice_id or portal.settings.default_voice_id
    if voice_id:
        lines.require_voice(portal.id, voice_id)
    now = utcnow()
    due_at = due_time(requested.scheduled_at, now)
    callback = Callback(
        portal_id=portal.id,
        to_number=number,
        customer_name=spoken_text.one_line(requested.customer_name)[:255] or None,
        line_id=line_id,
        line_name=(lines.cached_line_name(portal, line_id) or lines.require_line(portal.id, line_id))[:255],
        voice_id=voice_id or None,
        text=_spoken(requested, portal),
        source=Source.STAFF,
        requested_by=principal.user_id,
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
    if due_at > now:
        with reading() as session:
            require_room(session, callback)
    return callback


def require_room(session: Session, planned: Callback) -> None:
    """Raise ``LimitReached`` where too many others wait for the person or the number of a callback that is planned."""
    others = select(func.count()).select_from(Callback)
    others = others.where(Callback.portal_id == planned.portal_id, WAITING_SQL, Callback.id != planned.id)
    if session.scalars(others.where(Callback.to_number == planned.to_number)).one() >= MAX_WAITING_FOR_NUMBER:
        raise LimitReached("to_number")
    theirs = others.where(Callback.source == Source.STAFF, Callback.requested_by == planned.requested_by)
    if planned.is_persons and session.scalars(theirs).one() >= MAX_WAITING:
        raise LimitReached("scheduled_at")


def _spoken(requested: CallbackRequest, portal: Portal) -> str:
    usual = portal.settings.default_text or spoken_text.default_text(portal.language)
    return spoken_text.staff_text(usual if requested.text is None else requested.text, requested.customer_name)


def due_time(scheduled_at: datetime | None, now: datetime) -> datetime:
    """Return when a request is due: at the chosen time within a year, else now; raises ``InvalidRequest``."""
    if scheduled_at is None:
        return now
    if not now - timedelta(minutes=1) <= scheduled_at <= now + FURTHEST_SCHEDULE:
        raise InvalidRequest("scheduled_at")
    return max(scheduled_at, now)

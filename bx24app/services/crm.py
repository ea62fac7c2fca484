"""Finding the customer of a website's request in the CRM, or making a card, without ever keeping the call waiting.

Making has no idempotency key, so it is fenced like a dial: marked and committed before the portal is asked. When the
answer is lost the number and our own mark on the card are looked up again, once the platform must have finished (it
cuts requests at 60 s); only a look that finds nothing lets it be asked a second and last time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from flask import Flask, current_app
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24 import crm
from bx24app.bitrix24.crm import Card, Known
from bx24app.bitrix24.errors import (
    AccessDenied,
    ApplicationRemoved,
    Bitrix24Error,
    CredentialRefused,
    InsufficientScope,
    Moved,
    NotSent,
    NoUsableAnswer,
    PaymentRequired,
    Refused,
    RefusedForNow,
    TokenExpired,
)
from bx24app.errors import Refusal
from bx24app.extensions import reading, writing
from bx24app.models import Callback, Form, Portal, PortalState, WebsiteRequest, utcnow
from bx24app.services import rest
from bx24app.services.couriers import Couriers

log = structlog.get_logger(__name__)

COURIERS = 8
LEASE = timedelta(seconds=90)
# Longer than the platform works at a request.
LOOK_AGAIN = timedelta(seconds=120)
ASKS = 2
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
GIVE_UP = timedelta(hours=24)
_EXTENSION = "bx24app.crm"
# Proven not executed, and worth another try; a portal that is unpaid or gone is not asked meanwhile.
PASSING = (NotSent, RefusedForNow, TokenExpired, Moved, CredentialRefused, ApplicationRemoved, PaymentRequired, Refusal)


@dataclass(frozen=True)
class Claim:
    """A request whose customer this courier alone looks for; ``asked`` and ``kind``: what was asked for before."""

    request_id: int
    callback_id: UUID
    portal_id: int
    at: datetime
    age: timedelta
    creates: bool
    kind: str
    asked: int
    card: Card = field(repr=False)


def _due(now: datetime) -> Select[WebsiteRequest, Callback, Form]:
    """The request due longest, of an installed portal for which no other is being looked for."""
    other, others = aliased(WebsiteRequest), aliased(Callback)
    # Asked for as a whole: those under way are few, the callbacks of one portal may be many.
    busy = (
        select(others.portal_id)
        .join(other, others.id == other.callback_id)
        .where(other.crm_due_at.is_not(None), other.crm_leased_until >= now)
    )
    return (
        select(WebsiteRequest, Callback, Form)
        .join(Callback, Callback.id == WebsiteRequest.callback_id)
        .join(Form, Form.id == WebsiteRequest.form_id)
        .join(Portal, Portal.id == Callback.portal_id)
        .where(WebsiteRequest.crm_due_at <= now, Portal.state == PortalState.INSTALLED)
        .where(Callback.portal_id.not_in(busy))
        .order_by(WebsiteRequest.crm_due_at)
        .limit(1)
    )


def claim() -> Claim | None:
    """Take the next due request, or None. Commits; the claim ends with its lease."""
    with reading() as session:
        if session.execute(_due(utcnow()).with_only_columns(WebsiteRequest.id)).first() is None:
            return None
    with writing() as session:
        now = utcnow()
        found = session.execute(_due(now).with_for_update(of=WebsiteRequest, skip_locked=True)).first()
        if found is None:
            return None
        request, callback, form = found
        request.lease_crm(now, now + LEASE)
        return _claim(request, callback, form)


def _claim(request: WebsiteRequest, callback: Callback, form: Form) -> Claim:
    _, kind, asked = request.crm_state.split("_") if request.crm_state.startswith("asking_") else ("", "", "0")
    assert request.crm_tried_at is not None
    card = Card(
        origin=str(callback.id),
        number=callback.to_number,
        name=request.name,
        form=form.name,
        topic=request.topic,
        page=request.page,
        marks={str(mark): str(value) for mark, value in request.utm.items()},
    )
    return Claim(
        request_id=request.id,
        callback_id=callback.id,
        portal_id=callback.portal_id,
        at=request.crm_tried_at,
        age=request.crm_tried_at - request.created_at,
        creates=form.creates_lead,
        kind=kind.upper(),
        asked=int(asked),
        card=card,
    )


def follow(claim: Claim) -> None:
    """Look the customer up, or make a card; whatever happens is kept with the request."""
    origin = {"ORIGIN_ID": claim.card.origin}
    label = rest.Label("batch", {"crm.duplicate.findbycomm": claim.card.number, **origin})
    try:
        known = rest.ask_for_portal(
            claim.portal_id, label, lambda client: crm.look(client, claim.card.number, claim.card.origin)
        )
    except (Bitrix24Error, Refusal) as error:
        _looked_in_vain(claim, error)
        return
    _decide(claim, known)


def _decide(claim: Claim, known: Known) -> None:
    if "DEAL" in known.made or "LEAD" in known.made:
        _end(claim, "created", _ours(known))
    elif claim.kind == "DEAL" or "CONTACT" in known.made:
        # The person is made, the deal is not, or not yet.
        _make(claim, "DEAL", claim.asked if claim.kind == "DEAL" else 0, known.made.get("CONTACT"))
    elif known.customer is not None:
        _end(claim, "found", known.customer)
    elif known.denied is not None:
        _looked_in_vain(claim, known.denied)
    elif claim.creates:
        _make(claim, "CONTACT" if known.is_simple else "LEAD", claim.asked)
    else:
        _end(claim, "", None)


def _ours(known: Known) -> tuple[str, int]:
    kind = next(kind for kind in ("CONTACT", "LEAD", "DEAL") if kind in known.made)
    return kind, known.made[kind]


def _make(claim: Claim, kind: str, asked: int, contact_id: int | None = None) -> None:
    """Ask for a new card: marked before, so that a lost answer is never followed by a blind second request."""
    if asked >= ASKS:
        _end(claim, "failed", ("CONTACT", contact_id) if contact_id else None, "crm_unknown")
        return
    if not _mark(claim, kind, asked + 1):
        return
    label = rest.Label(f"crm.{kind.lower()}.add", {"ORIGIN_ID": claim.card.origin})
    try:
        made = rest.ask_for_portal(
            claim.portal_id, label, lambda client: crm.make(client, kind, claim.card, contact_id)
        )
    except NoUsableAnswer as error:
        log.info("crm_unknown", callback=str(claim.callback_id), reason=error.code)
        _wait(claim, LOOK_AGAIN)
    except (Bitrix24Error, Refusal) as error:
        _not_made(claim, kind, asked, error)
    else:
        _made(claim, kind, made, contact_id)


def _made(claim: Claim, kind: str, made: int, contact_id: int | None) -> None:
    if kind != "CONTACT":
        _end(claim, "created", ("CONTACT", contact_id) if contact_id else (kind, made))
        return
    with writing() as session:
        callback = session.get(Callback, claim.callback_id, with_for_update=True)
        if callback is not None:
            _show(callback, "CONTACT", made)
    _make(claim, "DEAL", 0, made)


def _not_made(claim: Claim, kind: str, asked: int, error: Bitrix24Error | Refusal) -> None:
    """Nothing was executed: it is tried later, or told to people."""
    if not isinstance(error, PASSING) or claim.age > GIVE_UP:
        _end(claim, "failed", None, _reason(error), getattr(error, "words", None))
        return
    with writing() as session:
        request = _claimed(session, claim)
        if request is not None:
            request.ask_crm(kind, asked, utcnow())
            request.wait_for_crm(utcnow() + _pause(claim))


def _looked_in_vain(claim: Claim, error: Bitrix24Error | Refusal) -> None:
    """Looking harms nobody: it is repeated unless the portal said no."""
    said_no = isinstance(error, Refused) and not isinstance(error, PASSING)
    if said_no or claim.age > GIVE_UP:
        _end(claim, "failed", None, _reason(error), getattr(error, "words", None))
    else:
        _wait(claim, _pause(claim))


def _pause(claim: Claim) -> timedelta:
    return min(max(SHORTEST_WAIT, claim.age / 2), LONGEST_WAIT)


def _reason(error: Bitrix24Error | Refusal) -> str:
    """The code of the sentence that explains it."""
    words = str(getattr(error, "words", "") or "").casefold()
    if isinstance(error, InsufficientScope):
        return "crm_scope"
    if isinstance(error, AccessDenied) or words.startswith("access denied"):
        return "crm_denied"  # The methods of the CRM answer an empty code.
    return "crm_refused" if isinstance(error, Refused) and not isinstance(error, PASSING) else "crm_silent"


def _claimed(session: Session, claim: Claim) -> WebsiteRequest | None:
    """The request, locked, if the claim still stands."""
    request = session.get(WebsiteRequest, claim.request_id, with_for_update=True)
    stands = request is not None and request.crm_tried_at == claim.at and request.crm_due_at is not None
    return request if stands else None


def _mark(claim: Claim, kind: str, number: int) -> bool:
    """Commit that the CRM is about to be asked; False when somebody else does, or asks for the same number."""
    with writing() as session:
        # Locked first, so that two requests of one number do not both find nothing.
        session.get(Portal, claim.portal_id, with_for_update=True)
        request = _claimed(session, claim)
        if request is None:
            return False
        if _is_asked_for(session, request, claim.portal_id):
            request.wait_for_crm(utcnow() + SHORTEST_WAIT)
            return False
        now = utcnow()
        request.ask_crm(kind, number, now + LOOK_AGAIN)
        request.crm_leased_until = now + LEASE
    return True


def _is_asked_for(session: Session, request: WebsiteRequest, portal_id: int) -> bool:
    other = (
        select(WebsiteRequest.id)
        .join(Callback, Callback.id == WebsiteRequest.callback_id)
        .where(Callback.portal_id == portal_id, WebsiteRequest.id != request.id)
        .where(WebsiteRequest.number_digest == request.number_digest, WebsiteRequest.crm_due_at.is_not(None))
        .where(WebsiteRequest.crm_state.startswith("asking_"))
    )
    return session.scalar(other.limit(1)) is not None


def _wait(claim: Claim, pause: timedelta) -> None:
    with writing() as session:
        request = _claimed(session, claim)
        if request is not None:
            request.wait_for_crm(utcnow() + pause)


def _show(callback: Callback, kind: str, number: int) -> None:
    """Show the callback in the card, unless it was asked for in another one."""
    if callback.crm_entity_id is None:
        callback.crm_entity_type, callback.crm_entity_id = kind, number


def _end(
    claim: Claim, state: str, entity: tuple[str, int] | None, reason: str | None = None, words: str | None = None
) -> None:
    with writing() as session:
        # The callback first, like everybody who locks one.
        callback = session.get(Callback, claim.callback_id, with_for_update=True)
        request = _claimed(session, claim)
        if callback is None or request is None:
            return
        if entity is not None:
            _show(callback, *entity)
        request.settle_crm(state, reason, words)
        if state:
            kind, number = entity or (None, None)
            callback.decide(f"crm_{state}", utcnow(), entity=kind, id=number, reason=reason)
    log.info("crm_settled", callback=str(claim.callback_id), state=state, reason=reason)


def start_due() -> int:
    """Start what is due in this process; a chore of the worker."""
    couriers: Couriers[Claim] = current_app.extensions[_EXTENSION]
    return couriers.start_due()


def init_app(app: Flask) -> None:
    """Have couriers ready for a worker."""
    app.extensions[_EXTENSION] = Couriers(app, COURIERS, claim, follow)

"""Website requests whose customer is still to be found in the CRM: leasing one, postponing it, ending its search."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24.crm import NewCard
from bx24app.bitrix24.errors import (
    AccessDenied,
    Bitrix24Error,
    InsufficientScope,
)
from bx24app.database import reading, writing
from bx24app.errors import Refusal, Retry
from bx24app.models import Callback, CrmState, Form, Portal, PortalSettings, PortalState, WebsiteRequest, utcnow
from bx24app.models.lease import is_lasting
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals.throttle import without_spare

log = structlog.get_logger(__name__)


CRM_LEASE = timedelta(seconds=90)


SHORTEST_CRM_WAIT, LONGEST_CRM_WAIT = timedelta(seconds=30), timedelta(hours=1)


GIVE_UP_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class CrmLease:
    """A request whose customer only this thread searches; ``kind`` was asked for before, ``asked`` times.

    ``countries`` are those in whose way the portal's people write numbers.
    """

    request_id: int
    callback_id: UUID
    portal_id: int
    lease_fence: int
    age: timedelta
    creates: bool
    kind: str
    asked: int
    countries: frozenset[str]
    card: NewCard = field(repr=False)


def due_requests(now: datetime, besides: Collection[int] = ()) -> Select[WebsiteRequest, Callback, Form, str | None]:
    """Select the request that is due longest, of an installed portal for which no other search is under way."""
    other, others = aliased(WebsiteRequest), aliased(Callback)
    # One query over all portals, not one per portal: only few rows are under way, but a portal may have many callbacks.
    busy = (
        select(others.portal_id)
        .join(other, others.id == other.callback_id)
        .where(other.crm_due_at.is_not(None), is_lasting(other.leased_until, now, CRM_LEASE))
    )
    return (
        select(WebsiteRequest, Callback, Form, PortalSettings.default_country)
        .join(Callback, Callback.id == WebsiteRequest.callback_id)
        .join(Form, Form.id == WebsiteRequest.form_id)
        .join(Portal, Portal.id == Callback.portal_id)
        .join(PortalSettings, PortalSettings.portal_id == Portal.id)
        .where(WebsiteRequest.crm_due_at <= now, Portal.state == PortalState.INSTALLED)
        .where(Callback.portal_id.not_in(busy), Callback.portal_id.not_in(besides))
        .where(Callback.portal_id.not_in(without_spare(now)))
        .order_by(WebsiteRequest.crm_due_at)
        .limit(1)
    )


def lease_crm_request(besides: Collection[int] = ()) -> CrmLease | None:
    """Lease the next due request, or return None; commits. The lease ends by itself when its worker dies.

    Portals ``besides``, and those whose pace dials and people need now, are passed over.
    """
    with reading() as session:
        if session.scalar(due_requests(utcnow(), besides).with_only_columns(WebsiteRequest.id)) is None:
            return None
    with writing() as session:
        now = utcnow()
        due = due_requests(now, besides).with_for_update(of=WebsiteRequest, skip_locked=True)
        found = session.execute(due).first()
        if found is None:
            return None
        request, callback, form, country = found
        return _lease_of(request, callback, form, country, now)


def _lease_of(request: WebsiteRequest, callback: Callback, form: Form, country: str | None, now: datetime) -> CrmLease:
    card = NewCard(
        origin=str(callback.id),
        number=callback.to_number,
        name=request.name,
        form=form.name,
        topic=request.topic,
        page=request.page,
        utm={str(name): str(value) for name, value in request.utm.items()},
    )
    return CrmLease(
        request_id=request.id,
        callback_id=callback.id,
        portal_id=callback.portal_id,
        lease_fence=request.lease(now, CRM_LEASE),
        age=now - request.created_at,
        creates=form.creates_lead,
        kind=request.crm_kind or "",
        asked=request.crm_asks,
        countries=frozenset(filter(None, (country, form.default_country))),
        card=card,
    )


def is_final(error: ExchangeError | Refusal) -> bool:
    """Tell whether the CRM itself said no.

    A portal that is unpaid or gone may come back within the day, and is not asked meanwhile.
    """
    said_no = isinstance(error, Bitrix24Error) and error.retry is Retry.NEVER
    return said_no and not error.revokes_credential


def pause_after(lease: CrmLease) -> timedelta:
    """Tell how long a request waits before the next try; the older it is, the longer."""
    return min(max(SHORTEST_CRM_WAIT, lease.age / 2), LONGEST_CRM_WAIT)


def reason_of(error: ExchangeError | Refusal) -> str:
    """Return the code of the sentence that explains the error."""
    if isinstance(error, InsufficientScope):
        return "crm_scope"
    if isinstance(error, AccessDenied) or (error.words or "").casefold().startswith("access denied"):
        return "crm_denied"  # CRM methods answer with an empty code.
    return "crm_refused" if is_final(error) else "crm_silent"


def leased_request(session: Session, lease: CrmLease) -> WebsiteRequest | None:
    """Lock and return the leased request; None when the lease has ended or the search is over."""
    request = session.get(WebsiteRequest, lease.request_id, with_for_update=True)
    stands = request is not None and request.holds(lease.lease_fence) and request.crm_due_at is not None
    return request if stands else None


def put_off(lease: CrmLease, pause: timedelta) -> None:
    """Let the request wait; commits."""
    with writing() as session:
        request = leased_request(session, lease)
        if request is not None:
            request.wait_for_crm(utcnow() + pause)


def show_in_card(callback: Callback, kind: str, number: int) -> None:
    """Show the callback in the card, unless it was asked for in another one."""
    if callback.crm_entity_id is None:
        callback.crm_entity_type, callback.crm_entity_id = kind, number


def settle(
    lease: CrmLease,
    state: CrmState,
    entity: tuple[str, int] | None,
    reason: str | None = None,
    words: str | None = None,
) -> None:
    """End the search with its state, and show the callback in the found card; commits."""
    with writing() as session:
        # The callback is locked first, as everywhere, so that two transactions cannot deadlock.
        callback = session.get(Callback, lease.callback_id, with_for_update=True)
        request = leased_request(session, lease)
        if callback is None or request is None:
            return
        if entity is not None:
            show_in_card(callback, *entity)
        request.settle_crm(state, reason, words)
        if state:
            kind, number = entity or (None, None)
            callback.decide(f"crm_{state}", utcnow(), entity=kind, id=number, reason=reason)
    log.info("crm_settled", callback=str(lease.callback_id), state=state, reason=reason)

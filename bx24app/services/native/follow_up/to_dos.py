"""Making the to-do "Call back" on the customer's card, once, and completing it when nobody has to call any more.

Making has no idempotency key: the CRM is marked as asked before it is. When the answer is lost the card is looked at,
once the platform must have finished; only a look that finds nothing lets it be asked a second and last time.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24.errors import Bitrix24Error, MethodRefused
from bx24app.bitrix24.people.reminders import (
    CardOwner,
    LookedAtCard,
    NewToDo,
    add_to_do,
    complete_to_do,
    look_at_card,
    owner_of,
)
from bx24app.database import reading, writing
from bx24app.errors import Refusal, Retry
from bx24app.i18n import speaking_to
from bx24app.models import Callback, CrmState, Portal, PortalState, ToDo, WebsiteRequest, utcnow
from bx24app.models.lease import is_lasting
from bx24app.outgoing.errors import ExchangeError, NoUsableAnswer
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.native.follow_up.recipients import usual_person
from bx24app.services.native.leasing import lease_first
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.throttle import without_spare

log = structlog.get_logger(__name__)

TODO_LEASE = timedelta(seconds=90)
# Longer than the platform works on one request.
TODO_ANSWER_PAUSE = timedelta(seconds=120)
MAX_TODO_ASKS = 2
TODO_BACKOFF = (30, 120, 600, 3600)
TODO_WITHIN = timedelta(days=2)
# The card of a website's customer is looked for meanwhile.
CARD_PAUSE = timedelta(seconds=30)
# In the company's hours, so that nobody is late before they have seen it.
CALL_BACK_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class ToDoLease:
    """A to-do about which only this thread asks the CRM."""

    to_do_id: int
    portal_id: int
    lease_fence: int


@dataclass(frozen=True)
class ToDoWords:
    """What a to-do says; the description holds the callback's id, by which it is found again."""

    title: str = field(repr=False)
    description: str = field(repr=False)


DescribeToDo = Callable[[Portal, Callback], ToDoWords]


def due_to_dos(now: datetime, besides: Collection[int] = ()) -> Select[ToDo]:
    """Select the to-do that is due longest, of a portal for whose to-dos nothing is being done."""
    busy = aliased(ToDo)
    under_way = select(busy.portal_id).where(busy.due_at.is_not(None), is_lasting(busy.leased_until, now, TODO_LEASE))
    return (
        select(ToDo)
        .join(Portal, Portal.id == ToDo.portal_id)
        .where(ToDo.due_at <= now, Portal.state == PortalState.INSTALLED, ToDo.portal_id.not_in(without_spare(now)))
        .where(ToDo.portal_id.not_in(under_way), ToDo.portal_id.not_in(besides))
        .order_by(ToDo.due_at, ToDo.id)
        .limit(1)
    )


def lease_to_do(besides: Collection[int] = ()) -> ToDoLease | None:
    """Lease the next due to-do of no portal ``besides``, or return None; commits."""
    to_do = lease_first(ToDo, lambda now: due_to_dos(now, besides), TODO_LEASE)
    return ToDoLease(to_do.id, to_do.portal_id, to_do.lease_fence) if to_do else None


def _leased(session: Session, lease: ToDoLease) -> ToDo | None:
    """Lock and return the to-do; None when the lease, or the to-do, has ended."""
    to_do = session.get(ToDo, lease.to_do_id, with_for_update=True)
    stands = to_do is not None and to_do.holds(lease.lease_fence) and to_do.ended_at is None
    return to_do if stands else None


def _put_off(lease: ToDoLease, pause: timedelta) -> None:
    with writing() as session:
        if (to_do := _leased(session, lease)) is not None:
            to_do.put_off(utcnow() + pause)


def _end(lease: ToDoLease, reason: str | None = None) -> None:
    with writing() as session:
        if (to_do := _leased(session, lease)) is not None:
            to_do.end(utcnow(), reason)
    log.info("to_do_ended", to_do=lease.to_do_id, reason=reason)


def work_on_to_do(lease: ToDoLease, describe: DescribeToDo) -> None:
    """Make a leased to-do, look for it, or complete it; ``describe`` gives its words. Commits."""
    with reading() as session:
        to_do, portal = session.get(ToDo, lease.to_do_id), session.get(Portal, lease.portal_id)
        callback = session.get(Callback, to_do.callback_id) if to_do is not None else None
    if to_do is None or portal is None or callback is None:
        return
    try:
        if to_do.activity_id is not None:
            _complete(lease, to_do.activity_id)
        else:
            _make(lease, to_do, callback, portal, describe)
    except (ExchangeError, Refusal) as error:
        _failed(lease, to_do, error)


def _failed(lease: ToDoLease, to_do: ToDo, error: ExchangeError | Refusal) -> None:
    """What the CRM refuses is the end; a portal that is silent or busy is asked again, two days long."""
    said_no = isinstance(error, Bitrix24Error) and error.retry is Retry.NEVER and not error.revokes_credential
    log.info("to_do_failed", to_do=lease.to_do_id, reason=error.code)
    if said_no or utcnow() - to_do.made_at > TODO_WITHIN:
        # Somebody who has deleted it, or the card, has done what was to be done.
        _end(lease, None if to_do.activity_id is not None and isinstance(error, MethodRefused) else error.code)
    else:
        _put_off(lease, timedelta(seconds=TODO_BACKOFF[min(to_do.tries, len(TODO_BACKOFF) - 1)]))


def _complete(lease: ToDoLease, activity_id: int) -> None:
    label = portal_api.RequestLabel("crm.activity.update", {"id": activity_id})
    portal_api.call_for_portal(lease.portal_id, label, lambda client: complete_to_do(client, activity_id))
    _end(lease)


def _make(lease: ToDoLease, to_do: ToDo, callback: Callback, portal: Portal, describe: DescribeToDo) -> None:
    with reading() as session:
        owner, is_looked_for = _owner(session, callback)
        person = usual_person(session, callback)
    if owner is None:
        if is_looked_for:
            _put_off(lease, CARD_PAUSE)
        else:
            _end(lease, "to_do_no_card")
        return
    try:
        label = portal_api.RequestLabel("batch", {"card": f"{owner.kind} {owner.id}"})
        card = portal_api.call_for_portal(
            portal.id, label, lambda client: look_at_card(client, owner, str(callback.id))
        )
    except MethodRefused:
        # The CRM answers so when a card is gone, and when the app may not read it.
        _end(lease, "to_do_card_gone")
        return
    if card.to_do is not None:
        _open(lease, card.to_do)
    elif to_do.is_settled or to_do.asks >= MAX_TODO_ASKS:
        _end(lease, None if to_do.is_settled else "to_do_unknown")
    else:
        _add(lease, _wanted(portal, callback, owner, card, person, describe))


def _owner(session: Session, callback: Callback) -> tuple[CardOwner | None, bool]:
    """The card of a callback, and whether the CRM is still being searched for one."""
    if callback.crm_entity_type and callback.crm_entity_id:
        return owner_of(callback.crm_entity_type, callback.crm_entity_id), False
    request = session.scalar(select(WebsiteRequest).where(WebsiteRequest.callback_id == callback.id))
    is_looked_for = request is not None and (request.crm_due_at is not None or request.crm_state == CrmState.ASKING)
    return None, is_looked_for


def _wanted(
    portal: Portal, callback: Callback, owner: CardOwner, card: LookedAtCard, person: int | None, describe: DescribeToDo
) -> NewToDo:
    with speaking_to(portal.language):
        words = describe(portal, callback)
    return NewToDo(
        owner=owner,
        title=words.title,
        description=words.description,
        responsible=card.responsible if card.responsible is not None else person,
        deadline=_deadline(portal),
    )


def _deadline(portal: Portal) -> datetime:
    """In an hour, or when the company opens next, by its clock."""
    wanted, hours = utcnow() + CALL_BACK_WITHIN, hours_in_force(portal)
    if hours is None:
        return wanted
    return (hours.next_open(wanted) or wanted).astimezone(ZoneInfo(hours.zone))


def _add(lease: ToDoLease, wanted: NewToDo) -> None:
    if not _mark(lease):
        return
    label = portal_api.RequestLabel("crm.activity.todo.add", {"owner": f"{wanted.owner.kind} {wanted.owner.id}"})
    try:
        made = portal_api.call_for_portal(lease.portal_id, label, lambda client: add_to_do(client, wanted))
    except NoUsableAnswer as error:
        log.info("to_do_unknown", to_do=lease.to_do_id, reason=error.code)
        _put_off(lease, TODO_ANSWER_PAUSE)
        return
    except (ExchangeError, Refusal):
        _unmark(lease)
        raise
    _open(lease, made)


def _mark(lease: ToDoLease) -> bool:
    """Commit that the CRM is about to be asked; False when the lease has ended, or nobody has to call any more."""
    with writing() as session:
        to_do = _leased(session, lease)
        if to_do is None or to_do.is_settled:
            return False
        to_do.ask(utcnow() + TODO_ANSWER_PAUSE)
    return True


def _unmark(lease: ToDoLease) -> None:
    """A refusal has executed nothing."""
    with writing() as session:
        if (to_do := _leased(session, lease)) is not None:
            to_do.asks -= 1


def _open(lease: ToDoLease, activity_id: int) -> None:
    with writing() as session:
        if (to_do := _leased(session, lease)) is not None:
            to_do.open(activity_id, utcnow())
    log.info("to_do_made", to_do=lease.to_do_id)

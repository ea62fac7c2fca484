"""Sending notifications: to one person at a time, at most 20 an hour, and the rest of the hour together as one.

Whoever may use the app may send one, so that the loss of the administrators' access is told with anybody's. A lost
answer is followed by the same again, which takes the place of the first by its tag.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.errors import AccessDenied, Bitrix24Error
from bx24app.bitrix24.people.reminders import NoticeText, send_notification, withdraw_notification
from bx24app.database import purge, reading, writing
from bx24app.errors import PortalDisconnected, Refusal, Retry
from bx24app.i18n import speaking_to
from bx24app.models import (
    Callback,
    Credential,
    CredentialState,
    Notification,
    NotifiedPerson,
    Portal,
    PortalState,
    utcnow,
)
from bx24app.models.lease import is_lasting
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.native.follow_up.notices import MOST_TO_TELL, WITHDRAWN
from bx24app.services.native.leasing import lease_first
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal
from bx24app.services.portals.throttle import without_spare
from bx24app.services.portals.tokens import MAX_ADMINISTRATORS
from bx24app.services.runtime.slow_portals import ROUND_SECONDS

log = structlog.get_logger(__name__)

NOTICE_LEASE = timedelta(seconds=120)
# Sent to a person before others have their turn.
SENT_IN_TURN = 5
NOTICE_BACKOFF = (30, 120, 600, 3600)
NOTICE_WITHIN = timedelta(days=1)
NOTICES_KEPT = timedelta(days=30)
SUMMARY = "summary"


@dataclass(frozen=True)
class NoticeLease:
    """Somebody to whom only this thread sends."""

    person_id: int
    portal_id: int
    lease_fence: int


@dataclass(frozen=True)
class ToldThing:
    """What a notification is about; ``count``: of how many things a summary tells."""

    portal: Portal
    event: str
    callback: Callback | None = None
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    count: int = 1


DescribeNotice = Callable[[ToldThing], NoticeText]


def due_people(now: datetime, besides: Collection[int] = ()) -> Select[NotifiedPerson]:
    """Select whoever waits longest, of a portal in which nobody is being told anything now."""
    busy = aliased(NotifiedPerson)
    under_way = select(busy.portal_id).where(busy.due_at.is_not(None), is_lasting(busy.leased_until, now, NOTICE_LEASE))
    # Of an unpaid portal, or one without the app, nobody can be reached.
    reachable = Portal.state.in_((PortalState.INSTALLED, PortalState.DISCONNECTED))
    return (
        select(NotifiedPerson)
        .join(Portal, Portal.id == NotifiedPerson.portal_id)
        .where(NotifiedPerson.due_at <= now, reachable, NotifiedPerson.portal_id.not_in(without_spare(now)))
        .where(NotifiedPerson.portal_id.not_in(under_way), NotifiedPerson.portal_id.not_in(besides))
        .order_by(NotifiedPerson.due_at, NotifiedPerson.id)
        .limit(1)
    )


def lease_person(besides: Collection[int] = ()) -> NoticeLease | None:
    """Lease the next person of no portal ``besides`` to be told something, or return None; commits."""
    person = lease_first(NotifiedPerson, lambda now: due_people(now, besides), NOTICE_LEASE)
    return NoticeLease(person.id, person.portal_id, person.lease_fence) if person else None


def tell_person(lease: NoticeLease, describe: DescribeNotice) -> None:
    """Send somebody what is due, and look again when more is; ``describe`` gives the words. Commits."""
    with reading() as session:
        person, portal = session.get(NotifiedPerson, lease.person_id), session.get(Portal, lease.portal_id)
        rows = _waiting(session, person, SENT_IN_TURN) if person is not None else []
        held = [row for row in rows if row.is_held]
    if person is None or portal is None:
        return
    if len(held) > 1:
        _send_summary(lease, person, portal, describe)
    began = time.monotonic()
    for row in rows if len(held) <= 1 else ():
        is_answered = _send_one(lease, person, portal, row, describe)
        if not is_answered or time.monotonic() - began > ROUND_SECONDS:
            break
    _look_again(lease)


def _waiting(session: Session, person: NotifiedPerson, most: int) -> Sequence[Notification]:
    """What is due for somebody; what was held comes first."""
    theirs = _of(person).where(Notification.due_at <= utcnow())
    return session.scalars(
        theirs.order_by(Notification.is_held.desc(), Notification.due_at, Notification.id).limit(most)
    ).all()


def _of(person: NotifiedPerson) -> Select[Notification]:
    return select(Notification).where(
        Notification.portal_id == person.portal_id, Notification.user_id == person.user_id
    )


def _look_again(lease: NoticeLease) -> None:
    """Give the lease back; whoever has more to be told is due when the first of it is."""
    with writing() as session:
        person = _leased(session, lease)
        if person is None:
            return
        person.due_at = session.scalar(_of(person).with_only_columns(func.min(Notification.due_at)))
        person.release()


def _leased(session: Session, lease: NoticeLease) -> NotifiedPerson | None:
    person = session.get(NotifiedPerson, lease.person_id, with_for_update=True)
    return person if person is not None and person.holds(lease.lease_fence) else None


def _take_room(lease: NoticeLease, row_id: int) -> bool:
    """Count one more that is sent to somebody; False where it is not: they have had enough, or want nothing."""
    with writing() as session:
        person, row = _leased(session, lease), session.get(Notification, row_id, with_for_update=True)
        if person is None or row is None or row.due_at is None:
            return False
        if person.is_muted:
            row.give_up("muted")
            return False
        if person.room(now := utcnow()) < 1 and person.hour_ends_at is not None:
            waiting = _of(person).where(Notification.due_at <= now, Notification.event != WITHDRAWN)
            for one in session.scalars(waiting.limit(MOST_TO_TELL).with_for_update()):
                one.hold(person.hour_ends_at)
            return False
        person.sent += 1
    return True


def _send_one(
    lease: NoticeLease, person: NotifiedPerson, portal: Portal, row: Notification, describe: DescribeNotice
) -> bool:
    """Send one notification, or take it back; False where the portal cannot be asked for another one now."""
    tag = f"{row.tag}-{person.user_id}"
    if row.event == WITHDRAWN:
        return _try(portal, row, "im.notify.delete", lambda client: _withdrawn(client, tag))
    with reading() as session:
        callback = session.get(Callback, row.callback_id) if row.callback_id is not None else None
    if not _take_room(lease, row.id):
        return True
    with speaking_to(portal.language):
        text = describe(ToldThing(portal, row.event, callback, row.facts))
    return _try(
        portal, row, "im.notify.system.add", lambda client: send_notification(client, person.user_id, tag, text)
    )


def _withdrawn(client: PortalClient, tag: str) -> bool:
    withdraw_notification(client, tag)
    return True


def _try(portal: Portal, row: Notification, method: str, work: Callable[[PortalClient], bool]) -> bool:
    label = portal_api.RequestLabel(method, {"event": row.event})
    try:
        is_taken = _call_as_anybody(portal.id, label, work)
    except (ExchangeError, Refusal) as error:
        _not_sent(row, error)
        return False
    _note_sent(portal, row, is_taken=is_taken)
    return True


def _note_sent(portal: Portal, row: Notification, *, is_taken: bool) -> None:
    with writing() as session:
        mine = session.get(Notification, row.id, with_for_update=True)
        # Another one may have taken its place meanwhile.
        if mine is not None and (mine.made_at, mine.event) == (row.made_at, row.event):
            if row.event == WITHDRAWN:
                session.delete(mine)
            elif is_taken:
                mine.note_sent(utcnow())
            else:
                mine.give_up("not_taken")
    log.info("notification_sent", member_id=portal.member_id, kind=row.event, taken=is_taken)
    if mine is None and row.event != WITHDRAWN:
        # The customer was reached in this moment.
        tag = f"{row.tag}-{row.user_id}"
        label = portal_api.RequestLabel("im.notify.delete", {"event": WITHDRAWN})
        _call_as_anybody(portal.id, label, lambda client: _withdrawn(client, tag))


def _not_sent(row: Notification, error: ExchangeError | Refusal) -> None:
    """What the portal refuses is not sent; one that is busy or silent, or lets nobody in, is asked again for a day."""
    said_no = isinstance(error, Bitrix24Error) and error.retry is Retry.NEVER and not error.revokes_credential
    now = utcnow()
    log.info("notification_not_sent", notification=row.id, reason=error.code)
    with writing() as session:
        mine = session.get(Notification, row.id, with_for_update=True)
        if mine is None or (mine.made_at, mine.event) != (row.made_at, row.event):
            return  # Another one has taken its place meanwhile.
        if said_no or now - mine.made_at > NOTICE_WITHIN:
            mine.give_up(error.code)
        else:
            mine.put_off(now + timedelta(seconds=NOTICE_BACKOFF[min(mine.tries, len(NOTICE_BACKOFF) - 1)]))


def _call_as_anybody(portal_id: int, label: portal_api.RequestLabel, work: Callable[[PortalClient], bool]) -> bool:
    """Ask under the portal's own access, or where there is none any more under that of anybody who uses the app."""
    alive = (
        select(Credential.id)
        .where(Credential.portal_id == portal_id, Credential.state == CredentialState.ALIVE)
        .order_by(Credential.service_since.is_(None), Credential.service_since, Credential.used_at.desc())
        .limit(MAX_ADMINISTRATORS)
    )
    with reading() as session:
        ids = session.scalars(alive).all()
    last: ExchangeError | Refusal = PortalDisconnected()
    for credential_id in ids:
        try:
            return portal_api.call(token_renewal.open_access(credential_id), label, work)
        except Refusal as error:
            last = error
        except ExchangeError as error:
            # Of this person alone: somebody else may be let in.
            if not (error.revokes_credential or isinstance(error, AccessDenied)):
                raise
            last = error
    raise last


def _send_summary(lease: NoticeLease, person: NotifiedPerson, portal: Portal, describe: DescribeNotice) -> None:
    """Tell in one notification of all that was held for somebody."""
    with reading() as session:
        held = session.scalars(_of(person).where(Notification.is_held).limit(MOST_TO_TELL)).all()
    if not _take_room(lease, held[0].id):
        return
    with speaking_to(portal.language):
        text = describe(ToldThing(portal, SUMMARY, count=len(held)))
    label = portal_api.RequestLabel("im.notify.system.add", {"event": SUMMARY})
    tag = f"{SUMMARY}-{person.user_id}"
    try:
        _call_as_anybody(portal.id, label, lambda client: send_notification(client, person.user_id, tag, text))
    except (ExchangeError, Refusal) as error:
        for row in held:
            _not_sent(row, error)
        return
    with writing() as session:
        for row in held:
            mine = session.get(Notification, row.id, with_for_update=True)
            if mine is not None and mine.is_held:
                mine.note_sent(utcnow())
    log.info("notifications_summed_up", member_id=portal.member_id, count=len(held))


def purge_notifications() -> int:
    """Delete what was told, or could not be told, a month ago; returns how many rows."""
    is_old = Notification.due_at.is_(None) & (Notification.made_at < utcnow() - NOTICES_KEPT)
    return purge(Notification, is_old)

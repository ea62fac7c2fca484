"""Clicks of which nobody could say, when they came, who has made them: they are worked on for two minutes.

A click is for what the person saw when they clicked. So it is done only within two minutes, and only while nothing else
has happened to the callback. Later a call would surprise whoever has pressed the button and gone on to something else:
the activity says that it was not done, and the button can be pressed again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24.timeline import ClickAction
from bx24app.crypto import SealBroken, UnknownKey, keyring
from bx24app.database import insert_new, reading, writing
from bx24app.errors import RateLimited, Retry, Unverified
from bx24app.log import name_portal
from bx24app.models import KeptClick, Portal, PortalState, TimelineEntry, utcnow
from bx24app.models.lease import CLOCK_SLACK, is_lasting
from bx24app.services.callbacks.principal import Principal
from bx24app.services.native.leasing import lease_first
from bx24app.services.native.timeline import click_actions
from bx24app.services.security import digests

log = structlog.get_logger(__name__)

# Of one portal: whoever knows its application token can make them up while nobody can say whose they are.
MAX_KEPT_CLICKS = 100
ACTED_WITHIN = timedelta(minutes=2)
# The last question is put before the two minutes are over.
PROOF_PAUSES = (5, 10, 20, 35, 40)
# Longer than the questions to the authorization server and to the portal take together.
CLICK_LEASE = timedelta(seconds=60)
CLICKS_AT_ONCE = 4
CLICKER_UNKNOWN = "click_not_proven"


@dataclass(frozen=True)
class ClickLease:
    """A click about which only this thread asks."""

    click_id: int
    portal_id: int
    lease_fence: int


def keep(portal: Portal, entry: TimelineEntry, action: ClickAction, access_token: str, reason: str) -> None:
    """Keep a click, once for each button and token; commits. Raises ``RateLimited`` where too many are kept."""
    log.info("click_waits_unproven", reason=reason)
    now = utcnow()
    click = KeptClick(
        portal_id=portal.id,
        entry_id=entry.id,
        action=action,
        changes=entry.changes,
        token_digest=digests.digest("posted_token", access_token),
        made_at=now,
        due_at=now + timedelta(seconds=PROOF_PAUSES[0]),
    )
    click.keep_token(keyring, portal.member_id, access_token)
    waiting = select(func.count()).select_from(KeptClick).where(KeptClick.portal_id == portal.id)
    with writing() as session:
        if session.scalars(waiting).one() >= MAX_KEPT_CLICKS:
            raise RateLimited("clicks")
        insert_new(session, [click], KeptClick.id)


def due_clicks(now: datetime, besides: Collection[int] = ()) -> Select[KeptClick]:
    """Select the click that is due longest, of a portal about whose clicks nobody asks now."""
    busy = aliased(KeptClick)
    under_way = select(busy.portal_id).where(is_lasting(busy.leased_until, now, CLICK_LEASE))
    return (
        select(KeptClick)
        .join(Portal, Portal.id == KeptClick.portal_id)
        .where(KeptClick.due_at <= now, Portal.state == PortalState.INSTALLED, KeptClick.portal_id.not_in(under_way))
        .where(KeptClick.portal_id.not_in(besides))
        .order_by(KeptClick.due_at, KeptClick.id)
        .limit(1)
    )


def lease_click(besides: Collection[int] = ()) -> ClickLease | None:
    """Lease the next due click of no portal ``besides``, or return None; commits."""
    click = lease_first(KeptClick, lambda now: due_clicks(now, besides), CLICK_LEASE)
    return ClickLease(click.id, click.portal_id, click.lease_fence) if click else None


def _leased(session: Session, lease: ClickLease) -> KeptClick | None:
    click = session.get(KeptClick, lease.click_id, with_for_update=True)
    return click if click is not None and click.holds(lease.lease_fence) else None


def work_on_click(lease: ClickLease) -> None:
    """Ask once more who has made a leased click, and do what it asks for; commits.

    Where a worker dies after that the next one finds it done. What Bitrix24 refuses nobody has made: it is forgotten.
    """
    with reading() as session:
        click = session.get(KeptClick, lease.click_id)
        portal = session.get(Portal, click.portal_id) if click is not None else None
    if click is None or portal is None:
        return
    name_portal(portal.member_id)
    if _is_too_old(click):
        _end(lease, CLICKER_UNKNOWN)
        return
    try:
        # Questions of jobs come from no address: what was refused of the portal bounds them.
        token = click.token(keyring, portal.member_id)
        principal = click_actions.prove_clicker(portal, token, f"clicks of {portal.member_id}")
    except SealBroken:
        _end(lease, CLICKER_UNKNOWN)
    except UnknownKey:
        _leave(lease)
    except (Unverified, RateLimited) as error:
        _not_proven(lease, error)
    else:
        _act(lease, principal)


def _act(lease: ClickLease, principal: Principal) -> None:
    with reading() as session:
        click = session.get(KeptClick, lease.click_id)
        entry = session.get(TimelineEntry, click.entry_id) if click is not None else None
    if click is None or entry is None or entry.callback_id is None or not click.holds(lease.lease_fence):
        return
    if _is_too_old(click):
        _end(lease, CLICKER_UNKNOWN)
        return
    is_outdated = entry.changes != click.changes
    notice = click_actions.act(principal, entry.callback_id, ClickAction(click.action), is_outdated=is_outdated)
    _end(lease, notice, principal.user_id)


def _is_too_old(click: KeptClick) -> bool:
    # Of one that a wrong clock has kept nobody knows how old it is.
    return not -CLOCK_SLACK <= utcnow() - click.made_at <= ACTED_WITHIN


def _not_proven(lease: ClickLease, error: Unverified | RateLimited) -> None:
    log.info("click_not_proven", click=lease.click_id, reason=error.code)
    if error.retry is Retry.NEVER:
        _forget(lease)
        return
    with writing() as session:
        click = _leased(session, lease)
        if click is not None and click.tries + 1 < len(PROOF_PAUSES):
            click.put_off(utcnow() + timedelta(seconds=PROOF_PAUSES[click.tries + 1]))
            return
    _end(lease, CLICKER_UNKNOWN)


def _leave(lease: ClickLease) -> None:
    """Give a click back whose token another process can open."""
    with writing() as session:
        if (click := _leased(session, lease)) is not None:
            click.leave(utcnow() + timedelta(seconds=PROOF_PAUSES[0]))


def _end(lease: ClickLease, notice: str | None, user_id: int | None = None) -> None:
    """Say in the activity what came of the click, and forget it."""
    with writing() as session:
        click = _leased(session, lease)
        if click is not None:
            click_actions.answer(session, click.entry_id, notice, user_id)
            session.delete(click)


def _forget(lease: ClickLease) -> None:
    with writing() as session:
        if (click := _leased(session, lease)) is not None:
            session.delete(click)

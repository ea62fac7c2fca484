"""Whether the app on a portal is paid for: hinted by an event, asked of the portal."""

from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, select

from bx24app.bitrix24.events import Event
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import Portal, PortalState, utcnow
from bx24app.models.lease import is_long_ago
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.throttle import without_spare
from bx24app.services.portals.tokens import mark_unpaid
from bx24app.services.runtime.slots import PortalSlots, work_through

log = structlog.get_logger(__name__)

ASK_PAYMENT_AGAIN = timedelta(minutes=1)
ASK_UNPAID_AGAIN = timedelta(hours=1)
ASKED_AT_ONCE = 8
_asking = PortalSlots("check_payments", each=1, in_all=ASKED_AT_ONCE)


def receive_payment_hint(event: Event) -> None:
    """``ONAPPPAYMENT`` comes without proof: it only makes us ask the portal, once a minute at most."""
    # Anybody may say it, as often as they like: whoever writes makes others wait, so only the first one writes.
    with reading() as session:
        new = select(Portal.id).where(Portal.member_id == event.member_id, Portal.payment_hinted_at.is_(None))
        portal_id = session.scalar(new)
    if portal_id is None:
        return
    with writing() as session:
        portal = session.get(Portal, portal_id, with_for_update=True)
        if portal is not None:
            portal.payment_hinted_at = utcnow()


def check_payments() -> int:
    """Ask portals for which a payment was hinted, and unpaid ones every hour; returns how many were asked."""
    return work_through(_asking, _next_due, _ask_payment)


def due_portals(now: datetime, besides: Collection[int] = ()) -> Select[int]:
    """Select the portal that was asked about its payment longest ago, of those that are due."""
    asked_at = Portal.payment_asked_at
    hinted = Portal.payment_hinted_at.is_not(None) & is_long_ago(asked_at, now, ASK_PAYMENT_AGAIN)
    unpaid = (Portal.state == PortalState.UNPAID) & is_long_ago(asked_at, now, ASK_UNPAID_AGAIN)
    states = (PortalState.INSTALLED, PortalState.UNPAID)
    query = select(Portal.id).where(Portal.state.in_(states), hinted | unpaid, Portal.id.not_in(besides))
    query = query.where(Portal.id.not_in(without_spare(now)))
    return query.order_by(Portal.payment_asked_at.asc().nulls_first()).limit(1)


def _next_due(besides: Collection[int]) -> int | None:
    with reading() as session:
        return session.scalar(due_portals(utcnow(), besides))


def _ask_payment(portal_id: int) -> int:
    """What the portal's ``app.info`` says (docs: api-reference/common/system/app-info.md) decides."""
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        asked_at, state = utcnow(), portal.state
        portal.payment_asked_at, portal.payment_hinted_at = asked_at, None
    try:
        told = portal_api.call_for_portal(
            portal_id,
            portal_api.RequestLabel("app.info", {}),
            lambda client: client.invoke("app.info"),
            PortalState.INSTALLED,
            PortalState.UNPAID,
        )
    except (ExchangeError, Refusal) as error:
        # PAYMENT_REQUIRED has put the portal into its state by now.
        log.info("payment_not_told", reason=error.code)
        return 1
    if not isinstance(told, dict):
        return 1
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        # What was found out about it meanwhile is newer than this answer.
        if portal.state == state:
            if told.get("PAYMENT_EXPIRED") == "Y":
                mark_unpaid(session, portal, asked_at)
            else:
                portal.state = PortalState.INSTALLED
            portal.status = str(told.get("STATUS") or portal.status)[:1]
    log.info("payment_told", member_id=portal.member_id, state=portal.state)
    return 1

"""Reading a portal's call history while one of its calls may be under way; each new row is stored as a call report."""

from collections.abc import Iterable
from datetime import timedelta

import structlog
from sqlalchemy import or_, select, update

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.telephony import HistoryPage, HistoryRow
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import IS_OPEN, Callback, Portal, PortalState, ReceivedEvent, utcnow
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.call_report import report_of_row, row_of_report
from bx24app.services.portals import api as portal_api
from bx24app.services.security import digests

log = structlog.get_logger(__name__)

HISTORY_EVERY = timedelta(seconds=30)
# A portal that is silent or refuses is asked more rarely.
HISTORY_RETRY_AFTER = timedelta(minutes=2)
# Longer than one reading can take. Afterwards another process may take over.
HISTORY_LEASE = timedelta(minutes=1)
HISTORY_SECONDS = 50.0
# Row ids are given in order, but a row may become visible after one with a larger id.
OVERLAP = 20
PAGES_AT_ONCE = 10


def read_next_history() -> int:
    """Read the history of the portal that waits for it longest; returns how many rows were new.

    Only while the portal has a callback whose end is not known. One portal that hangs delays no other: any number
    of threads and processes may call this.
    """
    portal_id = _lease_portal()
    if portal_id is None:
        return 0
    try:
        # So that the lease ends only with its holder.
        with ending_within(HISTORY_SECONDS):
            found = _read(portal_id)
    except (ExchangeError, Refusal) as error:
        log.info("history_not_read", portal_id=portal_id, reason=error.code)
        _failed(portal_id, error.code)
        return 0
    reconcile.reconcile_pending(portal_id)
    return found


def _lease_portal() -> int | None:
    now = utcnow()
    is_due = or_(
        Portal.history_due_at.is_(None), Portal.history_due_at <= now, Portal.history_due_at > now + HISTORY_EVERY * 10
    )
    # One query over all portals, not one per portal: only few callbacks are open, but a portal may have many.
    has_open = Portal.id.in_(select(Callback.portal_id).where(Callback.holds_number, IS_OPEN))
    query = select(Portal.id, Portal.history_due_at).where(Portal.state == PortalState.INSTALLED, is_due, has_open)
    with reading() as session:
        turn = session.execute(query.order_by(Portal.history_due_at.asc().nulls_first()).limit(1)).one_or_none()
    if turn is None:
        return None
    unchanged = Portal.history_due_at.is_not_distinct_from(turn.history_due_at)
    mine = update(Portal).where(Portal.id == turn.id, unchanged).values(history_due_at=now + HISTORY_LEASE)
    with writing() as session:
        return turn.id if session.execute(mine.returning(Portal.id)).first() else None


def _read(portal_id: int) -> int:
    """Read all pages with new rows; returns how many rows were new."""
    with reading() as session:
        cursor = session.scalars(select(Portal.history_cursor).where(Portal.id == portal_id)).one()
    after = None if cursor is None else max(0, cursor - OVERLAP)
    found = 0
    for _ in range(PAGES_AT_ONCE):
        page = _read_page(portal_id, after)
        found += _store_page(portal_id, page)
        # A portal that lists the same rows again must not keep us reading for ever.
        if not page.is_full or (after is not None and page.last_id <= after):
            break
        after = page.last_id
    return found


def _read_page(portal_id: int, after: int | None) -> HistoryPage:
    label = portal_api.RequestLabel("voximplant.statistic.get", {"after": "newest" if after is None else after})
    return portal_api.call_for_portal(portal_id, label, lambda client: telephony.read_history(client, after))


def _store_page(portal_id: int, page: HistoryPage) -> int:
    """Keep the rows that are new and move the cursor on, in one transaction."""
    with reading() as session:
        member_id = session.scalars(select(Portal.member_id).where(Portal.id == portal_id)).one()
    reports = {digests.digest("history", f"{member_id}\0{row.ID}"): report_of_row(row) for row in page.rows}
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        known = set(session.scalars(select(ReceivedEvent.digest).where(ReceivedEvent.digest.in_(reports))))
        session.add_all(row_of_report(portal_id, one, digest) for digest, one in reports.items() if digest not in known)
        _note_redials(portal, page.rows)
        now = utcnow()
        portal.history_cursor = max(portal.history_cursor or 0, page.last_id)
        portal.history_read_at, portal.history_due_at, portal.history_problem = now, now + HISTORY_EVERY, None
    return len(reports) - len(known)


def _note_redials(portal: Portal, rows: Iterable[HistoryRow]) -> None:
    now = utcnow()
    for line_id in {row.PORTAL_NUMBER for row in rows if row.REDIAL_ATTEMPT and row.PORTAL_NUMBER}:
        if portal.mark_redialling(line_id, now):
            log.info("line_redials", member_id=portal.member_id, line=line_id)


def _failed(portal_id: int, reason: str) -> None:
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.history_due_at, portal.history_problem = utcnow() + HISTORY_RETRY_AFTER, reason

"""Reading a portal's call history while one of its calls may be under way; each new row is stored as a call report.

The event of an end makes it be read at once, and again with growing pauses until it tells of that call.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.telephony import HistoryPage, HistoryRow
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import IS_OPEN, Attempt, Callback, Portal, PortalState, ReceivedEvent, utcnow
from bx24app.models.lease import is_over
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.dialling import reconcile
from bx24app.services.dialling.call_report import ReportKind, report_of_row, row_of_report
from bx24app.services.portals import api as portal_api
from bx24app.services.runtime import rate_limit, slow_portals, wakeup
from bx24app.services.runtime.rate_limit import RateLimit
from bx24app.services.security import digests

log = structlog.get_logger(__name__)

HISTORY_EVERY = timedelta(seconds=30)
# A portal that is silent or refuses is asked more rarely.
HISTORY_RETRY_AFTER = timedelta(minutes=2)
# Another process may take over afterwards. Longer than one reading and a pause together, so that nobody hurries a
# portal that is being read, or that could not be read.
HISTORY_LEASE = timedelta(seconds=90)
HISTORY_SECONDS = 50.0
# Who once opened the app can invent ends: a portal is asked sooner than every half minute this often, and then once
# in ten seconds.
HASTE, HASTE_SECONDS = 30, 300.0
SHORTEST_PAUSE = timedelta(seconds=1)
# Until then the history is asked about a call whose end an event has told.
ASKED_FOR = timedelta(minutes=10)
# Row ids are given in order, but a row may become visible after one with a larger id.
OVERLAP = 20
PAGES_AT_ONCE = 10
# Of each worker.
HISTORIES_AT_ONCE = 8
# Of one call the history tells its end, and its cost and record that come later.
MAX_REPORTS_OF_CALL = 20


def read_next_history() -> int:
    """Read the history of the portal that waits for it longest; returns how many rows were new.

    Only while the portal has a callback whose end is not known, or an event told of an end. Those that answer slowly
    get half of a worker's threads. Any number of threads and processes may call this.
    """
    slow = slow_portals.look(wakeup.READ_HISTORY, HISTORIES_AT_ONCE // 2)
    found = (_lease_portal(passed) for passed in slow.passed_over())
    portal_id = next((portal_id for portal_id in found if portal_id is not None), None)
    if portal_id is None:
        return 0
    slow_portals.note_begin(wakeup.READ_HISTORY, portal_id, portal_id)
    with slow_portals.working(wakeup.READ_HISTORY, portal_id):
        return _read(portal_id)


def _read(portal_id: int) -> int:
    try:
        # So that the lease ends only with its holder.
        with ending_within(HISTORY_SECONDS):
            found = _read_callbacks(portal_id) + _find_told_calls(portal_id)
    except (ExchangeError, Refusal) as error:
        log.info("history_not_read", portal_id=portal_id, reason=error.code)
        _failed(portal_id, error.code)
        return 0
    read_at = utcnow()
    # Under the lease too: else other threads read the same portal again meanwhile, and wait for each other's rows.
    reconcile.reconcile_pending(portal_id)
    _note_read(portal_id, read_at)
    return found


def due_portals(now: datetime, besides: Collection[int] = ()) -> Select[int, datetime | None]:
    """Select the portal whose history waits longest to be read, with the time that it was to be read at."""
    is_due = is_over(Portal.history_due_at, now, HISTORY_RETRY_AFTER)
    # One query over all portals, not one per portal: only few callbacks are open, but a portal may have many.
    has_open = Portal.id.in_(select(Callback.portal_id).where(Callback.holds_number, IS_OPEN))
    has_told = Portal.id.in_(select(ReceivedEvent.portal_id).where(_is_told_by_event(now)))
    is_awaited = or_(has_open, has_told)
    query = select(Portal.id, Portal.history_due_at).where(Portal.state == PortalState.INSTALLED, is_due, is_awaited)
    if besides:
        query = query.where(Portal.id.not_in(besides))
    return query.order_by(Portal.history_due_at.asc().nulls_first()).limit(1)


def _lease_portal(besides: Collection[int] = ()) -> int | None:
    now = utcnow()
    with reading() as session:
        turn = session.execute(due_portals(now, besides)).one_or_none()
    if turn is None:
        return None
    unchanged = Portal.history_due_at.is_not_distinct_from(turn.history_due_at)
    mine = update(Portal).where(Portal.id == turn.id, unchanged).values(history_due_at=now + HISTORY_LEASE)
    with writing() as session:
        return turn.id if session.execute(mine.returning(Portal.id)).first() else None


def _is_told_by_event(now: datetime) -> ColumnElement[bool]:
    """Make the condition that an event told of the end of a call of which the history has not told yet."""
    is_end = ReceivedEvent.applied_at.is_(None) & (ReceivedEvent.event == ReportKind.END)
    return is_end & (ReceivedEvent.received_at > now - ASKED_FOR)


def haste_of(portal_id: int) -> RateLimit:
    """How often a portal's history is read sooner than usual; call it outside of transactions."""
    return RateLimit("history_haste", digests.digest("rate", f"history {portal_id}"), HASTE, HASTE_SECONDS)


def hurry(session: Session, portal_id: int, haste: RateLimit) -> None:
    """Let the history be read at once, if that was not done too often; inside the caller's transaction."""
    now = utcnow()
    waits = Portal.history_due_at.between(now, now + HISTORY_EVERY)
    portal = session.scalar(select(Portal).where(Portal.id == portal_id, waits).with_for_update())
    if portal is not None and _may_hurry(session, haste, now):
        portal.history_due_at = now


def _may_hurry(session: Session, haste: RateLimit, now: datetime) -> bool:
    return rate_limit.take_tokens(session, [haste], now.timestamp()) is None


def _note_read(portal_id: int, read_at: datetime) -> None:
    haste = haste_of(portal_id)
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        now = utcnow()
        portal.history_read_at, portal.history_problem = read_at, None
        portal.history_due_at = now + _pause(session, portal_id, haste, now)


def _pause(session: Session, portal_id: int, haste: RateLimit, now: datetime) -> timedelta:
    """How long the history is left alone: as long as the newest end that it has not told is known, within bounds."""
    newest = select(func.max(ReceivedEvent.received_at)).where(
        ReceivedEvent.portal_id == portal_id, _is_told_by_event(now)
    )
    told_at = session.scalar(newest)
    if told_at is None or not _may_hurry(session, haste, now):
        return HISTORY_EVERY
    return min(max(now - told_at, SHORTEST_PAUSE), HISTORY_EVERY)


def _read_callbacks(portal_id: int) -> int:
    with reading() as session:
        cursor = session.scalars(select(Portal.history_cursor).where(Portal.id == portal_id)).one()
    after = None if cursor is None else max(0, cursor - OVERLAP)
    found = 0
    for _ in range(PAGES_AT_ONCE):
        page = _read_page(portal_id, after)
        found += _store(portal_id, page.rows, page.last_id)
        # A portal that lists the same rows again must not keep us reading for ever.
        if not page.is_full or (after is not None and page.last_id <= after):
            break
        after = page.last_id
    return found


def _read_page(portal_id: int, after: int | None) -> HistoryPage:
    label = portal_api.RequestLabel("voximplant.statistic.get", {"after": "newest" if after is None else after})
    return portal_api.call_for_portal(portal_id, label, lambda client: telephony.read_history(client, after))


def _find_told_calls(portal_id: int) -> int:
    """Ask whether calls that are no callbacks have ended as events say, the newest ones in one request."""
    now = utcnow()
    told = select(ReceivedEvent.call_id).where(
        ReceivedEvent.portal_id == portal_id, _is_told_by_event(now), ReceivedEvent.call_type != telephony.CALLBACK
    )
    with reading() as session:
        call_ids = session.scalars(told.order_by(ReceivedEvent.id.desc()).limit(telephony.MAX_CALLS)).all()
    if not call_ids:
        return 0
    label = portal_api.RequestLabel("batch", {"cmd": "voximplant.statistic.get", "calls": len(call_ids)})
    rows = portal_api.call_for_portal(portal_id, label, lambda client: telephony.find_calls(client, call_ids))
    return _store(portal_id, rows)


def _store(portal_id: int, rows: Collection[HistoryRow], last_id: int | None = None) -> int:
    """Keep the rows that are new, and nothing more of the events of their ends; move the cursor to ``last_id``.

    Of one call the last row alone is kept until it is applied: a portal may list any number of them.
    """
    with reading() as session:
        member_id = session.scalars(select(Portal.member_id).where(Portal.id == portal_id)).one()
    last = {row.CALL_ID: row for row in sorted(rows, key=lambda row: row.ID)}.values()
    reports = {digests.digest("history", f"{member_id}\0{row.ID}"): report_of_row(row) for row in last}
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        known = set(session.scalars(select(ReceivedEvent.digest).where(ReceivedEvent.digest.in_(reports))))
        told_enough = _told_enough(session, portal_id, {one.call_id for one in reports.values()})
        new = {digest: one for digest, one in reports.items() if digest not in known and one.call_id not in told_enough}
        pending = (ReceivedEvent.portal_id == portal_id, ReceivedEvent.applied_at.is_(None))
        by_event = and_(ReceivedEvent.event == ReportKind.END, ReceivedEvent.call_id.in_({row.CALL_ID for row in rows}))
        calls = {one.call_id for one in new.values()}
        before = and_(ReceivedEvent.event == ReportKind.HISTORY, ReceivedEvent.call_id.in_(calls))
        for needless in (by_event, before):
            session.execute(delete(ReceivedEvent).where(*pending, needless))
        session.add_all(row_of_report(portal_id, one, digest) for digest, one in new.items())
        _note_redials(portal, rows)
        if last_id is not None:
            portal.history_cursor = max(portal.history_cursor or 0, last_id)
    return len(new)


def _told_enough(session: Session, portal_id: int, call_ids: Collection[str]) -> set[str]:
    """Of some calls those of which so much of the history was applied that no honest portal tells more."""
    applied = (
        select(Attempt.call_id)
        .join(ReceivedEvent, ReceivedEvent.attempt_id == Attempt.id)
        .where(Attempt.portal_id == portal_id, Attempt.call_id.in_(call_ids))
        # Anybody may have told of its start, any number of times.
        .where(ReceivedEvent.event == ReportKind.HISTORY)
        .group_by(Attempt.id, Attempt.call_id)
        .having(func.count() >= MAX_REPORTS_OF_CALL)
    )
    return {call_id for call_id in session.scalars(applied) if call_id is not None}


def _note_redials(portal: Portal, rows: Iterable[HistoryRow]) -> None:
    now = utcnow()
    for line_id in {row.PORTAL_NUMBER for row in rows if row.REDIAL_ATTEMPT and row.PORTAL_NUMBER}:
        if portal.mark_redialling(line_id, now):
            log.info("line_redials", member_id=portal.member_id, line=line_id)


def _failed(portal_id: int, reason: str) -> None:
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.history_due_at, portal.history_problem = utcnow() + HISTORY_RETRY_AFTER, reason

"""How many calls may begin on the lines of a portal, and what callbacks say that wait for one."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from bx24app.models import Callback, Portal, State
from bx24app.models.lease import lasts
from bx24app.models.portals.portal import STOPPED_LINE_PAUSE

# A call without any report for longer than this no longer counts against its line.
OPEN_CALL_COUNTS_FOR = timedelta(hours=1)
MAX_PASSED_OVER = 20


def room_on_lines(session: Session, portal: Portal, is_leased: ColumnElement[bool], now: datetime) -> dict[str, int]:
    """Count how many more calls may begin on each line that has calls under way or no money.

    ``is_leased``: the condition that a callback is dialled in a moment.
    """
    under_way = and_(
        Callback.state.in_((State.STARTED, State.ANSWERED)), Callback.updated_at > now - OPEN_CALL_COUNTS_FOR
    )
    query = (
        select(Callback.line_id, func.count())
        .where(Callback.portal_id == portal.id, Callback.holds_number)
        .where(or_(is_leased, under_way))
        .group_by(Callback.line_id)
    )
    open_calls = dict[str, int](session.execute(query).all())
    cap = portal.settings.line_cap
    room = {} if cap is None else {line: cap - count for line, count in open_calls.items()}
    for line_id, until in portal.stopped_lines.items():
        # One call tries the line again, and the others wait until it has ended.
        room[line_id] = 0 if lasts(until, now, STOPPED_LINE_PAUSE) else 1 - open_calls.get(line_id, 0)
    return room


def note_full(session: Session, portal: Portal, full: list[str], due: Select[Callback], now: datetime) -> None:
    """Record as the reason of ``due`` callbacks that their line is full or has no money."""
    query = due.where(Callback.portal_id == portal.id, Callback.line_id.in_(full))
    reasons = {line: "line_stopped" if line in portal.stopped_lines else "line_full" for line in full}
    fresh = or_(Callback.reason.is_(None), Callback.reason.not_in(set(reasons.values())))
    for callback in session.scalars(query.where(fresh).limit(MAX_PASSED_OVER).with_for_update(skip_locked=True)):
        callback.wait_for(reasons[callback.line_id], now, line=callback.line_id)

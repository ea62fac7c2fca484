"""Attempts of unknown outcome, which have no call id: which of the calls that the history tells of is theirs.

A row of the history is matched by line and number, if it is later than the attempt and exactly one call fits. If
several fit, a person decides.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, select, text
from sqlalchemy.orm import Session, aliased

from bx24app.bitrix24 import telephony
from bx24app.database import reading, writing
from bx24app.models import RESTORED, Attempt, Callback, Outcome, ReceivedEvent, State, utcnow
from bx24app.services.dialling.call_report import MOST_ROWS_OF_NUMBER, ReportKind, stored_report
from bx24app.services.runtime.apart import is_left_alone
from bx24app.services.runtime.local_memory import recall, remember

CLOCK_SKEW = timedelta(minutes=2)
# A call begins during its request or soon after, but a report of it may come much later.
BEGINS_WITHIN = timedelta(minutes=10)
MAY_BE_LATE = timedelta(hours=24)
PENDING = ReceivedEvent.applied_at.is_(None)
_TELLS_OF_CALL = (
    PENDING,
    ReceivedEvent.event == ReportKind.HISTORY,
    ReceivedEvent.call_type == telephony.CALLBACK,
)
# Written out, so that every plan can use the index over these few attempts.
IS_WITHOUT_CALL = text("attempt.outcome IN ('dialling', 'unknown')")
_IS_UNKNOWN = Attempt.outcome == Outcome.UNKNOWN
# An attempt that no call fits is looked at again when there is a newer row for its number, else as rarely as this; and
# so many are at once, a few of each portal: one has thousands to which nothing fits.
LOOKED_AT_AGAIN_SECONDS, LOOKED_AT_ONCE, LOOKED_AT_OF_PORTAL = 30.0, 100, 10
_NO_CALL_FITS = "no_call_fits"
# Whether there is another one is all that matters, and how many a person is told.
MOST_RIVALS = 20


def attempts_without_call() -> Select[int, int, int]:
    """Select attempts of unknown outcome that a row of the history may be about: portal, id, the newest such row."""
    # Many attempts may have one number with many rows, which are gone through once for all of them.
    told_of = select(Attempt.portal_id, Attempt.number_digest).where(IS_WITHOUT_CALL, _IS_UNKNOWN).distinct().subquery()
    key = (ReceivedEvent.portal_id, ReceivedEvent.number_digest)
    newest = (
        select(*key, func.max(ReceivedEvent.id).label("id"))
        .join(told_of, (told_of.c.portal_id == key[0]) & (told_of.c.number_digest == key[1]))
        .where(*_TELLS_OF_CALL)
        .group_by(*key)
        .subquery()
    )
    is_same = (newest.c.portal_id == Attempt.portal_id) & (newest.c.number_digest == Attempt.number_digest)
    return select(Attempt.portal_id, Attempt.id, newest.c.id).join(newest, is_same).where(IS_WITHOUT_CALL, _IS_UNKNOWN)


def is_any_told_of() -> ColumnElement[bool]:
    """Make the condition that there are such attempts."""
    is_same = (ReceivedEvent.portal_id == Attempt.portal_id) & (ReceivedEvent.number_digest == Attempt.number_digest)
    return select(Attempt.id).where(IS_WITHOUT_CALL, _IS_UNKNOWN, is_same, *_TELLS_OF_CALL).exists()


def worth_a_look(found: Iterable[Row[int, int, int]]) -> list[tuple[int, int]]:
    """Choose the attempts of those found, each with its newest row, that may have a call by now; the oldest first."""
    chosen: dict[int, list[tuple[int, int]]] = {}
    for portal_id, attempt, newest in sorted(map(tuple, found)):
        of_portal = chosen.setdefault(portal_id, [])
        if len(of_portal) == LOOKED_AT_OF_PORTAL:
            continue
        if recall(_NO_CALL_FITS, str(attempt)) != newest and not is_left_alone("settle", attempt):
            of_portal.append((attempt, newest))
    return sorted(one for of_portal in chosen.values() for one in of_portal)[:LOOKED_AT_ONCE]


def report_that_fits(attempt_id: int, newest: int) -> int | None:
    """Return the id of the row of the history that tells of an attempt's call; None where not exactly one call fits.

    ``newest`` is the newest row for its number.
    """
    with reading() as session:
        attempt = session.get_one(Attempt, attempt_id)
        is_restored = session.get_one(Callback, attempt.callback_id).reason == RESTORED
        # In this order: a rival that gets its call between two statements has been seen, or its call is of an attempt.
        is_dialled = session.scalar(_under_way(attempt)) is not None
        rivals = session.scalars(_rivals(attempt).limit(MOST_RIVALS)).all()
        rows = _candidates(session, attempt)
    candidates = [row for row in rows if _fits(row, attempt, is_restored=is_restored)]
    is_whole = len(rows) < MOST_ROWS_OF_NUMBER
    calls = {row.call_id for row in (candidates if is_whole else rows)}
    # While another attempt is being dialled, its answer may name the call in a moment.
    if is_dialled:
        return None
    if len(calls) == 1 and is_whole and not rivals:
        return candidates[0].id
    if calls:
        _ask_about(attempt.callback_id, len(calls), len(rivals) + 1)
    remember(_NO_CALL_FITS, str(attempt_id), LOOKED_AT_AGAIN_SECONDS, newest)
    return None


def _candidates(session: Session, attempt: Attempt) -> Sequence[ReceivedEvent]:
    """Return rows of the history with the attempt's number and line whose call belongs to no other attempt."""
    other = aliased(Attempt)
    of_another = select(other.id).where(
        other.portal_id == ReceivedEvent.portal_id, other.call_id == ReceivedEvent.call_id
    )
    query = select(ReceivedEvent).where(
        *_TELLS_OF_CALL,
        ReceivedEvent.portal_id == attempt.portal_id,
        ReceivedEvent.number_digest == attempt.number_digest,
        # What was read before the attempt began tells of another call.
        ReceivedEvent.received_at >= attempt.started_at - CLOCK_SKEW,
        ReceivedEvent.line_id.is_(None) | (ReceivedEvent.line_id == attempt.line_id),
        ~of_another.exists(),
    )
    return session.scalars(query.order_by(ReceivedEvent.id).limit(MOST_ROWS_OF_NUMBER)).all()


def _under_way(attempt: Attempt) -> Select[int]:
    """Select rivals that are being dialled: few callbacks of a portal are, and a number may have had any number."""
    dialled = select(Callback.id).where(Callback.portal_id == attempt.portal_id, Callback.state == State.DIALLING)
    rivals = _rivals(attempt).where(Attempt.callback_id.in_(dialled), Attempt.outcome == Outcome.DIALLING)
    return rivals.limit(1)


def _rivals(attempt: Attempt) -> Select[int]:
    """Select other attempts that the same reports may fit."""
    return select(Attempt.id).where(
        IS_WITHOUT_CALL,
        Attempt.portal_id == attempt.portal_id,
        Attempt.number_digest == attempt.number_digest,
        Attempt.line_id == attempt.line_id,
        Attempt.started_at > attempt.started_at - MAY_BE_LATE,
        Attempt.id != attempt.id,
    )


def _fits(row: ReceivedEvent, attempt: Attempt, *, is_restored: bool) -> bool:
    """Tell whether a row of the history can be about the call that the attempt began.

    Of what was restored nobody knows when it was dialled: any call since the backup can be the one.
    """
    report = stored_report(row)
    if report.began_at is not None:
        after = report.began_at - attempt.started_at
        if after < -CLOCK_SKEW or (after > BEGINS_WITHIN and not is_restored):
            return False
    if attempt.history_cursor is not None:
        return (report.history_id or 0) > attempt.history_cursor
    # Without a time we cannot tell whether the row is older than the attempt.
    return report.began_at is not None


def _ask_about(callback_id: UUID, calls: int, attempts: int) -> None:
    with writing() as session:
        callback = session.get(Callback, callback_id, with_for_update=True)
        if callback is not None and callback.state == State.UNKNOWN and callback.asks_since is None:
            now = utcnow()
            callback.ask_person(now)
            callback.decide("ambiguous", now, calls=calls, attempts=attempts)

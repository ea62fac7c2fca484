"""A telephone number of a portal: all that is kept about it, and erasing that.

What stands about a number belongs to its callbacks and goes with them: attempts, decisions, the website's request, the
words of the name, reports of calls and deliveries that wait. Beside them there are reports of calls that no attempt was
found for, rejections, runs of automation rules that wait, and the do-not-call list, which keeps its keyed digest, so
that the number stays one that is never called. What the app has written into the CRM is taken away by a job. Rate
limits know the number by digest alone, the log of requests has it masked, and saved filters have none.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, select, update
from sqlalchemy.orm import Session

from bx24app.database import Base, purge, reading, writing
from bx24app.database.wal import empty_wal
from bx24app.errors import DatabaseBusy, InvalidNumber, InvalidRequest, NotFound, NumberInHand, TooManyErasures
from bx24app.models import (
    OPEN,
    Attempt,
    Callback,
    Decision,
    DoNotCall,
    Portal,
    ReceivedEvent,
    Rejection,
    WebhookDelivery,
    WebsiteRequest,
)
from bx24app.services.calling import phone_numbers
from bx24app.services.calling.do_not_call import number_digest
from bx24app.services.dialling.call_report import ReportKind
from bx24app.services.native.automation import rule_runs
from bx24app.services.native.follow_up import notices
from bx24app.services.native.timeline import erasing
from bx24app.services.reports import counting
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.slots import Slots, turn
from bx24app.services.security.journal import JournalPage, Recorded, record

# So many rows of a table are told.
MAX_TOLD = 1000
# So often is tried to delete what is locked for a moment, with a pause while it is: a worker may be counting it.
ROUNDS = 40
PAUSE_SECONDS = 0.25
# An erasure looks at all that a portal keeps: so many a minute of a person, one of a portal at once; by each process.
ERASURES = LocalLimit("erasures", 10)
_searching = Slots[int](1, 2)
# While a phone may ring, what came of it would be lost, and another request could ring it at the same time. An unknown
# outcome is one of these until the number is given back.
MAY_RING = and_(Callback.holds_number, Callback.state.in_(OPEN))
HIDDEN = ("digest", "idempotency_key", "fence", "lease")


@dataclass(frozen=True)
class KnownNumber:
    """What a portal keeps about a number: how many rows of each table, and the rows."""

    number: str
    counts: dict[str, int]
    rows: dict[str, list[dict[str, Any]]]


def _conditions(portal_id: int, number: str) -> dict[str, tuple[type[Base], ColumnElement[bool]]]:
    """Each table that knows the number, with the condition for its rows."""
    digest = number_digest(number)
    theirs = and_(Callback.portal_id == portal_id, Callback.to_number == number)
    of_them = select(Callback.id).where(theirs)
    attempts = select(Attempt.id).where(Attempt.callback_id.in_(of_them))
    return {
        "callbacks": (Callback, theirs),
        "attempts": (Attempt, Attempt.callback_id.in_(of_them)),
        "decisions": (Decision, Decision.callback_id.in_(of_them)),
        "website_requests": (WebsiteRequest, WebsiteRequest.callback_id.in_(of_them)),
        "deliveries": (WebhookDelivery, WebhookDelivery.callback_id.in_(of_them)),
        "call_reports": (
            ReceivedEvent,
            and_(
                ReceivedEvent.portal_id == portal_id,
                ReceivedEvent.attempt_id.in_(attempts) | (ReceivedEvent.number_digest == digest),
            ),
        ),
        "rejections": (
            Rejection,
            and_(Rejection.portal_id == portal_id, Rejection.inputs["number_digest"].as_string() == digest),
        ),
        "do_not_call": (DoNotCall, and_(DoNotCall.portal_id == portal_id, DoNotCall.number_digest == digest)),
    }


def read_number(portal: Portal | None, text: str) -> str:
    """Read a number as E.164, of whatever kind it is; raises ``InvalidNumber``."""
    read = phone_numbers.read_number(text, portal.settings.default_country if portal else None)
    if read.e164 is None:
        raise InvalidNumber("number", f"number_{read.problem or 'invalid'}")
    return read.e164


def find_number(portal: Portal, text: str, *, most: int | None = MAX_TOLD) -> KnownNumber:
    """Tell all that is kept about a number, the newest rows first, ``most`` of each table; raises ``InvalidNumber``."""
    number = read_number(portal, text)
    counts, rows = {}, {}
    conditions = _conditions(portal.id, number)
    with reading() as session:
        for name, (model, condition) in conditions.items():
            counts[name] = session.scalars(select(func.count()).select_from(model).where(condition)).one()
            rows[name] = _told(session, model, condition, most) if counts[name] else []
    return KnownNumber(number, counts, rows)


def find_everywhere(text: str, member_id: str | None = None) -> list[tuple[Portal, KnownNumber]]:
    """Tell all that is kept about a number by every portal that knows it, or by one.

    Without a portal no country is known, so the number has to be international. Raises ``InvalidNumber``, and
    ``NotFound`` for a portal that never had the app.
    """
    query = select(Portal).order_by(Portal.id)
    with reading() as session:
        portals = session.scalars(query if member_id is None else query.where(Portal.member_id == member_id)).all()
    if member_id is not None and not portals:
        raise NotFound
    number = read_number(portals[0] if member_id is not None else None, text)
    known = [(portal, find_number(portal, number, most=None)) for portal in portals]
    return [(portal, of_portal) for portal, of_portal in known if any(of_portal.counts.values())]


def _told(
    session: Session, model: type[Base], condition: ColumnElement[bool], most: int | None
) -> list[dict[str, Any]]:
    columns = [column for column in model.__table__.columns if not any(word in column.name for word in HIDDEN)]
    [key] = model.__table__.primary_key
    found = session.execute(select(*columns).where(condition).order_by(key.desc()).limit(most))
    return [dict(row) for row in found.mappings()]


@contextmanager
def search_turn(portal_id: int) -> Iterator[None]:
    """Let somebody look inside for what is kept about a number, for it is looked for in all that was refused.

    Raises ``RateLimited``.
    """
    with turn(_searching, portal_id):
        yield


@contextmanager
def erasure_turn(portal_id: int, user_id: int | None) -> Iterator[None]:
    """Let somebody erase a number inside; raises ``TooManyErasures``."""
    with turn(_searching, portal_id, refusal=TooManyErasures):
        if not take_local(ERASURES, (portal_id, user_id)):
            refused = TooManyErasures("erasures")
            refused.retry_after = math.ceil(ERASURES.seconds / ERASURES.size)
            raise refused
        yield


def erase_number(portal: Portal, text: str, confirmed: str, user_id: int | None) -> dict[str, int]:
    """Erase all that is kept about a number; returns how many rows it were, by table. Commits.

    ``confirmed`` is the number once more. Raises ``InvalidNumber``, ``InvalidRequest`` where the two differ,
    ``NumberInHand`` while a phone may ring, and ``DatabaseBusy`` where some rows stayed locked: what is gone stays
    gone, and asking again erases the rest.
    """
    known = find_number(portal, text)
    if phone_numbers.digits(confirmed) not in (phone_numbers.digits(known.number), phone_numbers.digits(text)):
        raise InvalidRequest("confirm")
    conditions = _conditions(portal.id, known.number)
    _, of_number = conditions["callbacks"]
    _require_rest(of_number)
    with writing() as session:
        _, listed = conditions["do_not_call"]
        session.execute(update(DoNotCall).where(listed).values(number=None, note=None))
        by = Recorded(portal.id, user_id, JournalPage.PRIVACY)
        record(session, by, {"rows_erased": 0}, {"rows_erased": sum(known.counts.values())})
    # Reports of calls first: once their attempts are gone only the digest names them.
    _forget_calls(conditions["call_reports"][1])
    for name in ("call_reports", "rejections"):
        _purge_all(*conditions[name])
    rule_runs.forget_number(portal, known.number)
    erasing.detach_entries(and_(of_number, not_(MAY_RING)))
    notices.detach(portal.id, and_(of_number, not_(MAY_RING)))
    _delete_callbacks(and_(of_number, not_(MAY_RING)))
    # One of them was dialled in this moment.
    _require_rest(of_number)
    with suppress(DatabaseBusy):  # A job does it soon.
        empty_wal()
    return known.counts


def _require_rest(of_number: ColumnElement[bool]) -> None:
    with reading() as session:
        ringing = session.scalar(select(Callback.id).where(of_number, MAY_RING).limit(1))
    if ringing is not None:
        raise NumberInHand(ringing)


def _forget_calls(condition: ColumnElement[bool]) -> None:
    """Keep of the history's rows only that they were read, for a day: it is read again from a little before its end."""
    nothing: dict[str, Any] = {"call_id": "", "call_type": None, "line_id": None, "number_digest": None, "fields": {}}
    rows = update(ReceivedEvent).where(condition, ReceivedEvent.event == ReportKind.HISTORY)
    with writing() as session:
        session.execute(
            rows.values(**nothing, attempt_id=None, applied_at=None), execution_options={"synchronize_session": False}
        )


def _purge_all(model: type[Base], condition: ColumnElement[bool]) -> None:
    while purge(model, condition):
        pass


def _delete_callbacks(condition: ColumnElement[bool]) -> None:
    for _ in range(ROUNDS):
        deleted = counting.delete_counted(condition, counting.COUNTED_AT_ONCE)
        with reading() as session:
            if session.scalar(select(Callback.id).where(condition).limit(1)) is None:
                return
        if not deleted:
            time.sleep(PAUSE_SECONDS)
    raise DatabaseBusy

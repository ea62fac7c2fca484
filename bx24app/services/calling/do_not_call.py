"""The do-not-call list of a portal: look up, add and remove numbers, import and export the list."""

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import insert_new, reading, writing
from bx24app.errors import InvalidNumber, InvalidRequest, LimitReached, NotFound, TooManyListed
from bx24app.models import DoNotCall, PortalSettings, utcnow
from bx24app.services.calling import phone_numbers
from bx24app.services.calling.list_file import ListLine, read_list, write_list
from bx24app.services.calling.phone_numbers import NumberProblem, digits
from bx24app.services.calling.spoken_text import one_line
from bx24app.services.runtime.rate_limit import DAY, RateLimit, take_tokens
from bx24app.services.runtime.slots import Slots, turn
from bx24app.services.security import digests
from bx24app.services.security.journal import JournalPage, Recorded, record

MAX_IMPORT = 5000
# What a portal may list in all.
MAX_NUMBERS = 1_000_000
MAX_NOTE = 255
# Of one person, one by one.
LISTED_A_DAY = 100
# So much of a line's number is shown in the report.
MAX_SHOWN = 64
IMPORT_BATCH = 500
# Of a portal at once, and in all: how many numbers a full list has takes long to see.
_adding = Slots[int](each=2, in_all=4)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def number_digest(number: str) -> str:
    """Return the keyed digest under which a number is listed; call it outside of transactions."""
    return digests.digest("number", digits(number))


def is_listed(session: Session, portal_id: int, number_digest: str) -> bool:
    """Tell whether a number, given by its ``number_digest``, must not be dialled; inside the caller's transaction."""
    row = select(DoNotCall.id).where(DoNotCall.portal_id == portal_id, DoNotCall.number_digest == number_digest)
    return session.scalar(row) is not None


def list_numbers(
    portal_id: int, before: int | None = None, limit: int = 50, with_digits: str | None = None
) -> list[DoNotCall]:
    """List numbers, the last added first; ``before`` is the last id of the previous page."""
    query = select(DoNotCall).where(DoNotCall.portal_id == portal_id)
    if before is not None:
        query = query.where(DoNotCall.id < before)
    if with_digits:
        query = query.where(DoNotCall.number.contains(with_digits, autoescape=True))
    with reading() as session:
        return list(session.scalars(query.order_by(DoNotCall.id.desc()).limit(limit)))


def add_number(portal_id: int, number: str, note: str | None, user_id: int | None) -> tuple[DoNotCall, bool]:
    """Add a number; returns its row, and whether it is new. Commits.

    Raises ``InvalidNumber``, ``LimitReached``, ``TooManyListed``, and ``RateLimited`` while others add to the list.
    """
    listed = _listed(portal_id, _country(portal_id), ListLine(number, note or ""))
    if not isinstance(listed, DoNotCall):
        raise InvalidNumber("number", f"number_{listed}")
    digest = listed.number_digest
    query = select(DoNotCall).where(DoNotCall.portal_id == portal_id, DoNotCall.number_digest == digest)
    with reading() as session:
        if known := session.scalar(query):
            return known, False
    with turn(_adding, portal_id):
        _count(portal_id, user_id)
        added = _store([listed], user_id)
    with reading() as session:
        return session.scalars(query).one(), digest in added


def _count(portal_id: int, user_id: int | None) -> None:
    """Count a number that somebody adds; raises ``TooManyListed``. It needs no fresh proof, and lasts."""
    a_day = RateLimit("listed", digests.digest("rate", f"listed {portal_id} {user_id}"), LISTED_A_DAY, DAY)
    with writing() as session:
        if take_tokens(session, [a_day], utcnow().timestamp()) is not None:
            refused = TooManyListed("number")
            refused.retry_after = int(DAY / LISTED_A_DAY)
            raise refused


def remove_number(portal_id: int, id: int, user_id: int | None) -> None:
    """Remove a number from the list for the user ``user_id``; commits. Raises ``NotFound``."""
    with writing() as session:
        row = session.scalar(select(DoNotCall).where(DoNotCall.portal_id == portal_id, DoNotCall.id == id))
        if row is None:
            raise NotFound
        session.delete(row)
        record(
            session,
            Recorded(portal_id, user_id, JournalPage.DO_NOT_CALL),
            {"numbers_removed": 0},
            {"numbers_removed": 1},
        )


@dataclass(frozen=True)
class ImportedLine:
    """One imported line; ``outcome`` is ``added``, ``known``, ``refused``, or ``skipped`` (a heading or no number).

    ``problem`` says why a line was refused.
    """

    number: int
    text: str
    outcome: str
    problem: NumberProblem | None = None


def import_list(portal_id: int, text: str, user_id: int | None) -> list[ImportedLine]:
    """Add a list with one number on each line and perhaps a note (``list_file``); commits what can be read.

    Raises ``InvalidRequest`` for a list of more than ``MAX_IMPORT`` lines, and ``LimitReached``.
    """
    country = _country(portal_id)
    file = read_list(text, MAX_IMPORT + 1)
    if len(file.lines) > MAX_IMPORT:
        raise InvalidRequest("lines")
    read = [_listed(portal_id, country, line, is_ours=file.is_ours) for line in file.lines]
    added = _store([listed for listed in read if isinstance(listed, DoNotCall)], user_id)
    report = []
    is_heading = True
    for place, (line, listed) in enumerate(zip(file.lines, read, strict=True), 1):
        problem = None
        is_heading = is_heading and not digits(line.number)
        if isinstance(listed, DoNotCall):
            outcome = "added" if listed.number_digest in added else "known"
            added.discard(listed.number_digest)
        else:
            outcome = "skipped" if is_heading or not line.number else "refused"
            problem = listed if outcome == "refused" else None
        report.append(ImportedLine(place, line.number[:MAX_SHOWN], outcome, problem))
    return report


def _listed(portal_id: int, country: str | None, line: ListLine, *, is_ours: bool = False) -> DoNotCall | NumberProblem:
    """Make the row of a line, also of a costly number, or return what is the matter with it.

    A number that we wrote ourselves counts even where today's rules do not know it.
    """
    read = phone_numbers.read_number(line.number, country)
    e164 = read.e164
    if e164 is None and is_ours and _E164.fullmatch(line.number):
        e164 = line.number
    if e164 is None:
        return read.problem or NumberProblem.EMPTY
    return DoNotCall(
        portal_id=portal_id,
        number_digest=number_digest(e164),
        number=e164,
        note=one_line(line.note)[:MAX_NOTE] or None,
    )


def _country(portal_id: int) -> str | None:
    with reading() as session:
        return session.scalar(select(PortalSettings.default_country).where(PortalSettings.portal_id == portal_id))


def _store(listed: list[DoNotCall], user_id: int | None) -> set[str]:
    """Add the numbers that are not listed yet; returns the digests of those."""
    now = utcnow()
    for row in listed:
        row.added_by, row.added_at = user_id, now
    # When a number stands in a list twice, the first line counts.
    in_order = list(reversed({row.number_digest: row for row in reversed(listed)}.values()))
    added: set[str] = set()
    surplus = select(DoNotCall.id).where(DoNotCall.portal_id == in_order[0].portal_id) if in_order else None
    with reading() as session:
        if surplus is not None and session.scalar(surplus.offset(MAX_NUMBERS - len(in_order)).limit(1)) is not None:
            raise LimitReached
    with writing() as session:
        for begin in range(0, len(in_order), IMPORT_BATCH):
            added |= insert_new(session, in_order[begin : begin + IMPORT_BATCH], DoNotCall.number_digest)
        if in_order:
            by = Recorded(in_order[0].portal_id, user_id, JournalPage.DO_NOT_CALL)
            record(session, by, {"numbers_added": 0}, {"numbers_added": len(added)})
    return added


def export_list(portal_id: int) -> str:
    """Write the list as CSV that is safe in a spreadsheet and can be imported again; erased numbers are left out."""
    query = select(DoNotCall).where(DoNotCall.portal_id == portal_id, DoNotCall.number.is_not(None))
    with reading() as session:
        rows = session.scalars(query.order_by(DoNotCall.id)).yield_per(IMPORT_BATCH)
        return write_list((row.number or "", row.note or "", row.added_at.isoformat()) for row in rows)

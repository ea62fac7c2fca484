"""The journal of a portal: every change that an administrator makes for all, and every outcome that a person settles.

An entry is written in the transaction of the change, so there is none without the other. It holds no secret and no
telephone number: numbers are masked as in logs, and those who record name no secret.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.log import mask_all_but_days
from bx24app.models import JournalEntry, utcnow

# What one entry and one portal may take.
MAX_CHANGES = 60
MAX_VALUE = 200
MAX_JOURNAL_ENTRIES = 10_000
PAGE_ROWS = 50
# Days look like numbers to whoever masks those.


class JournalPage(StrEnum):
    """Where something was changed."""

    CALLS = "calls"
    HOURS = "hours"
    SMART_PROCESSES = "smart-processes"
    PEOPLE = "people"
    NOTIFICATIONS = "notifications"
    FORMS = "forms"
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    DO_NOT_CALL = "do-not-call"
    CALLBACKS = "callbacks"
    PRIVACY = "privacy"
    # What the operator of the app has done to all portals.
    OPERATOR = "operator"


# Hosts and ids of callbacks are no numbers.
UNMASKED = (JournalPage.CALLBACKS, JournalPage.WEBHOOKS)


@dataclass(frozen=True)
class Recorded:
    """Who did it, on which page; ``subject`` names the thing where there are several."""

    portal_id: int
    user_id: int | None
    page: JournalPage
    subject: str = ""


def record(session: Session, by: Recorded, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Write what differs between two states, inside of the caller's transaction; nothing where nothing differs."""
    changes = _differences("", old, new)[:MAX_CHANGES]
    if not changes:
        return
    subject = by.subject if by.page in UNMASKED else mask_all_but_days(by.subject)
    entry = JournalEntry(
        portal_id=by.portal_id, user_id=by.user_id, page=by.page, subject=subject, changes=changes, made_at=utcnow()
    )
    session.add(entry)
    theirs = select(JournalEntry.id).where(JournalEntry.portal_id == by.portal_id)
    surplus = session.scalar(theirs.order_by(JournalEntry.id.desc()).offset(MAX_JOURNAL_ENTRIES - 1).limit(1))
    if surplus is not None:
        session.execute(
            delete(JournalEntry).where(JournalEntry.portal_id == by.portal_id, JournalEntry.id < surplus),
            execution_options={"synchronize_session": False},
        )


def _differences(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[list[str]]:
    found: list[list[str]] = []
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        inner = f"{path}{name}"
        if isinstance(one, dict) or isinstance(other, dict):
            found += _differences(f"{inner}.", one or {}, other or {})
        else:
            found.append([inner, _written(one), _written(other)])
    return found


def _written(value: Any) -> str:
    """A value as text: empty for none, JSON for what is no text."""
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return mask_all_but_days(text)[:MAX_VALUE]


@dataclass(frozen=True)
class JournalFilter:
    """Which entries; ``before`` asks for those older than that id."""

    page: str | None = None
    user_id: int | None = None
    before: int | None = None


def list_entries(
    portal_id: int, wanted: JournalFilter, limit: int = PAGE_ROWS
) -> tuple[Sequence[JournalEntry], int | None]:
    """List entries, the newest first, and the id to ask on from; None at the end."""
    query = select(JournalEntry).where(JournalEntry.portal_id == portal_id)
    if wanted.page:
        query = query.where(JournalEntry.page == wanted.page)
    if wanted.user_id is not None:
        query = query.where(JournalEntry.user_id == wanted.user_id)
    if wanted.before is not None:
        query = query.where(JournalEntry.id < wanted.before)
    with reading() as session:
        found = session.scalars(query.order_by(JournalEntry.id.desc()).limit(limit + 1)).all()
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def last_entry(portal_id: int, page: str) -> JournalEntry | None:
    """The last change of a page."""
    found, _more = list_entries(portal_id, JournalFilter(page=page), 1)
    return found[0] if found else None


def who_changed(portal_id: int) -> list[int]:
    """The numbers of everybody who is in the journal."""
    query = select(JournalEntry.user_id).where(JournalEntry.portal_id == portal_id, JournalEntry.user_id.is_not(None))
    with reading() as session:
        return [id for id in session.scalars(query.distinct()) if id is not None]

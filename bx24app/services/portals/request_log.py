"""Reading the REST log, for administrators of a portal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from bx24app.database import reading
from bx24app.models import RestCall

LOG_PAGE = 50
FIRST_ERROR_STATUS = 300


@dataclass(frozen=True)
class LogFilter:
    """Which rows; ``refused`` False asks for the answered ones, ``before`` for rows older than that id."""

    method: str | None = None
    refused: bool | None = None
    since: datetime | None = None
    before: int | None = None


@dataclass(frozen=True)
class LogPage:
    """Rows, newest first; ``more_before`` is the id to ask on from, or None at the end."""

    calls: Sequence[RestCall]
    more_before: int | None

    @property
    def user_ids(self) -> set[int | None]:
        """The people under whose access the requests were made."""
        return {call.user_id for call in self.calls}


def list_requests(portal_id: int, wanted: LogFilter) -> LogPage:
    """One page of a portal's log."""
    query = select(RestCall).where(RestCall.portal_id == portal_id).order_by(RestCall.id.desc()).limit(LOG_PAGE + 1)
    if wanted.method:
        query = query.where(RestCall.method == wanted.method)
    if wanted.refused is not None:
        refused = or_(RestCall.error.is_not(None), RestCall.status.is_(None), RestCall.status >= FIRST_ERROR_STATUS)
        query = query.where(refused if wanted.refused else ~refused)
    if wanted.since:
        query = query.where(RestCall.made_at >= wanted.since)
    if wanted.before:
        query = query.where(RestCall.id < wanted.before)
    with reading() as session:
        found = session.scalars(query).all()
    return LogPage(found[:LOG_PAGE], found[LOG_PAGE - 1].id if len(found) > LOG_PAGE else None)


def methods(portal_id: int) -> list[str]:
    """The methods that the portal's log holds, for the filter."""
    query = select(RestCall.method).where(RestCall.portal_id == portal_id).distinct().order_by(RestCall.method)
    with reading() as session:
        return list(session.scalars(query))

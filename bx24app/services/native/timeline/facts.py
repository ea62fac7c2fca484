"""What the activity of a callback depends on, read in one transaction; words are made of it elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.timeline import ActivityRow, ActivityView
from bx24app.models import FINAL, Attempt, Callback, Form, Portal, TimelineEntry, WebsiteRequest
from bx24app.services.callbacks.listing.company_day import read_company_zone
from bx24app.services.callbacks.people import read_names
from bx24app.services.callbacks.queries import with_history
from bx24app.services.callbacks.retry_policy import PlannedCall, planned_call
from bx24app.services.native.timeline.queue import EntryLease


@dataclass(frozen=True)
class EntryFacts:
    """A callback with its history and what came with it; ``names`` are those of people, by their number.

    ``notice`` says why the click of ``notice_for`` was refused, None where none was.
    """

    callback: Callback
    request: WebsiteRequest | None
    form_name: str
    names: dict[int, str] = field(repr=False)
    planned: PlannedCall | None
    zone: ZoneInfo
    notice: str | None
    notice_for: int | None

    @property
    def is_over(self) -> bool:
        """Tell whether the callback has ended."""
        return self.callback.state in FINAL

    @property
    def last_call(self) -> Attempt | None:
        """The last attempt of which the portal has named a call that is over."""
        ended = [one for one in self.callback.attempts if one.call_id and one.ended_at]
        return ended[-1] if ended else None

    def local(self, at: datetime) -> datetime:
        """A moment by the company's clock."""
        return at.astimezone(self.zone)


@dataclass(frozen=True)
class EntryWords:
    """The activity as it is shown, and what is written into the portal's own activity of the call."""

    view: ActivityView
    call_rows: tuple[ActivityRow, ...] = field(repr=False)


DescribeEntry = Callable[[EntryFacts], EntryWords]


@dataclass(frozen=True)
class ReadEntry:
    """An entry with its portal; ``facts`` None: the callback was erased."""

    entry: TimelineEntry
    portal: Portal
    facts: EntryFacts | None


def read_entry(session: Session, lease: EntryLease) -> ReadEntry | None:
    """Read what a leased entry is about; None when the lease has ended."""
    entry = session.get(TimelineEntry, lease.entry_id)
    if entry is None or not entry.holds(lease.lease_fence):
        return None
    portal = session.get_one(Portal, entry.portal_id)
    callback = session.scalar(with_history().where(Callback.id == entry.callback_id)) if entry.callback_id else None
    return ReadEntry(entry, portal, _facts(session, portal, entry, callback) if callback else None)


def _facts(session: Session, portal: Portal, entry: TimelineEntry, callback: Callback) -> EntryFacts:
    form = session.get(Form, callback.form_id) if callback.form_id else None
    people = [callback.requested_by, entry.notice_for, *(attempt.answered_by for attempt in callback.attempts)]
    return EntryFacts(
        callback=callback,
        request=session.scalar(select(WebsiteRequest).where(WebsiteRequest.callback_id == callback.id)),
        form_name=form.name if form else "",
        names=read_names(session, portal.id, people),
        planned=planned_call(session, portal, callback),
        zone=ZoneInfo(read_company_zone(session, portal)),
        notice=entry.notice,
        notice_for=entry.notice_for,
    )

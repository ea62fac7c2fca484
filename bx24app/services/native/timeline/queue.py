"""Entries that are out of date: leasing the next one, within what dialling leaves of its portal's pace."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session, aliased

from bx24app.database import writing
from bx24app.models import Portal, PortalState, Throttle, TimelineEntry, utcnow
from bx24app.models.lease import is_lasting, is_over
from bx24app.services.native.leasing import lease_first
from bx24app.services.portals.throttle import without_spare

ENTRY_LEASE = timedelta(seconds=90)
ENTRIES_AT_ONCE = 8
# What a portal is left alone for that has no timeline for apps.
LONGEST_TIMELINE_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class EntryLease:
    """An entry that only this thread brings up to date; ``changes`` are those that it has read."""

    entry_id: int
    portal_id: int
    lease_fence: int
    changes: int


def due_entries(now: datetime, besides: Collection[int] = ()) -> Select[TimelineEntry]:
    """Select the entry that is due longest, of a portal that has room and for whose entries nothing is being done."""
    busy = aliased(TimelineEntry)
    under_way = select(busy.portal_id).where(busy.due_at.is_not(None), is_lasting(busy.leased_until, now, ENTRY_LEASE))
    return (
        select(TimelineEntry)
        .join(Portal, Portal.id == TimelineEntry.portal_id)
        .join(Throttle, Throttle.portal_id == Portal.id)
        .where(TimelineEntry.due_at <= now, Portal.state == PortalState.INSTALLED)
        .where(TimelineEntry.portal_id.not_in(besides))
        .where(TimelineEntry.portal_id.not_in(without_spare(now)))
        .where(is_over(Throttle.extras_at, now, LONGEST_TIMELINE_PAUSE), TimelineEntry.portal_id.not_in(under_way))
        .order_by(TimelineEntry.due_at, TimelineEntry.id)
        .limit(1)
    )


def lease_entry(besides: Collection[int] = ()) -> EntryLease | None:
    """Lease the next due entry of no portal ``besides``, or return None; commits."""
    entry = lease_first(TimelineEntry, lambda now: due_entries(now, besides), ENTRY_LEASE)
    return EntryLease(entry.id, entry.portal_id, entry.lease_fence, entry.changes) if entry else None


def leased_entry(session: Session, lease: EntryLease) -> TimelineEntry | None:
    """Lock and return the leased entry; None when the lease has ended."""
    entry = session.get(TimelineEntry, lease.entry_id, with_for_update=True)
    return entry if entry is not None and entry.holds(lease.lease_fence) else None


def pause_portal(portal_id: int, pause: timedelta) -> None:
    """Ask the portal for nothing of the timeline for a while, ``LONGEST_TIMELINE_PAUSE`` at most; commits."""
    until = utcnow() + min(pause, LONGEST_TIMELINE_PAUSE)
    with writing() as session:
        session.execute(update(Throttle).where(Throttle.portal_id == portal_id).values(extras_at=until))

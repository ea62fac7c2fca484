"""Bringing the activity of a callback up to date.

Adding one has no idempotency key, so it is fenced like a dial: noted and committed before the portal is asked. When the
answer is lost, our mark on the activity is looked for before anything is added again. Nothing of this concerns the
call: a portal that refuses, or is silent, loses the activity alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from json import dumps
from typing import TypeVar

import structlog

from bx24app.bitrix24 import timeline
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.errors import AccessDenied, Bitrix24Error, InsufficientScope, MethodUnknown
from bx24app.bitrix24.timeline import ActivityView, CallActivity
from bx24app.database import reading, writing
from bx24app.errors import Executed, Refusal, Retry
from bx24app.i18n import speaking_to
from bx24app.log import name_portal
from bx24app.models import Portal, TimelineEntry, utcnow
from bx24app.models.lease import lasts
from bx24app.outgoing.deadline import ending_within
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.native.timeline.facts import DescribeEntry, EntryFacts, EntryWords, ReadEntry, read_entry
from bx24app.services.native.timeline.queue import LONGEST_TIMELINE_PAUSE, EntryLease, leased_entry, pause_portal
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal

log = structlog.get_logger(__name__)
T = TypeVar("T")

ENTRY_SECONDS = 60.0
# Longer than the platform works on one request.
LOST_ADD_PAUSE = timedelta(seconds=120)
MAX_ADDS = 2
# The portal writes its own activity of a call in its own time.
LOOK_PAUSES = (5, 30, 120, 600)
ENTRY_BACKOFF = (10, 60, 300, 900, 3600)
# A portal that is silent is asked for about half a day, one that says no less often.
MAX_TRIES, MAX_REFUSALS = 15, 3
# Of a portal that is silent or busy.
SILENT_PAUSE = timedelta(seconds=30)


@dataclass(frozen=True)
class _Work:
    """A leased entry as it was read, and what is to be shown of its callback."""

    lease: EntryLease
    read: ReadEntry
    facts: EntryFacts
    words: EntryWords

    @property
    def entry(self) -> TimelineEntry:
        return self.read.entry

    @property
    def origin(self) -> str:
        return str(self.read.entry.origin)


def work_on_entry(lease: EntryLease, describe: DescribeEntry) -> None:
    """Show in a leased entry's card where its callback stands, in the words of ``describe``; commits."""
    with reading() as session:
        read = read_entry(session, lease)
    if read is None:
        return
    name_portal(read.portal.member_id)
    try:
        # So that the lease ends only with its holder.
        with ending_within(ENTRY_SECONDS):
            if read.facts is None:
                _take_away(lease, read.entry)
            else:
                with speaking_to(read.portal.language):
                    words = describe(read.facts)
                _bring_up_to_date(_Work(lease, read, read.facts, words))
    except (ExchangeError, Refusal) as error:
        _failed(lease, error)
        return
    _note_problem(read.portal, None)


def _ask(portal_id: int, method: str, ask: Callable[[PortalClient], T]) -> T:
    """Ask under the portal's own access; nobody takes over from an administrator who may not change a card."""
    access = token_renewal.service_access(portal_id)
    return portal_api.call(access, portal_api.RequestLabel(method, {}), ask)


@contextmanager
def _kept(lease: EntryLease) -> Iterator[TimelineEntry | None]:
    with writing() as session:
        yield leased_entry(session, lease)


def _digest(view: ActivityView) -> str:
    return sha256(dumps([timeline.layout_of(view), view.is_over], sort_keys=True).encode()).hexdigest()


def _bring_up_to_date(work: _Work) -> None:
    activity_id = work.entry.activity_id
    if activity_id is None and work.entry.asked_at is not None:
        if lasts(until := work.entry.asked_at + LOST_ADD_PAUSE, utcnow(), LOST_ADD_PAUSE):
            _settle(work, until - utcnow())
            return
        activity_id = _find_lost(work)
    if activity_id is not None:
        _update(work, activity_id)
    elif not work.facts.is_over and not _add(work):
        return
    _settle(work, _enrich(work))


def _find_lost(work: _Work) -> int | None:
    """Look for the activity of which the answer was lost; None: it was not added."""
    found = _ask(work.lease.portal_id, "crm.activity.list", lambda client: timeline.find_activity(client, work.origin))
    with _kept(work.lease) as entry:
        if entry is not None:
            entry.asked_at = None
            entry.activity_id, entry.shown = found, None
    return found


def _update(work: _Work, activity_id: int) -> None:
    """Show the present state, unless the activity shows it."""
    shown, view = _digest(work.words.view), work.words.view
    if work.entry.shown == shown and work.entry.activity_id == activity_id:
        return
    method = "crm.activity.configurable.update"
    _ask(work.lease.portal_id, method, lambda client: timeline.update_activity(client, activity_id, view, work.origin))
    with _kept(work.lease) as entry:
        _note_shown(work, entry, activity_id)


def _add(work: _Work) -> bool:
    """Add the activity; False where nothing more can be done now."""
    portal_id, card = work.lease.portal_id, (work.entry.entity_type, work.entry.entity_id)
    responsible = _responsible(work)
    with _kept(work.lease) as entry:
        if entry is None or entry.callback_id is None:
            return False
        if entry.asks >= MAX_ADDS:
            entry.end(utcnow(), "timeline_unknown")
            return False
        entry.ask(utcnow())
    view, method = work.words.view, "crm.activity.configurable.add"
    try:
        added = _ask(
            portal_id, method, lambda client: timeline.add_activity(client, card, view, work.origin, responsible)
        )
    except (ExchangeError, Refusal) as error:
        if error.executed is Executed.UNKNOWN:
            log.info("timeline_add_unknown", callback=work.origin, reason=error.code)
            _settle(work, LOST_ADD_PAUSE)
            return False
        with _kept(work.lease) as entry:
            if entry is not None:
                entry.was_not_asked()
        raise
    with _kept(work.lease) as entry:
        _note_shown(work, entry, added)
    return True


def _note_shown(work: _Work, entry: TimelineEntry | None, activity_id: int) -> None:
    """A click that came meanwhile has blocked a button: then the activity is shown once more, whatever it shows."""
    if entry is not None:
        entry.show(activity_id, _digest(work.words.view) if entry.changes == work.lease.changes else None)


def _responsible(work: _Work) -> int | None:
    """Whoever asked for the callback, else who is responsible for the card; None: the portal chooses."""
    kind, entity_id, person = work.entry.entity_type, work.entry.entity_id, work.facts.callback.requested_by
    if person is not None:
        return person
    method = timeline.reading_method(kind)
    return _ask(work.lease.portal_id, method, lambda client: timeline.responsible_of(client, kind, entity_id))


def _enrich(work: _Work) -> timedelta | None:
    """Put our words into the portal's own activity of a call that is over; returns when it is looked for again."""
    call, entry = work.facts.last_call, work.entry
    if not work.facts.is_over or call is None or entry.call_activity is not None or entry.looks >= len(LOOK_PAUSES):
        return None
    portal_id, rows = work.lease.portal_id, work.words.call_rows
    found = _ask(
        portal_id,
        "crm.activity.list",
        lambda client: timeline.find_call_activity(client, call.call_id or "", call.activity_id),
    )
    if found is not None:
        method = "crm.activity.layout.blocks.set"
        _ask(portal_id, method, lambda client: timeline.set_call_rows(client, found, rows))
    with _kept(work.lease) as kept:
        if kept is not None:
            kept.looks += 1
            kept.call_activity = _stored(found) if found else None
    return None if found else timedelta(seconds=LOOK_PAUSES[entry.looks])


def _stored(call: CallActivity) -> dict[str, int]:
    return {"activity": call.activity_id, "type": call.type_id, "entity": call.entity_id}


def _settle(work: _Work, pause: timedelta | None) -> None:
    """Wait for the next change, or for ``pause``; what has changed meanwhile is shown at once."""
    now = utcnow()
    with _kept(work.lease) as entry:
        if entry is None:
            return
        # An answer that was lost is waited for, whatever happens to the callback.
        has_changed = entry.changes != work.lease.changes and entry.asked_at is None
        entry.wait(now if has_changed else now + pause if pause is not None else None)


def _take_away(lease: EntryLease, entry: TimelineEntry) -> None:
    """Delete the activity of a callback that was erased, and our words about its call; then nothing is left of it."""
    until = entry.asked_at and entry.asked_at + LOST_ADD_PAUSE
    if lasts(until, utcnow(), LOST_ADD_PAUSE):
        with _kept(lease) as kept:  # The platform may still be adding it.
            if kept is not None:
                kept.wait(until)
        return
    activity_id, called = entry.activity_id, entry.call_activity
    if activity_id is None and entry.asks:
        origin = str(entry.origin)
        activity_id = _ask(lease.portal_id, "crm.activity.list", lambda one: timeline.find_activity(one, origin))
    if called is not None:
        call = CallActivity(called["activity"], called["type"], called["entity"])
        _unless_gone(lease, "crm.activity.layout.blocks.delete", lambda one: timeline.clear_call_rows(one, call))
    if activity_id is not None:
        id = activity_id
        _unless_gone(lease, "crm.activity.delete", lambda one: timeline.delete_activity(one, id))
    _forget(lease)


def _unless_gone(lease: EntryLease, method: str, ask: Callable[[PortalClient], None]) -> None:
    try:
        _ask(lease.portal_id, method, ask)
    except Bitrix24Error as error:
        if not timeline.is_gone(error):
            raise


def _forget(lease: EntryLease) -> None:
    with writing() as session:
        if (entry := leased_entry(session, lease)) is not None:
            session.delete(entry)


def _failed(lease: EntryLease, error: ExchangeError | Refusal) -> None:
    """Try again later, a few times; an activity that somebody has deleted is not made again."""
    now = utcnow()
    is_refused = isinstance(error, Bitrix24Error) and error.retry is Retry.NEVER and not error.revokes_credential
    is_gone = timeline.is_gone(error)
    log.info("timeline_not_shown", entry=lease.entry_id, reason=error.code)
    with writing() as session:
        entry = leased_entry(session, lease)
        if entry is None:
            return
        portal = session.get_one(Portal, entry.portal_id)
        is_last = entry.tries + 1 >= (MAX_REFUSALS if is_refused else MAX_TRIES)
        if entry.callback_id is None and (is_gone or is_last):
            log.warning("timeline_not_erased", activity=entry.activity_id, reason=error.code)
            session.delete(entry)
        elif is_gone or is_last:
            entry.end(now, "deleted" if is_gone else _reason_of(error))
        else:
            entry.put_off(now + timedelta(seconds=ENTRY_BACKOFF[min(entry.tries, len(ENTRY_BACKOFF) - 1)]))
    if is_refused and not is_gone:
        _note_problem(portal, _reason_of(error))
    if not is_refused:
        pause_portal(lease.portal_id, SILENT_PAUSE)
    elif _reason_of(error) == "timeline_lacking":
        # What one card lacks all others lack too.
        pause_portal(lease.portal_id, LONGEST_TIMELINE_PAUSE)


def _reason_of(error: ExchangeError | Refusal) -> str:
    if isinstance(error, InsufficientScope | MethodUnknown):
        return "timeline_lacking"
    return "timeline_denied" if isinstance(error, AccessDenied) else error.code


def _note_problem(portal: Portal, problem: str | None) -> None:
    """Keep what the setup check says, where that is news."""
    if portal.timeline_problem == problem:
        return
    with writing() as session:
        row = session.get(Portal, portal.id, with_for_update=True)
        if row is not None:
            row.timeline_problem = problem

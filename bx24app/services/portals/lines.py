"""A portal's lines and voices: read with the portal's own credential, kept, refreshed on demand."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bx24app.bitrix24 import telephony
from bx24app.database import reading, writing
from bx24app.errors import NotFound, PortalDisconnected, Refusal, UnknownLine, UnknownVoice
from bx24app.models import Portal, utcnow
from bx24app.models.lease import lasts
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.throttle import take_question
from bx24app.services.runtime import wakeup
from bx24app.services.security.journal import JournalPage, Recorded, record

LISTING_FRESH = timedelta(hours=24)


@dataclass(frozen=True)
class Listing:
    """Names by id as the portal listed them at ``fetched_at``; ``problem`` says why they are old or missing."""

    names: dict[str, str]
    fetched_at: datetime | None
    problem: ExchangeError | Refusal | None = None


def lines_of(portal: Portal) -> Listing:
    """The lines of a portal that was read just now: those kept with it while they are fresh, else as ``get_lines``."""
    listing = kept_lines(portal)
    return listing if _is_fresh(listing) else get_lines(portal.id)


def voices_of(portal: Portal) -> Listing:
    """The voices of a portal that was read just now, likewise."""
    listing = kept_voices(portal)
    return listing if _is_fresh(listing) else get_voices(portal.id)


def get_lines(portal_id: int, *, refresh: bool = False) -> Listing:
    """The lines of a portal; asks the portal when none are kept, they are a day old, or ``refresh``.

    A portal that cannot be asked leaves the kept ones standing, with the problem beside them.
    """
    listing = kept_lines(_kept(portal_id))
    if not refresh and _is_fresh(listing):
        return listing
    try:
        take_question(portal_id, "lines")
        names = portal_api.call_for_portal(
            portal_id, portal_api.RequestLabel("voximplant.line.get", {}), telephony.get_lines
        )
    except (ExchangeError, Refusal) as error:
        return Listing(listing.names, listing.fetched_at, error)
    now = utcnow()
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.keep_lines(names, now)
        return kept_lines(portal)


def get_voices(portal_id: int, *, refresh: bool = False) -> Listing:
    """The voices of a portal, kept and refreshed like its lines."""
    listing = kept_voices(_kept(portal_id))
    if not refresh and _is_fresh(listing):
        return listing
    try:
        take_question(portal_id, "voices")
        names = portal_api.call_for_portal(
            portal_id, portal_api.RequestLabel("voximplant.tts.voices.get", {}), telephony.get_voices
        )
    except (ExchangeError, Refusal) as error:
        return Listing(listing.names, listing.fetched_at, error)
    now = utcnow()
    with writing() as session:
        session.get_one(Portal, portal_id, with_for_update=True).keep_voices(names, now)
    return Listing(names, now)


def _kept(portal_id: int) -> Portal:
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None:
        raise PortalDisconnected
    return portal


def kept_lines(portal: Portal) -> Listing:
    """The lines as they were listed last, however long ago; nobody is asked."""
    return Listing({line.line_id: line.name for line in portal.listed_lines}, portal.lines_fetched_at)


def kept_voices(portal: Portal) -> Listing:
    """The voices as they were listed last, likewise."""
    return Listing(portal.voices or {}, portal.voices_fetched_at)


def _is_fresh(listing: Listing) -> bool:
    # A portal without lines is asked every time, because an administrator may just be renting one.
    until = listing.fetched_at and listing.fetched_at + LISTING_FRESH
    return bool(listing.names) and lasts(until, utcnow(), LISTING_FRESH)


def cached_line_name(portal: Portal, line_id: str) -> str | None:
    """The name of a line in a list that is fresh enough to be believed; None: ``require_line`` has to look."""
    listing = kept_lines(portal)
    return listing.names.get(line_id) if _is_fresh(listing) else None


def require_line(portal_id: int, line_id: str) -> str:
    """The name of a line; raises ``UnknownLine``, or what kept the portal from being asked."""
    listing = get_lines(portal_id)
    if line_id not in listing.names:
        listing = get_lines(portal_id, refresh=True)
    if line_id in listing.names:
        return listing.names[line_id]
    raise _unless_silent(listing, UnknownLine("line_id"))


def require_voice(portal_id: int, voice_id: str) -> str:
    """The name of a voice; raises ``UnknownVoice``, or what kept the portal from being asked."""
    listing = get_voices(portal_id)
    if voice_id in listing.names:
        return listing.names[voice_id]
    raise _unless_silent(listing, UnknownVoice("voice_id"))


def _unless_silent(listing: Listing, refusal: Refusal) -> Exception:
    return refusal if listing.problem is None or listing.names else listing.problem


def resume_line(portal_id: int, line_id: str, user_id: int | None) -> str:
    """An administrator (``user_id``) says that a stopped line has money again; returns its name. Commits.

    Raises ``NotFound`` for a line that was not stopped.
    """
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        if line_id not in portal.stopped_lines:
            raise NotFound
        portal.resume_line(line_id)
        by = Recorded(portal_id, user_id, JournalPage.CALLS, portal.line_name(line_id))
        record(session, by, {"line": "stopped"}, {"line": "resumed"})
    wakeup.wake()
    return portal.line_name(line_id)

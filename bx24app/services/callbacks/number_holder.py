"""The holder of a number: at most one callback of a portal at a time (``uq_callback_in_hand``), and who follows it.

A holder rings for whoever asks meanwhile, too. Once it does not any more, such requests become callbacks of their own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, and_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.database.errors import is_duplicate, raise_for_all
from bx24app.errors import DatabaseBusy
from bx24app.models import Callback, DecoyRequest, Form, Outcome, Portal, Source, State, WebsiteRequest
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import do_not_call, spoken_text

log = structlog.get_logger(__name__)

# So many of those who asked meanwhile may follow a callback, one after the other, where each ends without having rung.
MAX_FOLLOWERS = 20


def number_is_held(portal_id: Any, to_number: Any, callback: type[Callback] = Callback) -> ColumnElement[bool]:
    """Make the condition that ``callback`` holds a number of a portal, both given as values, columns or parameters.

    Pass an alias as ``callback`` where the statement is about other callbacks too.
    """
    return and_(callback.portal_id == portal_id, holds(to_number, callback))


def holds(to_number: Any, callback: type[Callback] = Callback) -> ColumnElement[bool]:
    """Make the condition that ``callback`` holds a number, of whichever portal."""
    return and_(callback.to_number == to_number, callback.holds_number)


def holder_of(session: Session, portal_id: int, to_number: str, other_than: UUID | None = None) -> Callback | None:
    """Find the callback that holds a number, not counting the one with the id ``other_than``; None: nobody holds it."""
    holder = session.scalar(select(Callback).where(number_is_held(portal_id, to_number)))
    return None if holder is None or holder.id == other_than else holder


def waits_still(at: datetime) -> ColumnElement[bool]:
    """Make the condition that a decoy with a holder may be called yet: it has not ended, and its time is not over.

    One that is unknown since a restore has not ended: it goes on with what becomes of its holder.
    """
    is_late = DecoyRequest.expires_at < at  # None of an earlier version is.
    has_ended = DecoyRequest.ended_as != State.UNKNOWN
    return and_(DecoyRequest.cancelled_at.is_(None), has_ended.isnot(True), is_late.isnot(True))


def pass_on(
    session: Session, callback: Callback, at: datetime, among: ColumnElement[bool] | None = None
) -> Callback | None:
    """Let the first request that waits behind a callback take its place; None: none waits, or somebody else rings.

    The caller has locked the callback, and it does not hold its number any more. No request comes meanwhile: each locks
    the callback that holds its number. Raises ``DatabaseBusy`` when somebody else has taken the number in this moment.
    ``among``: a condition for decoys; others go on waiting for it.
    """
    first, *others = _first_behind(session, callback, at, among) or (None,)
    if first is None:
        return None
    session.flush()  # The number is free from here on.
    rings, heir = holder_of(session, callback.portal_id, callback.to_number), None
    if rings is None:
        try:
            with session.begin_nested():
                rings = heir = make_own(session, session.get_one(DecoyRequest, first), callback, at)
                heir.decide("passed_on", at)
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            rings = holder_of(session, callback.portal_id, callback.to_number)
            if rings is None:
                raise DatabaseBusy from None
    follow = others if rings is heir else [first, *others]
    session.execute(update(DecoyRequest).where(DecoyRequest.id.in_(follow)).values(holder_id=rings.id))
    return heir


def _first_behind(
    session: Session, callback: Callback, at: datetime, among: ColumnElement[bool] | None = None
) -> Sequence[UUID]:
    """Lock the first requests that wait behind a callback, in order."""
    query = select(DecoyRequest.id).where(DecoyRequest.holder_id == callback.id, waits_still(at))
    query = query if among is None else query.where(among)
    return session.scalars(query.order_by(DecoyRequest.id).limit(MAX_FOLLOWERS).with_for_update()).all()


def pass_on_unrung(session: Session, callback: Callback, at: datetime) -> None:
    """Pass on where a callback has given its number back, for a reason of its own, to whoever it has not rung for.

    Its line was full, or its person has no access any more: others asked for another line, or by another way. A call
    that may have rung was also for all who asked until it was surely over (``_rang_until``), also where nobody knows
    whether it reached them: those follow what a person decides about the callback.
    """
    since = _rang_until(callback)
    among = true() if since is None else DecoyRequest.created_at >= since
    is_put_off = callback.state == State.SCHEDULED
    if is_put_off and callback.form_id is not None:
        # It will ring: whoever asked at the same form has the same hours.
        among = and_(among, DecoyRequest.form_id != callback.form_id)
    try:
        with session.begin_nested():
            pass_on(session, callback, at, among)
            if is_put_off:
                keep_waiting(session, callback, at)
    except DatabaseBusy:
        # Somebody else has the number, and was not seen yet.
        log.info("not_passed_on", callback=str(callback.id), reason=DatabaseBusy.__name__)
    except Exception as error:
        raise_for_all(error)
        # Callbacks of all portals end in one transaction, and whatever is wrong with one must not hold up the others.
        log.exception("not_passed_on", callback=str(callback.id), reason=type(error).__name__)


def _rang_until(callback: Callback) -> datetime | None:
    """Return until when calls of a callback can have served whoever asked; None: none can have rung."""
    rang = [one for one in callback.attempts if one.outcome not in (Outcome.NOT_EXECUTED, Outcome.REFUSED)]
    if not rang:
        return None
    until = max(one.rang_until for one in rang)
    # Who has it called again knows that the call before is over. How long one was, the history knows better.
    is_decided = rang[-1].started_at < callback.chosen_at and rang[-1].duration_seconds is None
    return min(until, callback.chosen_at) if is_decided else until


def keep_waiting(session: Session, callback: Callback, at: datetime) -> None:
    """Let those who stay behind a callback that was put off wait as long as it does: they can still take its place."""
    behind = DecoyRequest.id.in_(_first_behind(session, callback, at))
    sooner = DecoyRequest.expires_at < callback.expires_at
    session.execute(update(DecoyRequest).where(behind, sooner).values(expires_at=callback.expires_at))


def make_own(session: Session, decoy: DecoyRequest, holder: Callback, at: datetime) -> Callback:
    """Make a callback of a request for which another one was to ring; it keeps its id, and so its link.

    Of the other one it has the number alone: what else was asked with it may be of another form and another person.
    """
    form = session.get_one(Form, decoy.form_id)
    portal = session.get_one(Portal, holder.portal_id)
    # One that an earlier version stored does not know its line.
    line_id = decoy.line_id or holder.line_id
    template = form.text or spoken_text.default_template(portal.language)
    # Two posts with one key that came in one moment may have left a decoy and a callback.
    same_key = and_(Callback.portal_id == portal.id, Callback.idempotency_key == decoy.idempotency_key)
    # Without a key it would be compared with those of all that have none.
    is_used = decoy.idempotency_key is not None and session.scalar(select(Callback.id).where(same_key)) is not None
    callback = Callback(
        id=decoy.id,
        portal_id=portal.id,
        to_number=holder.to_number,
        line_id=line_id,
        line_name=portal.line_name(line_id)[:255],
        voice_id=form.voice_id or portal.settings.default_voice_id,
        text=spoken_text.fill_template(template, form=form.name),
        source=Source.WEBSITE,
        form_id=form.id,
        idempotency_key=None if is_used else decoy.idempotency_key,
        request_digest=None if is_used else decoy.request_digest,
        scheduled_at=decoy.scheduled_at,
        due_at=decoy.due_at,
        # That of an earlier version knows none.
        expires_at=decoy.expires_at or max(decoy.due_at, at) + expiry_of(Source.WEBSITE, form),
        created_at=decoy.created_at,
        updated_at=at,
        attempts=[],
        decisions=[],
    )
    callback.accept(at)
    session.add(callback)
    session.flush()
    # No first digest, which would be made in a transaction of its own: the decoy was stored with one.
    digest = do_not_call.number_digest(holder.to_number)
    session.add(WebsiteRequest(callback_id=callback.id, form_id=form.id, number_digest=digest, created_at=at))
    session.delete(decoy)
    return callback

"""The holder of a number: at most one callback of a portal at a time (``uq_callback_in_hand``), and who follows it.

A holder rings for whoever asks meanwhile, too. Once it does not any more, such requests become callbacks of their own.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.database.errors import is_duplicate
from bx24app.errors import DatabaseBusy
from bx24app.models import Callback, DecoyRequest, Form, Portal, Source, WebsiteRequest
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.calling import spoken_text


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


def pass_on(session: Session, callback: Callback, at: datetime) -> Callback | None:
    """Let the first request that waits behind a callback take its place; None: none waits, or somebody else rings.

    The caller has locked the callback, and it does not hold its number any more. No request comes meanwhile: each locks
    the callback that holds its number. Raises ``DatabaseBusy`` when somebody else has taken the number in this moment.
    """
    behind = select(DecoyRequest).where(DecoyRequest.holder_id == callback.id, DecoyRequest.cancelled_at.is_(None))
    waiting = session.scalars(behind.order_by(DecoyRequest.id).with_for_update()).all()
    if not waiting:
        return None
    session.flush()  # The number is free from here on.
    rings = holder_of(session, callback.portal_id, callback.to_number)
    heir = None
    if rings is None:
        first, *waiting = waiting
        try:
            with session.begin_nested():
                rings = heir = make_own(session, first, callback, at)
                heir.decide("passed_on", at)
        except IntegrityError as error:
            raise (DatabaseBusy() if is_duplicate(error) else error) from None
    for decoy in waiting:
        decoy.holder_id = rings.id
    return heir


def make_own(session: Session, decoy: DecoyRequest, holder: Callback, at: datetime) -> Callback:
    """Make a callback of a request for which another one was to ring; it keeps its id, and so its link.

    Of the other one it has the number alone: what else was asked with it may be of another form and another person.
    """
    form = session.get_one(Form, decoy.form_id)
    portal = session.get_one(Portal, holder.portal_id)
    # One that an earlier version stored does not know its line.
    line_id = decoy.line_id or holder.line_id
    template = form.text or spoken_text.default_template(portal.language)
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
        idempotency_key=decoy.idempotency_key,
        request_digest=decoy.request_digest,
        scheduled_at=decoy.scheduled_at,
        due_at=decoy.due_at,
        expires_at=max(decoy.due_at, at) + expiry_of(Source.WEBSITE, form),
        created_at=decoy.created_at,
        updated_at=at,
        attempts=[],
        decisions=[],
    )
    callback.accept(at)
    session.add(callback)
    digest = session.scalar(select(WebsiteRequest.number_digest).where(WebsiteRequest.callback_id == holder.id))
    if digest is not None:
        session.flush()
        session.add(WebsiteRequest(callback_id=callback.id, form_id=form.id, number_digest=digest, created_at=at))
    session.delete(decoy)
    return callback

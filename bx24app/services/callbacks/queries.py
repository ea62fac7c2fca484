"""Read callbacks: one of them, one that is waited for, or those of a card (the whole list: ``listing/pages.py``)."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import CompoundSelect, Select, select, union
from sqlalchemy.orm import Session, selectinload

from bx24app.database import reading
from bx24app.errors import NotFound
from bx24app.models import Callback, State
from bx24app.services.callbacks.listing.matching import is_of
from bx24app.services.callbacks.people import read_names
from bx24app.services.callbacks.principal import Principal
from bx24app.services.runtime import wakeup

# The inputs of decisions that name users.
PEOPLE = frozenset({"user", "former"})
# Who waits for a dial is told of it; should that be lost, they look so often.
LOOK_AGAIN_SECONDS = 0.5


def with_history() -> Select[Callback]:
    """Select callbacks with their attempts and decisions."""
    return select(Callback).options(selectinload(Callback.attempts), selectinload(Callback.decisions))


@dataclass(frozen=True)
class CardFilter:
    """What a card lists: a customer's callbacks, ``limit`` at most."""

    crm_entity: tuple[str, int] | None = None
    to_numbers: tuple[str, ...] = ()
    # Only those that this user asked for or answered.
    own_of: int | None = None
    limit: int = 50


def get_callback(portal_id: int, callback_id: UUID) -> Callback:
    """Read a callback of a portal with its attempts and decisions, for the app itself; raises ``NotFound``."""
    with reading() as session:
        return _read_callback(session, portal_id, callback_id)


def get_shown_callback(principal: Principal, callback_id: UUID) -> Callback:
    """Read a callback for whoever asks; raises ``NotFound`` for one that they may not see, as for one that is not."""
    with reading() as session:
        return read_shown(session, principal, callback_id)


def _read_callback(session: Session, portal_id: int, callback_id: UUID) -> Callback:
    callback = session.scalar(with_history().where(Callback.portal_id == portal_id, Callback.id == callback_id))
    if callback is None:
        raise NotFound
    return callback


def read_shown(session: Session, principal: Principal, callback_id: UUID) -> Callback:
    """The same inside the caller's transaction."""
    callback = _read_callback(session, principal.portal.id, callback_id)
    if principal.form_id not in (None, callback.form_id):
        raise NotFound
    if principal.own_of is not None and not callback.is_of(principal.own_of):
        raise NotFound
    return callback


def wait_until_dialled(portal_id: int, callback_id: UUID, seconds: float) -> Callback:
    """Return a callback as soon as it has been dialled, or after ``seconds`` as it is then; raises ``NotFound``."""
    deadline = time.monotonic() + seconds
    with wakeup.until_dialled(callback_id) as told:
        while True:
            told.clear()
            callback = get_callback(portal_id, callback_id)
            left = deadline - time.monotonic()
            if callback.state not in (State.QUEUED, State.DIALLING) or left <= 0:
                return callback
            told.wait(min(LOOK_AGAIN_SECONDS, left))


def _read_callbacks(session: Session, portal_id: int, wanted: CardFilter) -> list[Callback]:
    query = with_history().where(Callback.portal_id == portal_id)
    if wanted.crm_entity or wanted.to_numbers:
        query = query.where(Callback.id.in_(_concerning(portal_id, wanted)))
    if wanted.own_of is not None:
        query = query.where(is_of(wanted.own_of))
    return list(session.scalars(query.order_by(Callback.id.desc()).limit(wanted.limit)))


def _concerning(portal_id: int, wanted: CardFilter) -> CompoundSelect[UUID]:
    """Select a customer's callbacks: those requested in their card, and those to one of their numbers.

    They are two queries in a union, so that each uses its own index.
    """
    own = select(Callback.id).where(Callback.portal_id == portal_id)
    entity_type, entity_id = wanted.crm_entity or ("", None)
    by_card = own.where(Callback.crm_entity_type == entity_type, Callback.crm_entity_id == entity_id)
    return union(by_card, own.where(Callback.to_number.in_(wanted.to_numbers)))


@dataclass(frozen=True)
class NamedCallback:
    """A callback with its history, and the names of the users who appear in it, by user id."""

    callback: Callback
    names: dict[int, str]


def get_named_callback(principal: Principal, callback_id: UUID) -> NamedCallback:
    """Read a callback with names, as ``get_shown_callback`` does; raises ``NotFound``."""
    with reading() as session:
        callback = read_shown(session, principal, callback_id)
        return name_callbacks(session, principal.portal.id, [callback])[0]


def read_named_callbacks(session: Session, portal_id: int, wanted: CardFilter) -> list[NamedCallback]:
    """List callbacks with names, the newest first, inside the caller's transaction."""
    return name_callbacks(session, portal_id, _read_callbacks(session, portal_id, wanted))


def name_callbacks(session: Session, portal_id: int, callbacks: list[Callback]) -> list[NamedCallback]:
    """Add the names of the users who appear in callbacks, inside the caller's transaction."""
    people = {user_id for callback in callbacks for user_id in _people_in(callback)}
    names = read_names(session, portal_id, people)
    return [NamedCallback(callback, names) for callback in callbacks]


def _people_in(callback: Callback) -> Iterator[int | None]:
    """List the users who requested a callback, answered it, or decided about it."""
    yield callback.requested_by
    yield from (attempt.answered_by for attempt in callback.attempts)
    for decision in callback.why:
        yield from (int(decision.inputs[name]) for name in PEOPLE & decision.inputs.keys())

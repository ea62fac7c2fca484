"""The callbacks that were requested in a quarter of an hour, as the reports count them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.orm import Session

from bx24app.models import QUARTER_SECONDS, Attempt, Callback
from bx24app.services.reports.tally import CountedAttempt, CountedCallback

_MILLISECONDS = QUARTER_SECONDS * 1000
# Callbacks with the versions that were read.
CallbacksRead = Sequence[tuple[UUID, int, CountedCallback]]


def slot_of(callback_id: UUID) -> int:
    """The quarter of an hour in which a callback was requested: UUIDs of version 7 begin with the time."""
    return (callback_id.int >> 80) // _MILLISECONDS


def first_id_of(slot: int) -> UUID:
    """The smallest id that a callback of a quarter of an hour can have."""
    return UUID(int=slot * _MILLISECONDS << 80)


def of_slot(portal_id: int, slot: int) -> tuple[ColumnElement[bool], ...]:
    """Make the conditions for the callbacks of a quarter of an hour."""
    return Callback.portal_id == portal_id, Callback.id >= first_id_of(slot), Callback.id < first_id_of(slot + 1)


def versions_of(session: Session, portal_id: int, slot: int) -> Row[*tuple[Any, ...]]:
    """What no change of a callback leaves as it is, nor a deletion, which marks one that is left as not counted."""
    sums = (func.sum(column) for column in (Callback.version, Callback.counted_version))
    return session.execute(select(func.count(), *sums).where(*of_slot(portal_id, slot))).one()


def read_slot(session: Session, portal_id: int, slot: int) -> CallbacksRead:
    """Read the callbacks of a quarter of an hour, first their versions: what changes in between counts again."""
    callbacks_of = of_slot(portal_id, slot)
    callbacks = session.execute(_callback_columns().where(*callbacks_of)).all()
    attempts: dict[UUID, list[CountedAttempt]] = {}
    columns = _attempt_columns().join(Callback, Callback.id == Attempt.callback_id).where(*callbacks_of)
    for callback_id, *values in session.execute(columns.order_by(Attempt.number)):
        attempts.setdefault(callback_id, []).append(CountedAttempt(*values))
    return [
        (id, version, replace(CountedCallback(*values), attempts=attempts.get(id, ())))
        for id, version, *values in callbacks
    ]


def _callback_columns() -> Select[*tuple[Any, ...]]:
    counted = (Callback.state, Callback.reason, Callback.source, Callback.form_id, Callback.line_id)
    return select(
        Callback.id, Callback.version, *counted, Callback.requested_by, Callback.created_at, Callback.scheduled_at
    )


def _attempt_columns() -> Select[*tuple[Any, ...]]:
    answered = (Attempt.answered_by, Attempt.answered_at, Attempt.duration_seconds)
    return select(
        Attempt.callback_id, Attempt.outcome, Attempt.failed_code, *answered, Attempt.cost, Attempt.cost_currency
    )

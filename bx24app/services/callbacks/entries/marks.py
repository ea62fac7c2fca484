"""Marking what stands in the timeline of CRM cards as out of date, in the same transaction as the callback's change.

A listener runs on every flush, so that no use case can forget it. ``services/native/timeline`` brings the cards up to
date; several changes in one second are one update. Which callbacks are shown at all their form says, else the portal.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Insert,
    Select,
    bindparam,
    case,
    event,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    select,
)
from sqlalchemy import update as updating
from sqlalchemy.orm import Session, UOWTransaction

from bx24app.bitrix24.company.cards import type_of
from bx24app.models import Callback, Form, PortalSettings, TimelineEntry, utcnow

# So long further changes are waited for, and a call that is due goes first.
SETTLES_WITHIN = timedelta(seconds=1)
# What the activity shows of a callback; whatever changes an attempt changes one of these too.
_SHOWN = ("state", "reason", "words", "due_at", "requested_by", "asks_since", "line_name", "customer_name")
_ENTRY_COLUMNS = ["portal_id", "callback_id", "origin", "entity_type", "entity_id", "due_at"]


def has_card(callback: Callback) -> bool:
    """Tell whether a new callback may be shown in its card; the database knows whether it is."""
    return callback.form_id is None and _is_in_card(callback)


def _is_in_card(callback: Callback) -> bool:
    """Tell whether a callback has a card of a kind whose timeline takes activities; smart processes do, too."""
    return bool(callback.crm_entity_id and type_of(callback.crm_entity_type or ""))


def entry_values(callback: Callback) -> dict[str, Any]:
    """Make the parameters of ``inserting_entry`` that are not columns of the callback."""
    return {"entry_due_at": callback.created_at + SETTLES_WITHIN}


def inserting_entry(after: CTE | None = None) -> Insert:
    """Make an insert of the entry of a new callback without a form, where its portal shows such ones.

    With ``after`` it inserts only where that statement has inserted a row.
    """
    own = {name: bindparam(f"c_{name}", type_=getattr(Callback, name).type) for name in _CALLBACK_NAMES}
    row = select(
        own["portal_id"],
        own["id"].label("callback_id"),
        own["id"].label("origin"),
        own["crm_entity_type"],
        own["crm_entity_id"],
        bindparam("entry_due_at", type_=TimelineEntry.due_at.type),
    ).where(PortalSettings.portal_id == own["portal_id"], PortalSettings.shows_in_crm)
    if after is not None:
        row = row.where(select(literal_column("1")).select_from(after).exists())
    return insert(TimelineEntry).from_select(_ENTRY_COLUMNS, row)


_CALLBACK_NAMES = ("id", "portal_id", "crm_entity_type", "crm_entity_id")


def _note_changes(session: Session, _: UOWTransaction) -> None:
    changed = [row for row in session.dirty if isinstance(row, Callback)]
    marked = [row.id for row in changed if _has_changed(row, _SHOWN)]
    if marked:
        _mark(session, marked)
    # Its customer was found in the CRM.
    found = [row.id for row in changed if _is_in_card(row) and _has_changed(row, ("crm_entity_id",))]
    if found:
        session.connection().execute(insert(TimelineEntry).from_select(_ENTRY_COLUMNS, _wanted(found)))


def _has_changed(callback: Callback, names: Sequence[str]) -> bool:
    attributes = inspect(callback).attrs
    return any(attributes[name].history.has_changes() for name in names)


def _mark(session: Session, callback_ids: Sequence[UUID]) -> None:
    soon = literal(utcnow() + SETTLES_WITHIN, TimelineEntry.due_at.type)
    of_them = TimelineEntry.callback_id.in_(callback_ids) & TimelineEntry.ended_at.is_(None)
    session.connection().execute(
        updating(TimelineEntry)
        .where(of_them)
        .values(
            due_at=func.coalesce(TimelineEntry.due_at, soon),
            changes=TimelineEntry.changes + 1,
            notice=None,
            notice_for=None,
        )
    )


def _wanted(callback_ids: Sequence[UUID]) -> Select[*tuple[Any, ...]]:
    """Select the entries of callbacks that are to be shown and are not yet."""
    is_shown = case((Callback.form_id.is_(None), PortalSettings.shows_in_crm), else_=Form.shows_in_crm)
    known = select(TimelineEntry.id).where(TimelineEntry.callback_id == Callback.id)
    due_at = literal(utcnow(), TimelineEntry.due_at.type)
    entity = (Callback.crm_entity_type, Callback.crm_entity_id)
    return (
        select(Callback.portal_id, Callback.id, Callback.id.label("origin"), *entity, due_at)
        .join(PortalSettings, PortalSettings.portal_id == Callback.portal_id)
        .outerjoin(Form, Form.id == Callback.form_id)
        .where(Callback.id.in_(callback_ids), is_shown, ~known.exists())
    )


def init_app() -> None:
    """Listen to the sessions of this process; idempotent."""
    if not event.contains(Session, "after_flush", _note_changes):
        event.listen(Session, "after_flush", _note_changes)

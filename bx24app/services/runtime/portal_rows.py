"""The rows of a portal that is being removed, deleted some hundred at a time: nobody waits for a large portal."""

import time

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session

from bx24app.database import Base, change_many, purge, reading, writing
from bx24app.models import (
    IS_BEING_REMOVED,
    ApiKey,
    Callback,
    Credential,
    DecoyRequest,
    DoNotCall,
    Form,
    JournalEntry,
    Notification,
    NotifiedPerson,
    Portal,
    PortalSetup,
    ReceivedEvent,
    Rejection,
    ReportFigure,
    RestCall,
    RuleRun,
    Throttle,
    TimelineEntry,
    User,
    Webhook,
    WebhookDelivery,
)

# In one transaction.
DELETED_AT_ONCE = 200
_Rows = tuple[type[Base], ColumnElement[bool]]


def delete_rows(portal_id: int, patience: float) -> bool:
    """Delete the rows of a portal that is being removed, some hundred a transaction; returns whether all is done.

    Tables that may be large go first, the portal's row last. Whoever calls it again, or after a crash, goes on; it ends
    early after ``patience`` seconds. Commits.
    """
    ends_at = time.monotonic() + patience
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None or not portal.is_being_removed:
        return True
    # In each statement: once another process is done with it, the portal may be installed again, with rows of its own.
    is_begun = select(Portal.id).where(Portal.id == portal_id, IS_BEING_REMOVED).exists()
    listed = and_(DoNotCall.portal_id == portal_id, is_begun)
    if portal.removal_keeps_settings:
        # The digests of numbers that are never to be called stay.
        is_plain = DoNotCall.number.is_not(None) | DoNotCall.note.is_not(None) | DoNotCall.added_by.is_not(None)
        while change_many(DoNotCall, listed & is_plain, {"number": None, "note": None, "added_by": None}):
            if time.monotonic() > ends_at:
                return False
    settings: list[_Rows] = [] if portal.removal_keeps_settings else [(DoNotCall, listed), *_of_settings(portal_id)]
    for model, condition in [*_forgotten(portal_id), *settings]:
        while purge(model, and_(condition, is_begun), limit=DELETED_AT_ONCE):
            if time.monotonic() > ends_at:
                return False
    with writing() as session:
        row = session.get(Portal, portal_id, with_for_update=True)
        if row is not None and row.is_being_removed:
            _finish(session, row)
    return True


def _forgotten(portal_id: int) -> list[_Rows]:
    """Everything of a portal except its settings; requests, attempts and deliveries go with their callbacks."""
    models = (
        Notification,
        NotifiedPerson,
        RuleRun,
        TimelineEntry,
        # Before the callbacks with which they would go, however many there are of one.
        ReceivedEvent,
        Callback,
        ReportFigure,
        Credential,
        Throttle,
        RestCall,
        User,
        ApiKey,
        Rejection,
    )
    forms = select(Form.id).where(Form.portal_id == portal_id)
    return [(DecoyRequest, DecoyRequest.form_id.in_(forms)), *((one, one.portal_id == portal_id) for one in models)]


def _of_settings(portal_id: int) -> list[_Rows]:
    """What may be much of what stays with the settings."""
    webhooks = select(Webhook.id).where(Webhook.portal_id == portal_id)
    return [
        (JournalEntry, JournalEntry.portal_id == portal_id),
        (WebhookDelivery, WebhookDelivery.webhook_id.in_(webhooks)),
    ]


def _finish(session: Session, portal: Portal) -> None:
    """Delete the portal's row, or let it be one of which nothing is known but its settings."""
    if not portal.removal_keeps_settings:
        session.delete(portal)
        return
    for model, condition in _forgotten(portal.id):  # What came in between.
        session.execute(delete(model).where(condition), execution_options={"synchronize_session": False})
    session.execute(
        update(PortalSetup)
        .where(PortalSetup.portal_id == portal.id)
        .values(findings=[], checked_at=None, smart_processes=None)
    )
    portal.history_cursor = portal.history_read_at = portal.history_due_at = portal.history_problem = None
    portal.forget_lists()
    portal.bound_manifest = portal.bound_at = portal.granted_scopes = None
    portal.missing_parts = {}
    portal.end_removal()

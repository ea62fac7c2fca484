"""``/api/v1/audit``: who changed what and when, for administrators."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

from bx24app.inputs import SPELLED
from bx24app.services.callbacks import people
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.security import journal
from bx24app.services.security.journal import JournalPage
from bx24app.web.api.openapi import operation
from bx24app.web.api.schemas import json_response
from bx24app.web.guards import principal_required, read_query

blueprint = Blueprint("journal", __name__, url_prefix="/api/v1/audit")


class JournalListQuery(BaseModel):
    """What ``GET /audit`` takes; ``before`` is the ``next_before`` of the page before."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[JournalPage, SPELLED] | None = None
    user_id: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    before: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = journal.PAGE_ROWS


class JournalChange(BaseModel):
    """One field with its old and its new value as text; a number in it is masked."""

    field: str
    old: str
    new: str


class JournalEntrySchema(BaseModel):
    """One change; ``subject`` is the form, key, site or callback that it is about."""

    id: int
    made_at: datetime
    user_id: int | None
    user_name: str | None
    page: JournalPage
    subject: str
    changes: list[JournalChange]


class JournalSchema(BaseModel):
    """Entries, the newest first; ``next_before`` asks for older ones, null at the end."""

    entries: list[JournalEntrySchema]
    next_before: int | None


@blueprint.get("")
@operation({200: JournalSchema}, query=JournalListQuery)
@principal_required(Role.ADMINISTRATOR)
def show_journal(principal: Principal) -> Response:
    """Who changed what and when, without secrets and numbers."""
    query, portal_id = read_query(JournalListQuery), principal.portal.id
    wanted = journal.JournalFilter(query.page, query.user_id, query.before)
    found, before = journal.list_entries(portal_id, wanted, query.limit)
    names = people.names_of(portal_id, [entry.user_id for entry in found])
    told = [
        JournalEntrySchema(
            id=entry.id,
            made_at=entry.made_at,
            user_id=entry.user_id,
            user_name=names.get(entry.user_id or 0),
            page=JournalPage(entry.page),
            subject=entry.subject,
            changes=[JournalChange(field=field, old=old, new=new) for field, old, new in entry.changes],
        )
        for entry in found
    ]
    return json_response(JournalSchema(entries=told, next_before=before))

"""Portals whose installation is that of another one: everything that the app keeps of it, with tokens of their own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, func, insert, select
from sqlalchemy.orm import Session

from bx24app.crypto import keyring
from bx24app.database import Base, writing
from bx24app.models import Credential, Portal
from tests.fake_bitrix24 import FakeApp, FakePortal

# What a portal gets by itself while it is used.
LATER = {"rest_call", "journal_entry"}


def copy_installation(application: FakeApp, first: FakePortal, others: Sequence[FakePortal]) -> None:
    """Install the app on portals as it was installed on the first one, and finish it; commits."""
    with writing() as session:
        model = session.scalars(select(Portal).where(Portal.member_id == first.member_id)).one()
        kept = {table: _rows(session, table, model.id) for table in Base.metadata.sorted_tables if _is_copied(table)}
        own = {table: rows for table, rows in kept.items() if rows}
        [portal_row] = session.execute(select(Portal.__table__).where(Portal.id == model.id)).mappings()
        highest = {table: session.scalar(select(func.max(table.c.id))) or 0 for table in own if "id" in table.c}
        for number, portal in enumerate(others, 1):
            portal_id = model.id + number
            address = {"id": portal_id, "member_id": portal.member_id, "domain": portal.domain}
            row = {**portal_row, **address, "client_endpoint": portal.client_endpoint}
            session.execute(insert(Portal).values(row))
            for table, rows in own.items():
                for place, copied in enumerate(rows, 1):
                    made = {**copied, "portal_id": portal_id}
                    if table in highest:
                        made["id"] = highest[table] + (number - 1) * len(rows) + place
                    session.execute(insert(table).values(made))
            _give_tokens(session, application, portal, portal_id)
            portal.install(application)
            bindings, known = portal.bindings_of(application.client_id), first.bindings_of(application.client_id)
            bindings.placements, bindings.events = list(known.placements), list(known.events)
            bindings.application_token = known.application_token
            portal.finish_installation(application)


def _is_copied(table: Table) -> bool:
    return "portal_id" in table.c and table.name not in LATER


def _rows(session: Session, table: Table, portal_id: int) -> list[dict[str, Any]]:
    return [dict(row) for row in session.execute(select(table).where(table.c.portal_id == portal_id)).mappings()]


def _give_tokens(session: Session, application: FakeApp, portal: FakePortal, portal_id: int) -> None:
    """Store tokens that the portal gave to its own administrator."""
    for credential in session.scalars(select(Credential).where(Credential.portal_id == portal_id)):
        token = portal.cloud.registry.issue(application.client_id, portal.member_id, credential.user_id)
        expires_at = datetime.fromtimestamp(token.expires_at, UTC)
        credential.keep_tokens(keyring, portal.member_id, token.access, token.refresh, expires_at)

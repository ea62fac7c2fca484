"""Removing the app from a portal: told by an event, confirmed by Bitrix24, then purged."""

from collections.abc import Collection
from datetime import timedelta

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from bx24app.bitrix24.connections import authorization_server
from bx24app.bitrix24.events import Event
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import (
    ApiKey,
    Callback,
    Credential,
    DecoyRequest,
    DoNotCall,
    Form,
    Portal,
    PortalState,
    ReceivedEvent,
    Rejection,
    RestCall,
    Throttle,
    User,
    utcnow,
)
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal
from bx24app.services.runtime.slots import Slots, work_through

log = structlog.get_logger(__name__)


# Settings of an uninstalled portal stay this long, nothing else does (docs/websites.md; what must go:
# docs: market/preparing-to-publish/publication-requirements.md, 3.A).
SETTINGS_KEPT = timedelta(days=30)
# A removal that was only inferred from refusals may be a mistake, such as a wrong client secret of ours.
UNCONFIRMED_KEPT = timedelta(days=3)
REMOVALS_AT_ONCE = 8
_confirming = Slots[int](each=1, in_all=REMOVALS_AT_ONCE)


def receive_uninstall(portal: Portal, event: Event) -> None:
    """``ONAPPUNINSTALL``: note it, to be confirmed soon; one of before the last installation is ignored."""
    if event.ts < int(portal.installed_at.timestamp()):
        log.info("late_uninstallation", member_id=portal.member_id)
        return
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        row.removal_told_at, row.removal_keeps_settings = utcnow(), event.fields.get("CLEAN") == "0"


def confirm_removals() -> int:
    """Forget the portals that were told to have removed the app, unless Bitrix24 still vouches for our token there.

    People, tokens, numbers and logs go; with ``CLEAN`` 0 the settings stay for 30 days. Returns how many were told.
    """
    return work_through(_confirming, _next_told, _confirm)


def _next_told(besides: Collection[int]) -> int | None:
    query = select(Portal.id).where(Portal.removal_told_at.is_not(None), Portal.id.not_in(besides))
    with reading() as session:
        return session.scalar(query.order_by(Portal.removal_told_at).limit(1))


def _confirm(portal_id: int) -> int:
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None:
        return 0
    _remove(portal, is_installed=_is_installed(portal))
    return 1


def _remove(portal: Portal, *, is_installed: bool) -> None:
    with writing() as session:
        row = session.get(Portal, portal.id, with_for_update=True)
        if row is None or row.removal_told_at is None:
            return  # It was installed again meanwhile, or another worker has done this.
        if is_installed:
            row.removal_told_at = None
        elif row.removal_keeps_settings:
            _forget(session, row)
            row.mark_uninstalled(utcnow())
        else:
            session.delete(row)
    log.info("removal_told", member_id=portal.member_id, confirmed=not is_installed)


def _is_installed(portal: Portal) -> bool:
    """Tell whether the authorization server still vouches for the portal's own token.

    When it cannot be asked the application token's word stands: the event is never repeated.
    """
    try:
        access = token_renewal.service_access(portal.id)
        install = authorization_server.app_info(access.access_token).install
    except (ExchangeError, Refusal):
        return False
    return install.installed and install.member_id == portal.member_id


def _forget(session: Session, portal: Portal) -> None:
    """Delete everything of a portal except its settings."""
    for model in (Callback, Credential, Throttle, ReceivedEvent, RestCall, User):
        session.execute(delete(model).where(model.portal_id == portal.id))
    _purge_visitors(session, portal)
    portal.application_token_digest = None
    portal.history_cursor = portal.history_read_at = portal.history_due_at = portal.history_problem = None
    portal.forget_lists()
    portal.bound_manifest = portal.bound_at = None


def purge_uninstalled() -> int:
    """Delete what we may keep only for some time after an uninstallation; returns of how many portals.

    Portals whose removal no event told us lose their people, tokens, numbers and logs after three days; the
    settings of every removed portal go after thirty.
    """
    with writing() as session:
        now = utcnow()
        held = select(Credential.id).where(Credential.portal_id == Portal.id).exists()
        removed = select(Portal).where(Portal.state == PortalState.UNINSTALLED).with_for_update(skip_locked=True)
        doubted = session.scalars(removed.where(Portal.uninstalled_at < now - UNCONFIRMED_KEPT, held)).all()
        for portal in doubted:
            _forget(session, portal)
        session.flush()
        gone = session.scalars(removed.where(Portal.uninstalled_at < now - SETTINGS_KEPT)).all()
        for portal in gone:
            session.delete(portal)
    return len({portal.id for portal in (*doubted, *gone)})


def _purge_visitors(session: Session, portal: Portal) -> None:
    """Leave of a removed portal's websites only the forms' settings and the digests of numbers not to be called.

    The requests themselves go with their callbacks.
    """
    for model in (ApiKey, Rejection):
        session.execute(delete(model).where(model.portal_id == portal.id))
    own = select(Form.id).where(Form.portal_id == portal.id)
    session.execute(delete(DecoyRequest).where(DecoyRequest.form_id.in_(own)))
    listed = update(DoNotCall).where(DoNotCall.portal_id == portal.id)
    session.execute(listed.values(number=None, note=None, added_by=None))

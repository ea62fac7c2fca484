"""Removing the app from a portal: told by an event, confirmed by Bitrix24, then purged."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from bx24app.bitrix24.errors import ApplicationRemoved
from bx24app.bitrix24.events import Event
from bx24app.crypto import SealBroken, keyring
from bx24app.database import reading, writing
from bx24app.errors import PortalDisconnected, Refusal, StillRemoving, Unverified
from bx24app.models import IS_BEING_REMOVED, Credential, CredentialState, Portal, PortalState, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal
from bx24app.services.portals.tokens import lock_credential, read_serving_administrators, was_proven_since
from bx24app.services.runtime.apart import apart, is_left_alone
from bx24app.services.runtime.portal_rows import delete_rows
from bx24app.services.runtime.slots import PortalSlots, work_through

log = structlog.get_logger(__name__)


# Settings of an uninstalled portal stay this long, nothing else does (docs/websites.md; what must go:
# docs: market/preparing-to-publish/publication-requirements.md, 3.A).
SETTINGS_KEPT = timedelta(days=30)
# A removal that was only inferred from refusals may be a mistake, such as a wrong client secret of ours.
UNCONFIRMED_KEPT = timedelta(days=3)
REMOVALS_AT_ONCE = 8
# So many seconds stays with the rows of a portal that is being removed: who has confirmed that, for others wait to be
# asked about; the job that goes on with it; whoever installs again.
CONFIRMER_STAYS_SECONDS, CARRIED_OUT_SECONDS, INSTALLER_WAITS_SECONDS = 1.0, 10.0, 10.0
_confirming = PortalSlots("confirm_removals", each=1, in_all=REMOVALS_AT_ONCE)
CLOCKS_DIFFER_BY = timedelta(minutes=5)
# How soon it is asked again whether a portal was removed, while nobody can say; later after a part of the doubt so far.
ASK_REMOVAL_AGAIN = timedelta(minutes=1)
DOUBT_DIVISOR = 8
# Whoever was vouched for does not stand still by the next forged event: Bitrix24 is asked first.
VOUCHED_FOR = timedelta(minutes=5)
CREDENTIALS_ASKED = 4


def receive_uninstall(portal: Portal, event: Event) -> None:
    """``ONAPPUNINSTALL``: nothing of the portal can be reached until Bitrix24 has said whether it is true.

    One of before the last installation is ignored. Raises ``Unverified`` for one of the future, which no
    reinstallation would make late.
    """
    now = utcnow()
    if event.ts > (now + CLOCKS_DIFFER_BY).timestamp():
        raise Unverified("a removal of the future")
    keeps_settings = event.fields.get("CLEAN") == "0"
    if _is_known(portal, event, now, keeps_settings=keeps_settings):
        return
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        # Somebody may have installed it again meanwhile.
        if not _is_known(row, event, now, keeps_settings=keeps_settings):
            row.tell_removal(now, keeps_settings=keeps_settings)


def _is_known(portal: Portal, event: Event, now: datetime, *, keeps_settings: bool) -> bool:
    """Tell whether the event is no news: everybody who ever opened the app can send one, again and again."""
    if event.ts < int(portal.installed_at.timestamp()):
        log.info("late_uninstallation", member_id=portal.member_id)
        return True
    if portal.is_being_removed:
        return True
    is_told = portal.removal_told_at is not None and (portal.removal_keeps_settings or not keeps_settings)
    is_due_later = portal.removal_due_at is not None and portal.removal_due_at > now
    return is_told and (is_due_later or portal.state == PortalState.UNINSTALLED)


def confirm_removals() -> int:
    """Purge the portals of which Bitrix24 confirms that the app was removed; those it vouches for come back.

    People, tokens, numbers and logs go; with ``CLEAN`` 0 the settings stay for 30 days. Where nobody can say it is
    asked again, ever more rarely. Returns how many were asked about.
    """
    return work_through(_confirming, _next_told, _confirm)


def told_portals(now: datetime, besides: Collection[int] = ()) -> Select[int]:
    """Select the portal of which it is to be asked longest whether the app was removed."""
    query = select(Portal.id).where(Portal.removal_told_at.is_not(None), Portal.id.not_in(besides))
    return query.where(Portal.removal_due_at <= now).order_by(Portal.removal_due_at).limit(1)


def _next_told(besides: Collection[int]) -> int | None:
    with reading() as session:
        return session.scalar(told_portals(utcnow(), besides))


def _confirm(portal_id: int) -> int:
    with reading() as session:
        portal = session.get(Portal, portal_id)
    if portal is None:
        return 0
    asked_at = utcnow()
    _settle(portal, _is_installed(portal), asked_at)
    delete_rows(portal_id, CONFIRMER_STAYS_SECONDS)
    return 1


def _settle(portal: Portal, is_installed: bool | None, asked_at: datetime) -> None:
    with writing() as session:
        row, now = session.get(Portal, portal.id, with_for_update=True), utcnow()
        if row is None or row.removal_told_at is None or row.is_being_removed:
            return  # It was installed again meanwhile, or another worker has done this.
        if is_installed is False and was_proven_since(session, portal.id, asked_at):
            is_installed = None  # It was said of tokens that a launch has replaced.
        if is_installed:
            row.stay(_state_of(session, row), now + VOUCHED_FOR)
            row.payment_hinted_at = now
        elif is_installed is None:
            row.doubt_removal(now + max(ASK_REMOVAL_AGAIN, (now - row.removal_told_at) / DOUBT_DIVISOR), now)
        else:
            _remove(session, row, keeps_settings=row.removal_keeps_settings)
    log.info("removal_told", member_id=portal.member_id, is_installed=is_installed)


def _state_of(session: Session, portal: Portal) -> PortalState:
    return PortalState.INSTALLED if read_serving_administrators(session, portal.id) else PortalState.DISCONNECTED


def _remove(session: Session, portal: Portal, *, keeps_settings: bool) -> None:
    """Begin what nobody takes back: nothing leads to the portal's rows any more, and nothing is asked in its name."""
    portal.begin_removal(utcnow(), keeps_settings=keeps_settings)
    session.execute(delete(Credential).where(Credential.portal_id == portal.id))


def _is_installed(portal: Portal) -> bool | None:
    """Ask the authorization server; None when it says neither.

    Silence, too many requests, an unpaid period and tokens that are merely dead say nothing.
    """
    query = (
        select(Credential)
        .where(Credential.portal_id == portal.id)
        .order_by(Credential.state, Credential.service_since.is_(None), Credential.used_at.desc())
    )
    with reading() as session:
        credentials = session.scalars(query.limit(CREDENTIALS_ASKED)).all()
    for credential in credentials:
        said = _asked_with(credential, portal.member_id)
        if said is not None:
            return said
    return None


def _asked_with(credential: Credential, member_id: str) -> bool | None:
    try:
        if credential.state == CredentialState.ALIVE:
            with suppress(PortalDisconnected):
                install = token_renewal.ask_app_info(credential.id).install
                return install.installed if install.member_id == member_id else None
        # Refused before, or by somebody else's request meanwhile.
        return _revive(credential.id, member_id)
    except (ExchangeError, Refusal, SealBroken) as error:
        return False if isinstance(error, ApplicationRemoved) else None


def _revive(credential_id: int, member_id: str) -> bool | None:
    """Renew tokens that a portal has refused: whether that was because the app was removed, it does not tell itself."""
    with reading() as session:
        credential = session.get(Credential, credential_id)
    if credential is None or credential.state == CredentialState.ALIVE:
        return None  # Whoever renews a living one holds its lease.
    tokens = token_renewal.exchange(token_renewal.spending(credential, member_id))
    with writing() as session:
        row = lock_credential(session, credential.id)
        if row is not None and row.generation == credential.generation:
            renewed = (tokens.access_token, tokens.refresh_token, tokens.expires_at)
            row.keep_tokens(keyring, member_id, *renewed, is_trusted=True)
    return True


def finish_before_installing(member_id: str) -> None:
    """Finish a removal that left the settings: whoever installs again sees nothing of before.

    Raises ``StillRemoving`` where that takes too long; the worker goes on with it.
    """
    with reading() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == member_id))
    if portal is not None and portal.is_being_removed and not delete_rows(portal.id, INSTALLER_WAITS_SECONDS):
        raise StillRemoving


def purge_uninstalled() -> int:
    """Delete what we may keep only for some time after an uninstallation; returns of how many portals.

    Portals whose removal nobody has confirmed lose after three days what their event said, without one their people,
    tokens, numbers and logs; the settings of every removed portal go after thirty. Removals that were begun go on.
    """
    removed = select(Portal).where(Portal.state == PortalState.UNINSTALLED)
    with writing() as session:
        now = utcnow()
        held = select(Credential.id).where(Credential.portal_id == Portal.id).exists()
        doubted = or_(held, Portal.removal_told_at.is_not(None)) & (Portal.uninstalled_at < now - UNCONFIRMED_KEPT)
        free = removed.with_for_update(skip_locked=True)
        for portal in session.scalars(free.where(doubted, ~IS_BEING_REMOVED)).all():
            _remove(session, portal, keeps_settings=portal.removal_told_at is None or portal.removal_keeps_settings)
        session.flush()
        is_over = Portal.uninstalled_at < now - SETTINGS_KEPT
        for portal in session.scalars(free.where(is_over, ~(IS_BEING_REMOVED & ~Portal.removal_keeps_settings))).all():
            _remove(session, portal, keeps_settings=False)
    with reading() as session:
        ids = session.scalars(select(Portal.id).where(Portal.state == PortalState.UNINSTALLED, IS_BEING_REMOVED)).all()
    done = 0
    for portal_id in ids:
        if not is_left_alone("removal", portal_id):
            with apart("removal", portal_id):
                delete_rows(portal_id, CARRIED_OUT_SECONDS)
                done += 1
    return done

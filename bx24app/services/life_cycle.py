"""What Bitrix24 tells of an installation's life: installed, updated, paid for, removed; and proving each of these."""

from datetime import timedelta

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from bx24app.bitrix24.errors import Bitrix24Error, Refused
from bx24app.bitrix24.payloads import Event
from bx24app.errors import PortalUnreachable, Refusal, Unverified
from bx24app.extensions import reading, writing
from bx24app.models import Callback, Credential, Pace, Portal, PortalState, ReceivedEvent, RestCall, User, utcnow
from bx24app.services import bindings, credentials, digests, forgetting, rest
from bx24app.services.connections import authorization_server
from bx24app.services.manifest import manifest_digest
from bx24app.settings import settings

log = structlog.get_logger(__name__)

# Settings of an uninstalled portal may stay this long (marketplace rule 3.A; design.md, section 3).
KEEP_SETTINGS = timedelta(days=30)
# A removal that was only concluded from refusals may be a mistake, such as a wrong client secret of ours.
DOUBT = timedelta(days=3)
LOOK_AGAIN = timedelta(days=1)
ARRIVAL_KEPT = timedelta(minutes=1)
ASK_PAYMENT_AGAIN = timedelta(minutes=1)
ASK_UNPAID_AGAIN = timedelta(hours=1)
AT_ONCE = 10


def announced(event: Event) -> None:
    """``ONAPPINSTALL`` and ``ONAPPUPDATE``: keep the application token, proven by the event's own access token.

    An update has removed our event handlers: they are bound again soon after. Raises ``Unverified``.
    """
    if not event.application_token:
        raise Unverified("no application token in the event")
    try:
        if event.access_token:
            _prove(event)
        else:
            proven_portal(event)
    except PortalUnreachable:
        # It comes only once: unproven it still is a reason to look at our handlers.
        _look_at_bindings(event)
        raise
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is None:
            return
        portal.application_token_digest, portal.event_at = token_digest, utcnow()
        if event.name == "ONAPPUPDATE":
            portal.bound_manifest = portal.bound_at = None
    log.info("announced", member_id=event.member_id, kind=event.name)


def _look_at_bindings(event: Event) -> None:
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is not None and event.name == "ONAPPUPDATE":
            portal.bound_manifest = None


def _prove(event: Event) -> None:
    """Let the authorization server say that the event's access token is our application's on that portal."""
    try:
        info = authorization_server.app_info(event.access_token)
    except Refused as error:
        raise Unverified(f"event token refused: {error}") from None
    except Bitrix24Error as error:
        raise PortalUnreachable(f"authorization server: {error.code}") from None
    if info.client_id != settings.client_id or info.install.member_id != event.member_id:
        raise Unverified("event token of another application or portal")
    if not _administrates(event.member_id, info.user_id):
        # Every employee has tokens of our application: theirs must not speak for the portal.
        raise Unverified("event token of a person who is no administrator")


def _administrates(member_id: str, user_id: int) -> bool:
    """Tell whether a person is an administrator of the portal, as far as we know them, or serves it."""
    of_portal = select(Portal.id).where(Portal.member_id == member_id).scalar_subquery()
    known = select(User.id).where(User.portal_id == of_portal, User.user_id == user_id, User.is_administrator)
    serving = select(Credential.id).where(
        Credential.portal_id == of_portal, Credential.acting_as == user_id, Credential.service_since.is_not(None)
    )
    with reading() as session:
        return session.scalar(select(known.exists() | serving.exists())) is True


def proven_portal(event: Event) -> Portal:
    """The portal whose application token the event carries.

    One that does not match is proven by the event's access token, and heals ours. Raises ``Unverified``.
    """
    with reading() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id))
    expected = portal.application_token_digest if portal else None
    if portal is None:
        raise Unverified("unknown portal")
    if digests.matches("application_token", event.application_token, expected):
        _note_arrival(portal)
        return portal
    if not event.access_token or not event.application_token:
        raise Unverified("wrong application token")
    _prove(event)
    token_digest = digests.digest("application_token", event.application_token)
    with writing() as session:
        session.get_one(Portal, portal.id, with_for_update=True).application_token_digest = token_digest
    return portal


def _note_arrival(portal: Portal) -> None:
    """Remember, to the minute, that events reach us."""
    if portal.event_at is None or utcnow() - portal.event_at > ARRIVAL_KEPT:
        with writing() as session:
            session.execute(update(Portal).where(Portal.id == portal.id).values(event_at=utcnow()))


def removal_told(portal: Portal, event: Event) -> None:
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
    with reading() as session:
        told = session.scalars(select(Portal).where(Portal.removal_told_at.is_not(None)).limit(AT_ONCE)).all()
    for portal in told:
        _remove(portal, is_installed=_is_installed(portal))
    return len(told)


def _remove(portal: Portal, *, is_installed: bool) -> None:
    with writing() as session:
        row = session.get(Portal, portal.id, with_for_update=True)
        if row is None or row.removal_told_at is None:
            return  # Installed again meanwhile, or done by another worker.
        if is_installed:
            row.removal_told_at = None
        elif row.removal_keeps_settings:
            _forget(session, row)
            row.leave(utcnow())
        else:
            session.delete(row)
    log.info("removal_told", member_id=portal.member_id, confirmed=not is_installed)


def _is_installed(portal: Portal) -> bool:
    """Tell whether the authorization server still vouches for the portal's own token.

    When it cannot be asked the application token's word stands: the event is never repeated.
    """
    try:
        access = credentials.service_access(portal.id)
        install = authorization_server.app_info(access.access_token).install
    except (Bitrix24Error, Refusal):
        return False
    return install.installed and install.member_id == portal.member_id


def _forget(session: Session, portal: Portal) -> None:
    """Leave nothing of a portal but its settings."""
    for model in (Callback, Credential, Pace, ReceivedEvent, RestCall, User):
        session.execute(delete(model).where(model.portal_id == portal.id))
    forgetting.forget_visitors(session, portal)
    portal.application_token_digest = portal.lines = portal.voices = None
    portal.lines_fetched_at = portal.voices_fetched_at = None
    portal.history_cursor = portal.history_read_at = portal.history_due_at = portal.history_problem = None
    portal.redialling_lines, portal.stopped_lines = {}, {}
    portal.bound_manifest = portal.bound_at = None


def forget_uninstalled() -> int:
    """Forget what the rules let us keep only for a while; returns how many portals were concerned.

    Portals whose removal no event told us lose their people, tokens, numbers and logs after three days; the
    settings of every removed portal go after thirty.
    """
    with writing() as session:
        now = utcnow()
        held = select(Credential.id).where(Credential.portal_id == Portal.id).exists()
        removed = select(Portal).where(Portal.state == PortalState.UNINSTALLED).with_for_update(skip_locked=True)
        doubted = session.scalars(removed.where(Portal.uninstalled_at < now - DOUBT, held)).all()
        for portal in doubted:
            _forget(session, portal)
        session.flush()
        gone = session.scalars(removed.where(Portal.uninstalled_at < now - KEEP_SETTINGS)).all()
        for portal in gone:
            session.delete(portal)
    return len({portal.id for portal in (*doubted, *gone)})


def bind_again() -> int:
    """Bind what an update removed or a new manifest adds, for portals that lack it; returns how many.

    Every portal is looked at once a day: the event that tells of an update comes once, or not at all.
    """
    now = utcnow()
    query = (
        select(Portal)
        .where(
            Portal.state == PortalState.INSTALLED,
            or_(
                Portal.bound_at.is_(None),
                Portal.bound_at < now - LOOK_AGAIN,
                or_(Portal.bound_manifest.is_(None), Portal.bound_manifest != manifest_digest())
                & (Portal.bound_at < now - bindings.TRY_AGAIN),
            ),
        )
        .order_by(Portal.bound_at)
        .limit(AT_ONCE)
    )
    with reading() as session:
        due = session.scalars(query).all()
    for portal in due:
        try:
            problems = bindings.reconcile_for_portal(portal.id)
        except Refusal:
            continue  # Disconnected meanwhile.
        log.info("bound_again", member_id=portal.member_id, problems=[problem.what for problem in problems])
    return len(due)


def payment_hinted(event: Event) -> None:
    """``ONAPPPAYMENT`` comes without proof: it only makes us ask the portal, once a minute at most."""
    with writing() as session:
        portal = session.scalar(select(Portal).where(Portal.member_id == event.member_id).with_for_update())
        if portal is not None:
            portal.payment_hinted_at = utcnow()


def ask_payment() -> int:
    """Ask portals for which a payment was hinted, and unpaid ones every hour; returns how many were asked."""
    now = utcnow()
    never = Portal.payment_asked_at.is_(None)
    hinted = Portal.payment_hinted_at.is_not(None) & (never | (Portal.payment_asked_at < now - ASK_PAYMENT_AGAIN))
    unpaid = (Portal.state == PortalState.UNPAID) & (never | (Portal.payment_asked_at < now - ASK_UNPAID_AGAIN))
    states = (PortalState.INSTALLED, PortalState.UNPAID)
    query = select(Portal.id).where(Portal.state.in_(states), hinted | unpaid).limit(AT_ONCE)
    with reading() as session:
        due = session.scalars(query).all()
    for portal_id in due:
        _ask_payment(portal_id)
    return len(due)


def _ask_payment(portal_id: int) -> None:
    """What the portal's ``app.info`` says (docs: api-reference/common/system/app-info.md) decides."""
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.payment_asked_at, portal.payment_hinted_at = utcnow(), None
    try:
        told = rest.ask_for_portal(
            portal_id,
            rest.Label("app.info", {}),
            lambda client: client.invoke("app.info"),
            PortalState.INSTALLED,
            PortalState.UNPAID,
        )
    except (Bitrix24Error, Refusal) as error:
        # PAYMENT_REQUIRED has put the portal into its state by now.
        log.info("payment_not_told", reason=error.code)
        return
    if not isinstance(told, dict):
        return
    expired = told.get("PAYMENT_EXPIRED") == "Y"
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        if portal.state in (PortalState.INSTALLED, PortalState.UNPAID):
            portal.state = PortalState.UNPAID if expired else PortalState.INSTALLED
            portal.status = str(told.get("STATUS") or portal.status)[:1]
    log.info("payment_told", member_id=portal.member_id, state=portal.state)

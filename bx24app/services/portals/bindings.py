"""Bringing a portal's placements and event handlers into line with the manifest, as far as it has granted scopes."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, or_, select, update

from bx24app.bitrix24.client import MAX_BATCH, BatchAnswer, PortalClient
from bx24app.bitrix24.errors import InsufficientScope
from bx24app.bitrix24.identity import read_scopes
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import Portal, PortalState, utcnow
from bx24app.models.lease import is_long_ago, lasts
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.manifest import Placement, manifest, manifest_digest, needed_scope
from bx24app.services.portals.places.parts import MissingPart, PartKind, keep_missing_parts
from bx24app.services.portals.throttle import without_spare
from bx24app.services.portals.tokens import Access
from bx24app.services.runtime.slots import PortalSlots, work_through
from bx24app.settings import settings

log = structlog.get_logger(__name__)
BatchCommand = tuple[str, Mapping[str, str | int]]
# If a portal can never bind something, retrying must not slow down every page of its administrators.
BIND_RETRY_AFTER = timedelta(hours=1)
# Nobody has bound more; each surplus one costs a command.
MAX_ROWS = 500
# Characters of a code or of an address.
MAX_LISTED, _LISTED = 1000, ("placement", "event", "handler")
BOUND_ALREADY = "already binded"
# What is missing where the portal said nothing of single parts.
WHOLE = ("scope", "portal")


@dataclass(frozen=True)
class Reconciled:
    """What a portal was told, and what it would not take; ``scopes`` None: it did not say what it has granted."""

    scopes: list[str] | None
    missing: list[MissingPart]


def _handler(path: str) -> str:
    return settings.public_origin + path


def _rows(value: object) -> list[dict[str, object]]:
    """What a portal lists, without what we have never bound, for it is too long."""
    listed = value[:MAX_ROWS] if isinstance(value, list) else []
    rows = [row for row in listed if isinstance(row, dict)]
    return [row for row in rows if all(len(str(row.get(name))) <= MAX_LISTED for name in _LISTED)]


def _bind_placement(placement: Placement) -> BatchCommand:
    titles = {f"LANG_ALL[{language}][TITLE]": title for language, title in placement.title.items()}
    fields = {
        "PLACEMENT": placement.code,
        "HANDLER": _handler(placement.path),
        "TITLE": placement.title["en"],
    }
    return "placement.bind", fields | titles


def _lacking(scopes: Collection[str] | None, *needed: str) -> str:
    """The first of the needed scopes that was not granted; "" where nothing is known to lack."""
    return next((scope for scope in needed if scope and scopes is not None and scope not in scopes), "")


BINDING_COMMANDS: dict[str, BatchCommand] = {
    "placements": ("placement.get", {}),
    "events": ("event.get", {}),
    "scopes": ("scope", {}),
}
PLACEMENT_SCOPE = "placement"


@dataclass(frozen=True)
class _Plan:
    """What is to be done about a portal, by the names of its parts, and the parts for which it lacks a scope."""

    commands: list[tuple[str, BatchCommand]]
    lacking: list[MissingPart]


def missing_bindings(listed: BatchAnswer, type_ids: Iterable[int]) -> list[str]:
    """Name what an answer to ``BINDING_COMMANDS`` lacks or has in excess, besides what lacks a scope.

    ``type_ids`` are the smart processes that the portal has chosen. Raises ``ExchangeError``.
    """
    return [name for name, _ in _plan(listed, type_ids).commands]


def _plan(listed: BatchAnswer, type_ids: Iterable[int]) -> _Plan:
    scopes, plan = read_scopes(listed), _Plan([], [])
    if not _lacking(scopes, PLACEMENT_SCOPE):
        present = {(str(row.get("placement")), str(row.get("handler"))) for row in _rows(listed.result("placements"))}
    else:
        present = set()
    wanted = {(one.code, _handler(one.path)): one for one in manifest().placements_for(type_ids)}
    for place, placement in wanted.items():
        lacks = _lacking(scopes, PLACEMENT_SCOPE, needed_scope(placement.code))
        if lacks:
            plan.lacking.append(MissingPart(placement.code, lacks))
        elif place not in present:
            plan.commands.append((placement.code, _bind_placement(placement)))
    for code, handler in sorted(present - wanted.keys()):
        plan.commands.append((f"unbind {code}", ("placement.unbind", {"PLACEMENT": code, "HANDLER": handler})))
    _plan_events(plan, listed, scopes)
    return plan


def _plan_events(plan: _Plan, listed: BatchAnswer, scopes: Collection[str] | None) -> None:
    handler = _handler(manifest().urls["events"])
    present = {(str(row.get("event")).upper(), str(row.get("handler"))) for row in _rows(listed.result("events"))}
    for event in manifest().events:
        lacks = _lacking(scopes, needed_scope(event))
        if lacks:
            plan.lacking.append(MissingPart(event, lacks))
        elif (event, handler) not in present:
            plan.commands.append((event, ("event.bind", {"event": event, "handler": handler})))


def _reconcile(client: PortalClient, type_ids: Iterable[int]) -> Reconciled:
    listed = client.batch(BINDING_COMMANDS)
    plan = _plan(listed, type_ids)
    missing = list(plan.lacking)
    for start in range(0, len(plan.commands), MAX_BATCH):
        part = plan.commands[start : start + MAX_BATCH]
        answer = client.batch({f"c{number}": command for number, (_, command) in enumerate(part)})
        for number, (name, _) in enumerate(part):
            error = answer.errors.get(f"c{number}")
            if error is not None and not _is_bound_already(error):
                missing.append(_refused(name, error))
    return Reconciled(read_scopes(listed), missing)


def _is_bound_already(error: ExchangeError) -> bool:
    return BOUND_ALREADY in (error.words or "").casefold()


def _refused(name: str, error: ExchangeError) -> MissingPart:
    return MissingPart(name, code=error.code, words=error.words or "")


def is_rebinding_due(portal: Portal, answer: BatchAnswer | None) -> bool:
    """Tell whether the portal lacks something of the present manifest, and it has not been tried just now.

    With ``answer`` it says which scopes it has granted: others than when it was last reconciled make it due at once.
    """
    scopes = read_scopes(answer) if answer else None
    if scopes and portal.granted_scopes and scopes != portal.granted_scopes:
        return True
    tried_lately = portal.bound_at and lasts(portal.bound_at + BIND_RETRY_AFTER, utcnow(), BIND_RETRY_AFTER)
    return portal.bound_manifest != manifest_digest() and not tried_lately


def look_at_rules_again(portal: Portal) -> None:
    """Let automation rules be looked at soon, at most once an hour: the event of an update may have been lost. Commits.

    They are registered in the background (services/native/automation/registration.py).
    """
    if portal.rules_at and not lasts(portal.rules_at + BIND_RETRY_AFTER, utcnow(), BIND_RETRY_AFTER):
        with writing() as session:
            session.execute(update(Portal).where(Portal.id == portal.id).values(rules_at=None))


BIND_LABEL = portal_api.RequestLabel("placement.bind, event.bind", {})


def bind_missing(access: Access) -> list[MissingPart]:
    """Bind what is missing and unbind what is no longer wanted, with an administrator's access; idempotent.

    Returns what the portal does not have after it. Remembers the manifest where nothing was refused.
    """
    types = _chosen_types(access.portal_id)
    return _remember_bound(
        access.portal_id, types, lambda: portal_api.call(access, BIND_LABEL, lambda client: _reconcile(client, types))
    )


def bind_missing_for_portal(portal_id: int) -> list[MissingPart]:
    """The same under the portal's own access; raises ``PortalDisconnected``."""
    types = _chosen_types(portal_id)

    def work() -> Reconciled:
        return portal_api.call_for_portal(portal_id, BIND_LABEL, lambda client: _reconcile(client, types))

    return _remember_bound(portal_id, types, work)


def _chosen_types(portal_id: int) -> list[int]:
    with reading() as session:
        return session.get_one(Portal, portal_id).settings.smart_processes or []


def _remember_bound(portal_id: int, types: list[int], work: Callable[[], Reconciled]) -> list[MissingPart]:
    try:
        done = work()
    except InsufficientScope as error:
        done = Reconciled(None, [_refused(WHOLE[0], error)])
    except ExchangeError as error:
        done = Reconciled(None, [_refused(WHOLE[1], error)])
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        is_refused = any(part.is_refused for part in done.missing)
        portal.bound_manifest = None if is_refused else manifest_digest()
        # Others may have been chosen meanwhile.
        portal.bound_at = utcnow() if (portal.settings.smart_processes or []) == types else None
        portal.granted_scopes = done.scopes
        keep_missing_parts(portal, PartKind.PLACES, done.missing)
        # What removes handlers removes automation rules too (services/native/automation/registration.py).
        portal.rules_at = None
    return done.missing


BINDINGS_CHECKED_EVERY = timedelta(days=1)
REBOUND_AT_ONCE = 8
_rebinding = PortalSlots("bind_again", each=1, in_all=REBOUND_AT_ONCE)


def rebind_due() -> int:
    """Bind what an update removed or a new manifest adds, for portals that lack it; returns how many.

    Every portal is looked at once a day: the event that tells of an update comes once, or not at all.
    """
    return work_through(_rebinding, _next_due, _rebind)


def due_portals(now: datetime, besides: Collection[int] = ()) -> Select[int]:
    """Select the portal whose placements and event handlers were looked at longest ago, of those that are due."""
    is_due = or_(
        is_long_ago(Portal.bound_at, now, BINDINGS_CHECKED_EVERY),
        or_(Portal.bound_manifest.is_(None), Portal.bound_manifest != manifest_digest())
        & is_long_ago(Portal.bound_at, now, BIND_RETRY_AFTER),
    )
    query = select(Portal.id).where(Portal.state == PortalState.INSTALLED, is_due, Portal.id.not_in(besides))
    return query.where(Portal.id.not_in(without_spare(now))).order_by(Portal.bound_at).limit(1)


def _next_due(besides: Collection[int]) -> int | None:
    with reading() as session:
        return session.scalar(due_portals(utcnow(), besides))


def _rebind(portal_id: int) -> int:
    try:
        problems = bind_missing_for_portal(portal_id)
    except Refusal:
        return 0  # It was disconnected meanwhile.
    log.info("bound_again", portal_id=portal_id, problems=[part.name for part in problems])
    return 1

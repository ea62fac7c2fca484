"""Bringing a portal's placements and event handlers into line with the manifest."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import or_, select

from bx24app.bitrix24.client import MAX_BATCH, BatchAnswer, PortalClient
from bx24app.bitrix24.errors import InsufficientScope
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.models import Portal, PortalState, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import api as portal_api
from bx24app.services.portals.manifest import Placement, manifest, manifest_digest
from bx24app.services.portals.tokens import Access
from bx24app.services.runtime.slots import Slots, work_through
from bx24app.settings import settings

log = structlog.get_logger(__name__)
BatchCommand = tuple[str, Mapping[str, str | int]]
# If a portal can never bind something, retrying must not slow down every page of its administrators.
BIND_RETRY_AFTER = timedelta(hours=1)
# Nobody has bound more; each surplus one costs a command.
MAX_ROWS = 500
BOUND_ALREADY = "already binded"


@dataclass(frozen=True)
class BindingProblem:
    """Something that the portal would not bind, with its own words; never blocks an installation."""

    what: str
    code: str
    words: str


def _handler(path: str) -> str:
    return settings.public_origin + path


def _rows(value: object) -> list[dict[str, object]]:
    return [row for row in value[:MAX_ROWS] if isinstance(row, dict)] if isinstance(value, list) else []


def _bind_placement(placement: Placement) -> BatchCommand:
    titles = {f"LANG_ALL[{language}][TITLE]": title for language, title in placement.title.items()}
    fields = {
        "PLACEMENT": placement.code,
        "HANDLER": _handler(placement.path),
        "TITLE": placement.title["en"],
    }
    return "placement.bind", fields | titles


def _placement_commands(bound: list[dict[str, object]]) -> Iterator[tuple[str, BatchCommand]]:
    present = {(str(row.get("placement")), str(row.get("handler"))) for row in bound}
    wanted = {(placement.code, _handler(placement.path)) for placement in manifest().placements}
    for placement in manifest().placements:
        if (placement.code, _handler(placement.path)) not in present:
            yield placement.code, _bind_placement(placement)
    for code, handler in sorted(present - wanted):
        yield f"unbind {code}", ("placement.unbind", {"PLACEMENT": code, "HANDLER": handler})


def _event_commands(bound: list[dict[str, object]]) -> Iterator[tuple[str, BatchCommand]]:
    handler = _handler(manifest().urls["events"])
    present = {(str(row.get("event")).upper(), str(row.get("handler"))) for row in bound}
    for event in manifest().events:
        if (event, handler) not in present:
            yield event, ("event.bind", {"event": event, "handler": handler})


BINDING_COMMANDS: dict[str, BatchCommand] = {"placements": ("placement.get", {}), "events": ("event.get", {})}


def missing_bindings(listed: BatchAnswer) -> list[str]:
    """Name what an answer to ``BINDING_COMMANDS`` lacks or has in excess of the manifest; raises ``ExchangeError``."""
    return [name for name, _ in _commands(listed)]


def _commands(listed: BatchAnswer) -> list[tuple[str, BatchCommand]]:
    return [
        *_placement_commands(_rows(listed.result("placements"))),
        *_event_commands(_rows(listed.result("events"))),
    ]


def _bind_missing(client: PortalClient) -> list[BindingProblem]:
    commands = _commands(client.batch(BINDING_COMMANDS))
    problems: list[BindingProblem] = []
    for start in range(0, len(commands), MAX_BATCH):
        part = commands[start : start + MAX_BATCH]
        answer = client.batch({f"c{number}": command for number, (_, command) in enumerate(part)})
        for number, (name, _) in enumerate(part):
            error = answer.errors.get(f"c{number}")
            if error is not None and not _is_bound_already(error):
                problems.append(_problem(name, error))
    return problems


def _is_bound_already(error: ExchangeError) -> bool:
    return BOUND_ALREADY in (error.words or "").casefold()


def _problem(what: str, error: ExchangeError) -> BindingProblem:
    return BindingProblem(what, error.code, error.words or "")


def is_rebinding_due(portal: Portal) -> bool:
    """Tell whether the portal lacks something of the present manifest, and it has not been tried just now."""
    tried_lately = portal.bound_at is not None and utcnow() - portal.bound_at < BIND_RETRY_AFTER
    return portal.bound_manifest != manifest_digest() and not tried_lately


BIND_LABEL = portal_api.RequestLabel("placement.bind, event.bind", {})


def bind_missing(access: Access) -> list[BindingProblem]:
    """Bind what is missing and unbind what is no longer wanted, with an administrator's access; idempotent.

    Returns what could not be bound. Remembers the manifest when all of it was.
    """
    return _remember_bound(access.portal_id, lambda: portal_api.call(access, BIND_LABEL, _bind_missing))


def bind_missing_for_portal(portal_id: int) -> list[BindingProblem]:
    """The same under the portal's own access; raises ``PortalDisconnected``."""
    return _remember_bound(portal_id, lambda: portal_api.call_for_portal(portal_id, BIND_LABEL, _bind_missing))


def _remember_bound(portal_id: int, work: Callable[[], list[BindingProblem]]) -> list[BindingProblem]:
    try:
        problems = work()
    except InsufficientScope as error:
        problems = [_problem("scope", error)]
    except ExchangeError as error:
        problems = [_problem("portal", error)]
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.bound_manifest = None if problems else manifest_digest()
        portal.bound_at = utcnow()
    return problems


BINDINGS_CHECKED_EVERY = timedelta(days=1)
REBOUND_AT_ONCE = 8
_rebinding = Slots[int](each=1, in_all=REBOUND_AT_ONCE)


def rebind_due() -> int:
    """Bind what an update removed or a new manifest adds, for portals that lack it; returns how many.

    Every portal is looked at once a day: the event that tells of an update comes once, or not at all.
    """
    return work_through(_rebinding, _next_due, _rebind)


def _next_due(besides: Collection[int]) -> int | None:
    now = utcnow()
    is_due = or_(
        Portal.bound_at.is_(None),
        Portal.bound_at < now - BINDINGS_CHECKED_EVERY,
        or_(Portal.bound_manifest.is_(None), Portal.bound_manifest != manifest_digest())
        & (Portal.bound_at < now - BIND_RETRY_AFTER),
    )
    query = select(Portal.id).where(Portal.state == PortalState.INSTALLED, is_due, Portal.id.not_in(besides))
    with reading() as session:
        return session.scalar(query.order_by(Portal.bound_at).limit(1))


def _rebind(portal_id: int) -> int:
    try:
        problems = bind_missing_for_portal(portal_id)
    except Refusal:
        return 0  # It was disconnected meanwhile.
    log.info("bound_again", portal_id=portal_id, problems=[problem.what for problem in problems])
    return 1

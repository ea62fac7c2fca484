"""Bringing a portal's placements and event handlers into line with the manifest."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from bx24app.bitrix24.client import MAX_BATCH, BatchAnswer, PortalClient
from bx24app.bitrix24.errors import Bitrix24Error, InsufficientScope, NoUsableAnswer, Refused
from bx24app.extensions import writing
from bx24app.models import Portal, utcnow
from bx24app.services import rest
from bx24app.services.credentials import Access
from bx24app.services.manifest import Placement, manifest, manifest_digest
from bx24app.settings import settings

Command = tuple[str, Mapping[str, str | int]]
# A portal that cannot bind something for good must not make every page of its administrators slow.
TRY_AGAIN = timedelta(hours=1)
BOUND_ALREADY = "already binded"


@dataclass(frozen=True)
class Problem:
    """Something that the portal would not bind, with its own words; never blocks an installation."""

    what: str
    code: str
    words: str


def _handler(path: str) -> str:
    return settings.public_origin + path


def _rows(value: object) -> list[dict[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _bind_placement(placement: Placement) -> Command:
    titles = {f"LANG_ALL[{language}][TITLE]": title for language, title in placement.title.items()}
    fields = {
        "PLACEMENT": placement.code,
        "HANDLER": _handler(placement.path),
        "TITLE": placement.title["en"],
    }
    return "placement.bind", fields | titles


def _placement_commands(bound: list[dict[str, object]]) -> Iterator[tuple[str, Command]]:
    present = {(str(row.get("placement")), str(row.get("handler"))) for row in bound}
    wanted = {(placement.code, _handler(placement.path)) for placement in manifest().placements}
    for placement in manifest().placements:
        if (placement.code, _handler(placement.path)) not in present:
            yield placement.code, _bind_placement(placement)
    for code, handler in sorted(present - wanted):
        yield f"unbind {code}", ("placement.unbind", {"PLACEMENT": code, "HANDLER": handler})


def _event_commands(bound: list[dict[str, object]]) -> Iterator[tuple[str, Command]]:
    handler = _handler(manifest().urls["events"])
    present = {(str(row.get("event")).upper(), str(row.get("handler"))) for row in bound}
    for event in manifest().events:
        if (event, handler) not in present:
            yield event, ("event.bind", {"event": event, "handler": handler})


QUESTIONS: dict[str, Command] = {"placements": ("placement.get", {}), "events": ("event.get", {})}


def missing(listed: BatchAnswer) -> list[str]:
    """What an answer to ``QUESTIONS`` lacks of the manifest, or has too much; raises ``Bitrix24Error``."""
    return [name for name, _ in _commands(listed)]


def _commands(listed: BatchAnswer) -> list[tuple[str, Command]]:
    return [
        *_placement_commands(_rows(listed.result("placements"))),
        *_event_commands(_rows(listed.result("events"))),
    ]


def _reconcile(client: PortalClient) -> list[Problem]:
    commands = _commands(client.batch(QUESTIONS))
    problems: list[Problem] = []
    for start in range(0, len(commands), MAX_BATCH):
        part = commands[start : start + MAX_BATCH]
        answer = client.batch({f"c{number}": command for number, (_, command) in enumerate(part)})
        for number, (name, _) in enumerate(part):
            error = answer.errors.get(f"c{number}")
            if error is not None and not _is_bound_already(error):
                problems.append(_problem(name, error))
    return problems


def _is_bound_already(error: Refused | NoUsableAnswer) -> bool:
    return isinstance(error, Refused) and BOUND_ALREADY in error.words.casefold()


def _problem(what: str, error: Bitrix24Error) -> Problem:
    return Problem(what, error.code, error.words if isinstance(error, Refused) else "")


def is_due(portal: Portal) -> bool:
    """Tell whether the portal lacks something of the present manifest, and it has not been tried just now."""
    tried_lately = portal.bound_at is not None and utcnow() - portal.bound_at < TRY_AGAIN
    return portal.bound_manifest != manifest_digest() and not tried_lately


LABEL = rest.Label("placement.bind, event.bind", {})


def reconcile(access: Access) -> list[Problem]:
    """Bind what is missing and unbind what is no longer wanted, with an administrator's access; idempotent.

    Returns what could not be bound. Remembers the manifest when all of it was.
    """
    return _reconciled(access.portal_id, lambda: rest.ask(access, LABEL, _reconcile))


def reconcile_for_portal(portal_id: int) -> list[Problem]:
    """The same under the portal's own access; raises ``PortalDisconnected``."""
    return _reconciled(portal_id, lambda: rest.ask_for_portal(portal_id, LABEL, _reconcile))


def _reconciled(portal_id: int, work: Callable[[], list[Problem]]) -> list[Problem]:
    try:
        problems = work()
    except InsufficientScope as error:
        problems = [_problem("scope", error)]
    except Bitrix24Error as error:
        problems = [_problem("portal", error)]
    with writing() as session:
        portal = session.get_one(Portal, portal_id, with_for_update=True)
        portal.bound_manifest = None if problems else manifest_digest()
        portal.bound_at = utcnow()
    return problems

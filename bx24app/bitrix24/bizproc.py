"""Automation rules: what the portal posts when one runs, how they are registered, and how a result is sent back.

Docs: api-reference/bizproc/bizproc-robot/index.md, bizproc-robot-add.md, bizproc-event-send.md,
bizproc-activity/bizproc-activity-log.md.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bx24app.bitrix24.answers import Json
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.company.cards import type_of
from bx24app.bitrix24.crm import ENTITY_TYPES
from bx24app.bitrix24.errors import AccessDenied, Bitrix24Error
from bx24app.bitrix24.events import Event, read_fields
from bx24app.bitrix24.frame_post import UNREADABLE
from bx24app.errors import Malformed

RULE_HEADS = (
    "auth",
    "code",
    "document_id",
    "document_type",
    "event_token",
    "properties",
    "timeout_duration",
    "ts",
    "use_subscription",
    "workflow_id",
)
MAX_EVENT_TOKEN, MAX_PROPERTY = 1000, 5000
_SENDABLE = re.compile(r"[A-Za-z0-9_.~+/=-]{1,512}")
# The number of a document stands after the last "_" of its id; the rest names its kind (LEAD_456, DYNAMIC_183_42).
_DOCUMENT = re.compile(r"(?P<kind>[A-Z][A-Z_]{0,30}?)_(?:(?P<type>\d{1,9})_)?(?P<id>\d{1,9})")
ALREADY_REGISTERED = "ERROR_ACTIVITY_ALREADY_INSTALLED"
NOTHING_TO_LOG, NOT_SIGNED = "ERROR_EMPTY_LOG_MESSAGE", "ACCESS_DENIED"


@dataclass(frozen=True)
class RuleDocument:
    """The CRM document for which a rule runs; ``type_id`` is that of a smart process, 0 for a lead or a deal."""

    kind: str
    id: int
    type_id: int = 0


@dataclass(frozen=True)
class RulePost:
    """One run of a rule as it is posted. Nothing in it is proven yet.

    ``event_token`` names the run, and no other has the same. ``waits``: the automation goes on when the result comes.
    """

    code: str
    event_token: str = field(repr=False)
    waits: bool
    document: RuleDocument | None
    properties: dict[str, str] = field(repr=False)
    # As an event, with what may prove it.
    event: Event = field(repr=False)
    refresh_token: str = field(repr=False)


def read_rule_post(items: Iterable[tuple[str, str]]) -> RulePost:
    """Read the form fields of a run, which may come in any order. Raises ``Malformed``."""
    tree = read_fields(map(_marked, items), RULE_HEADS)
    auth = tree["auth"]
    code, token = tree["code"].get("", ""), tree["event_token"].get("", "")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", code):
        raise Malformed("code")
    if not 0 < len(token) <= MAX_EVENT_TOKEN or not token.isprintable():
        raise Malformed("event_token")
    if not re.fullmatch(r"[0-9a-fA-F]{32}", auth.get("member_id", "")):
        raise Malformed("member_id")
    return RulePost(
        code=code,
        event_token=token,
        waits=tree["use_subscription"].get("", "").upper() == "Y",
        document=_document(tree["document_id"]),
        properties=_properties(tree["properties"]),
        event=Event(
            name="RULE",
            member_id=auth["member_id"],
            application_token=auth.get("application_token", ""),
            access_token=auth.get("access_token", ""),
            ts=_number(tree["ts"].get("", "")),
            fields={},
        ),
        refresh_token=refresh if _SENDABLE.fullmatch(refresh := auth.get("refresh_token", "")) else "",
    )


def _marked(item: tuple[str, str]) -> tuple[str, str]:
    """Let a null in a property be a mark, and what else cannot be read spaces; one without anything else is a mark too.

    Left out or empty, it would mean that nothing was chosen there.
    """
    key, value = item
    if not key.startswith("properties[") or not UNREADABLE.search(value):
        return item
    readable = UNREADABLE.sub(" ", value.replace("\0", "*"))
    return key, readable if readable.strip() else "*"


def _properties(sent: Mapping[str, str]) -> dict[str, str]:
    """Take the first value of each property: one that a portal takes for multiple comes as a list."""
    found: dict[str, str] = {}
    for path, text in sent.items():
        name = path.partition(".")[0]
        if text and name not in found:
            found[name] = text[:MAX_PROPERTY]
    return found


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _document(parts: Mapping[str, str]) -> RuleDocument | None:
    """Read ``document_id``: module, class and id; None for a document that is none of the CRM's."""
    match = _DOCUMENT.fullmatch(parts.get("2", "").upper())
    if parts.get("0", "").lower() != "crm" or match is None:
        return None
    kind = match["kind"]
    has_own_methods = kind in ENTITY_TYPES
    type_id = 0 if has_own_methods else int(match["type"] or 0) or type_of(kind)
    return RuleDocument(kind, int(match["id"]), type_id) if type_id or has_own_methods else None


@dataclass(frozen=True)
class RuleRegistration:
    """A rule as the portal shall know it; ``fields`` are those of ``bizproc.robot.add`` but ``CODE``."""

    code: str
    fields: dict[str, Json]


def reconcile_rules(client: PortalClient, wanted: Sequence[RuleRegistration], *, is_changed: bool) -> None:
    """Add the rules that the portal lacks, remove those that are not wanted, and update the others where needed.

    The portal tells codes alone, so whoever asks must know whether what was registered ``is_changed``. Idempotent.
    Needs an administrator's access; raises ``ExchangeError``.
    """
    listed = client.invoke("bizproc.robot.list")
    present = {str(code) for code in listed[:100]} if isinstance(listed, list) else set()
    for rule in wanted:
        if rule.code not in present:
            _add(client, rule)
        elif is_changed:
            _update(client, rule)
    for code in sorted(present - {rule.code for rule in wanted}):
        client.invoke("bizproc.robot.delete", {"CODE": code})


def _add(client: PortalClient, rule: RuleRegistration) -> None:
    try:
        client.invoke("bizproc.robot.add", {"CODE": rule.code, **rule.fields})
    except Bitrix24Error as error:
        if error.foreign_code != ALREADY_REGISTERED:
            raise
        _update(client, rule)  # Somebody else has registered it in this moment.


def _update(client: PortalClient, rule: RuleRegistration) -> None:
    client.invoke("bizproc.robot.update", {"CODE": rule.code, "FIELDS": rule.fields})


def is_signed(client: PortalClient, event_token: str) -> bool:
    """Let the portal say whether the token of a run is one that it has signed; raises ``ExchangeError``.

    The method looks at the token before it looks at the message, so that nothing is written where there is none (docs:
    api-reference/bizproc/bizproc-activity/bizproc-activity-log.md).
    """
    try:
        client.invoke("bizproc.activity.log", {"EVENT_TOKEN": event_token, "LOG_MESSAGE": ""})
    except Bitrix24Error as error:
        # The same code with other words says that the portal's plan has ended, which is another error.
        if isinstance(error, AccessDenied) and error.foreign_code == NOT_SIGNED:
            return False
        if error.foreign_code != NOTHING_TO_LOG:
            raise
    return True


def send_result(client: PortalClient, event_token: str, values: Mapping[str, str | int], words: str) -> None:
    """Let a waiting run go on with a result, and write ``words`` into its log; raises ``ExchangeError``.

    A run that has ended answers as one that waits: that nothing is refused proves nothing.
    """
    fields: dict[str, Json] = {"EVENT_TOKEN": event_token, "RETURN_VALUES": dict(values), "LOG_MESSAGE": words}
    client.invoke("bizproc.event.send", fields)

"""The timeline of a CRM card: an activity of our own with buttons, and our words in the portal's activity of a call.

Docs: crm.activity.configurable.add and update, crm.activity.layout.blocks.set and delete, crm.activity.list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import PortalClient
from bx24app.bitrix24.company.cards import type_of
from bx24app.bitrix24.crm import ENTITY_TYPES, ORIGINATOR, BatchCommands, read_id
from bx24app.bitrix24.errors import Bitrix24Error
from bx24app.outgoing.errors import UnreadableAnswer

CLICKED = "ONCRMTIMELINEITEMACTION"
PROVIDER = "CONFIGURABLE_REST_APP"
# How telephony names its activity of a call.
CALL_ORIGIN = "VI_"
MAX_BLOCKS, MAX_BLOCK_TITLE, MAX_BLOCK_TEXT = 20, 100, 1000
MAX_CALL_ID = 255
# Somebody has deleted the activity, or its card.
_GONE = frozenset({"not_found", "owner_not_found"})
# Visitors write some of it, and nobody promises that a portal shows it as it is.
_NO_MARKUP = str.maketrans("[]<>", "()()")


class TagColour(StrEnum):
    """The background of a tag."""

    GREEN = "success"
    RED = "failure"
    YELLOW = "warning"
    BLUE = "primary"
    GREY = "secondary"


class ClickAction(StrEnum):
    """What the buttons of the activity ask for."""

    CALL_NOW = "call_now"
    CANCEL = "cancel"


@dataclass(frozen=True)
class ActivityRow:
    """A name and a value below one another, of which whoever wrote them may be a stranger."""

    key: str
    title: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class ActivityView:
    """What the activity shows; a button without a label is not there. ``opens`` are the options of our page."""

    title: str
    tag: str
    colour: TagColour
    rows: tuple[ActivityRow, ...] = field(repr=False)
    opens: Mapping[str, str]
    open_label: str
    call_label: str = ""
    cancel_label: str = ""
    is_over: bool = False


@dataclass(frozen=True)
class CallActivity:
    """The portal's own activity of a call, and the card that it is in."""

    activity_id: int
    type_id: int
    entity_id: int


@dataclass(frozen=True)
class TimelineClick:
    """A click on a button of the activity, as an event tells of it. Nothing in it is proven."""

    action: ClickAction
    activity_id: int


def read_click(fields: Mapping[str, str]) -> TimelineClick | None:
    """Read the data of the event; None for what is no button of ours."""
    action, activity_id = fields.get("id", ""), read_id(fields.get("activityId", ""))
    if action not in set(ClickAction) or not activity_id:
        return None
    return TimelineClick(ClickAction(action), activity_id)


def is_gone(error: BaseException) -> bool:
    """Tell whether the portal says that the activity, or its card, is not there any more."""
    return isinstance(error, Bitrix24Error) and error.foreign_code.casefold() in _GONE


def plain(text: str, length: int) -> str:
    """One line of plain text, at most so long."""
    line = "".join(filter(str.isprintable, " ".join(text.split()))).translate(_NO_MARKUP)
    return line if len(line) <= length else line[: length - 1] + "…"


def _blocks(rows: Sequence[ActivityRow]) -> dict[str, Json]:
    return {row.key: _block(row) for row in rows[:MAX_BLOCKS]}


def _block(row: ActivityRow) -> Json:
    value: Json = {"type": "text", "properties": {"value": plain(row.text, MAX_BLOCK_TEXT)}}
    properties: Json = {"title": plain(row.title, MAX_BLOCK_TITLE), "inline": True, "block": value}
    return {"type": "withTitle", "properties": properties}


def layout_of(view: ActivityView) -> dict[str, Json]:
    """Make the structure that is shown (docs: configurable/structure); texts are plain, in one language.

    A language that is not installed on the portal would be refused.
    """
    opening: Json = {"type": "openRestApp", "actionParams": dict(view.opens), "sliderParams": {"title": view.title}}
    buttons: dict[str, Json] = {}
    if view.call_label:
        buttons["call"] = {
            "title": view.call_label,
            "type": "primary",
            "hideIfReadonly": True,
            "action": {"type": "restEvent", "id": ClickAction.CALL_NOW, "animationType": "disable"},
        }
    buttons["open"] = {"title": view.open_label, "type": "secondary", "action": opening}
    menu: dict[str, Json] = {"showPostponeItem": False}
    if view.cancel_label:
        action: Json = {"type": "restEvent", "id": ClickAction.CANCEL, "animationType": "loader"}
        menu["items"] = {"cancel": {"title": view.cancel_label, "hideIfReadonly": True, "action": action}}
    tag: Json = {"type": view.colour, "title": plain(view.tag, MAX_BLOCK_TITLE)}
    return {
        "icon": {"code": "call-completed" if view.is_over else "call-outcoming"},
        "header": {"title": view.title, "tags": {"state": tag}},
        "body": {"logo": {"code": "call"}, "blocks": _blocks(view.rows)},
        "footer": {"buttons": buttons, "menu": menu},
    }


def _fields(origin: str, *, is_over: bool) -> dict[str, Json]:
    # Never "not completed": who has completed it has done so on purpose.
    done: dict[str, Json] = {"completed": "Y"} if is_over else {}
    return {"originatorId": ORIGINATOR, "originId": origin, **done}


def _activity_id(answer: Json) -> int:
    id = read_id(as_object(as_object(answer).get("activity")).get("id"))
    if not id:
        raise UnreadableAnswer
    return id


def add_activity(
    client: PortalClient, card: tuple[str, int], view: ActivityView, origin: str, responsible: int | None
) -> int:
    """Add an activity to a card and return its id; not idempotent. Raises ``ExchangeError``."""
    kind, entity_id = card
    person: dict[str, Json] = {"responsibleId": responsible} if responsible else {}
    given: dict[str, Json] = {
        "ownerTypeId": type_of(kind),
        "ownerId": entity_id,
        "fields": _fields(origin, is_over=view.is_over) | person,
        "layout": layout_of(view),
    }
    return _activity_id(client.invoke("crm.activity.configurable.add", given))


def update_activity(client: PortalClient, activity_id: int, view: ActivityView, origin: str) -> None:
    """Show something else in an activity, and complete it where it is over; raises ``ExchangeError``."""
    fields = _fields(origin, is_over=view.is_over)
    client.invoke("crm.activity.configurable.update", {"id": activity_id, "fields": fields, "layout": layout_of(view)})


def find_activity(client: PortalClient, origin: str) -> int | None:
    """Look for the activity that was added for a callback; raises ``ExchangeError``.

    A portal drops conditions that it does not know, so what it lists is compared again.
    """
    ours = {"PROVIDER_ID": PROVIDER, "ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": origin}
    listed = client.invoke("crm.activity.list", {"filter": dict(ours), "select": ["ID", *ours]})
    found = (row for row in _listed(listed) if all(str(row.get(name)) == value for name, value in ours.items()))
    return next((id for row in found if (id := read_id(row.get("ID")))), None)


def responsible_of(client: PortalClient, kind: str, entity_id: int) -> int | None:
    """Read who is responsible for a card of any kind; None where the portal does not tell.

    Raises ``ExchangeError``. Docs: crm/universal/crm-item-get.md.
    """
    if kind in ENTITY_TYPES:
        card = as_object(client.invoke(reading_method(kind), {"ID": entity_id}))
        return read_id(card.get("ASSIGNED_BY_ID"))
    answer = as_object(client.invoke(reading_method(kind), {"entityTypeId": type_of(kind), "id": entity_id}))
    return read_id(as_object(answer.get("item")).get("assignedById"))


def reading_method(kind: str) -> str:
    """The method that reads a card: leads, deals, contacts and companies have one of their own."""
    return f"crm.{kind.lower()}.get" if kind in ENTITY_TYPES else "crm.item.get"


def _listed(value: Json) -> list[dict[str, Json]]:
    return [row for row in value[:MAX_BLOCKS] if isinstance(row, dict)] if isinstance(value, list) else []


def find_call_activity(client: PortalClient, call_id: str, activity_id: int | None) -> CallActivity | None:
    """Look for the portal's own activity of a call, by the id that the history has named or by that of the call.

    Raises ``ExchangeError``.
    """
    origin = CALL_ORIGIN + call_id[:MAX_CALL_ID]
    names = ("ID", "ORIGIN_ID", "OWNER_TYPE_ID", "OWNER_ID")
    select = {f"select[{number}]": name for number, name in enumerate(names)}
    commands: BatchCommands = {"by_call": ("crm.activity.list", {"filter[ORIGIN_ID]": origin, **select})}
    if activity_id is not None:
        commands |= {"by_id": ("crm.activity.list", {"filter[ID]": activity_id, **select})}
    answer = client.batch(commands)
    rows = [row for name in commands for row in _listed(answer.result(name))]
    meant = (row for row in rows if read_id(row.get("ID")) == activity_id or row.get("ORIGIN_ID") == origin)
    return next((found for row in meant if (found := _call_activity(row))), None)


def _call_activity(row: Mapping[str, Json]) -> CallActivity | None:
    id, type_id, entity_id = (read_id(row.get(name)) for name in ("ID", "OWNER_TYPE_ID", "OWNER_ID"))
    return CallActivity(id, type_id, entity_id) if id and type_id and entity_id else None


def _place(call: CallActivity) -> dict[str, Json]:
    return {"entityTypeId": call.type_id, "entityId": call.entity_id, "activityId": call.activity_id}


def set_call_rows(client: PortalClient, call: CallActivity, rows: Sequence[ActivityRow]) -> None:
    """Put our words into the portal's activity of a call, in place of those of before; raises ``ExchangeError``."""
    client.invoke("crm.activity.layout.blocks.set", {**_place(call), "layout": {"blocks": _blocks(rows)}})


def clear_call_rows(client: PortalClient, call: CallActivity) -> None:
    """Take our words out of the portal's activity of a call; raises ``ExchangeError``."""
    client.invoke("crm.activity.layout.blocks.delete", _place(call))


def delete_activity(client: PortalClient, activity_id: int) -> None:
    """Delete an activity; raises ``ExchangeError``. Docs: crm.activity.delete."""
    client.invoke("crm.activity.delete", {"id": activity_id})

"""The timeline of CRM cards: activities of applications with their buttons, and those of telephony.

docs: api-reference/crm/timeline/activities/configurable (structure/*), .../layout-blocks
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.crm import TYPE_IDS
from tests.fake_bitrix24.events import Delivery
from tests.fake_bitrix24.people import CRM_ADD, FakeUser
from tests.fake_bitrix24.rest import Asker, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

CONFIGURABLE, CALL = "CONFIGURABLE_REST_APP", "VOXIMPLANT_CALL"
FIRST_ID = 5310
EVENT = "ONCRMTIMELINEITEMACTION"
Check = Callable[[Any, str], None]


@dataclass
class Activity:
    """One activity; ``revision`` grows with every update, which unblocks its buttons."""

    id: int
    provider: str
    client_id: str
    type_id: int
    entity_id: int
    fields: dict[str, Any]
    layout: dict[str, Any] = field(default_factory=dict)
    # Additional blocks by application.
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    revision: int = 1

    @property
    def is_completed(self) -> bool:
        """Tell whether it is done."""
        return str(self.fields.get("completed", "N")).upper() in ("Y", "1", "TRUE")

    @property
    def tag(self) -> str:
        """The words of its only tag."""
        [tag] = self.layout["header"]["tags"].values()
        return str(tag["title"])

    @property
    def actions(self) -> dict[str, dict[str, Any]]:
        """What can be pressed, by label."""
        footer = self.layout.get("footer", {})
        items = [*footer.get("buttons", {}).values(), *footer.get("menu", {}).get("items", {}).values()]
        return {item["title"]: item["action"] for item in items}

    def texts(self) -> dict[str, str]:
        """The values of its rows by their titles, ours in the portal's activity of a call too."""
        shown = [*self.layout.get("body", {}).get("blocks", {}).values()]
        shown += [block for blocks in self.blocks.values() for block in blocks.values()]
        rows = (block["properties"] for block in shown if block["type"] == "withTitle")
        return {row["title"]: row["block"]["properties"]["value"] for row in rows}

    def row(self) -> dict[str, Any]:
        """As ``crm.activity.list`` has it."""
        return {
            "ID": str(self.id),
            "PROVIDER_ID": self.provider,
            "OWNER_TYPE_ID": str(self.type_id),
            "OWNER_ID": str(self.entity_id),
            "ORIGINATOR_ID": self.fields.get("originatorId"),
            "ORIGIN_ID": self.fields.get("originId"),
            "COMPLETED": "Y" if self.is_completed else "N",
        }


class Timeline:
    """All activities of a portal."""

    def __init__(self, portal: "FakePortal") -> None:
        self._portal = portal
        self.activities: dict[int, Activity] = {}
        self._next_id = FIRST_ID
        self.languages = {"en", "de"}

    def of_app(self) -> list[Activity]:
        """Those that applications have added."""
        return [one for one in self.activities.values() if one.provider == CONFIGURABLE]

    def of_card(self, kind: str, entity_id: int) -> list[Activity]:
        """Those of one card, the newest first."""
        kinds = {known: id for id, known in TYPE_IDS.items()}
        card = (kinds.get(kind) or int(kind.removeprefix("DYNAMIC_")), entity_id)
        return [one for one in self.activities.values() if (one.type_id, one.entity_id) == card][::-1]

    def add(self, provider: str, client_id: str, card: tuple[int, int], fields: dict[str, Any]) -> Activity:
        """Put an activity into a card."""
        activity = Activity(self._next_id, provider, client_id, *card, fields)
        self._next_id += 1
        self.activities[activity.id] = activity
        return activity

    def write_call(self, call_id: str, number: str) -> dict[str, str]:
        """The portal writes its activity of a call into the card that has the number; names it as the history does."""
        crm, digits = self._portal.crm, re.sub(r"\D", "", number)
        for type_id in (3, 4, 1):
            for id, entity in crm.entities[TYPE_IDS[type_id]].items():
                if any(re.sub(r"\D", "", phone["VALUE"]) == digits for phone in entity.get("PHONE", [])):
                    activity = self.add(CALL, "", (type_id, id), {"originId": f"VI_{call_id}", "completed": "Y"})
                    names = {"CRM_ENTITY_TYPE": TYPE_IDS[type_id], "CRM_ENTITY_ID": str(id)}
                    return {"CRM_ACTIVITY_ID": str(activity.id), **names}
        return {}

    def press(self, activity_id: int, label: str, by: FakeUser) -> Delivery:
        """Press a button or an item of the menu that sends an event; only its application is told."""
        activity = self.activities[activity_id]
        action = activity.actions[label]
        if action["type"] != "restEvent":
            raise LookupError(f"{label} sends no event")
        context = {"id": action["id"], "entityTypeId": activity.type_id, "entityId": activity.entity_id}
        data = {**action.get("actionParams", {}), **context, "activityId": activity.id, "userId": by.id}
        return self._portal.tell_app(activity.client_id, EVENT, data, by)


def find(portal: "FakePortal", asker: Asker, id: Any) -> Activity:
    """An activity that its asker may change; raises ``RestError``."""
    activity = portal.timeline.activities.get(int(id)) if str(id).isdigit() else None
    if activity is None:
        raise RestError("NOT_FOUND", "Not found.")
    if CRM_ADD not in asker.user.rights:
        raise RestError("ACCESS_DENIED", "Access denied.")
    return activity


def owner_of(
    portal: "FakePortal", asker: Asker, type_id: Any, entity_id: Any, missing: str = "NOT_FOUND"
) -> tuple[int, int]:
    """A card that its asker may change; raises ``RestError``."""
    if not str(type_id).isdigit() or portal.crm.item(int(type_id), entity_id) is None:
        raise RestError(missing, "Not found.")
    if CRM_ADD not in asker.user.rights:
        raise RestError("ACCESS_DENIED", "Access denied.")
    return int(type_id), int(entity_id)


# The structure of what is shown, with its limits.

KEY = re.compile(r"[A-Za-z0-9_-]+")
SCOPES, COLOURS = {"web", "mobile"}, {"success", "failure", "warning", "primary", "secondary"}


def _need(value: Any, where: str, required: dict[str, Check], optional: dict[str, Check]) -> None:
    if not isinstance(value, dict):
        raise RestError("WRONG_FIELD_VALUE", f"{where} must be an object")
    for name in required:
        if value.get(name) in (None, "", [], {}):
            raise RestError("FIELD_IS_REQUIRED", f"The field {where}.{name} is required")
    for name, part in value.items():
        check = required.get(name) or optional.get(name)
        if check is None:
            raise RestError("FIELD_IS_REDUNDANT", f"The field {where}.{name} is redundant")
        check(part, f"{where}.{name}")


def _any(_: Any, __: str) -> None:
    return


def _one_of(known: set[str]) -> Check:
    def check(value: Any, where: str) -> None:
        if value not in known:
            raise RestError("ENUM_FIELD", f"{where} has no such value")

    return check


def _map(most: int, check: Check) -> Check:
    def check_all(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise RestError("WRONG_FIELD_VALUE", f"{where} must be an object")
        if len(value) > most:
            raise RestError("TOO_MANY_ITEMS", f"{where} has more than {most} items")
        for key, part in value.items():
            if not KEY.fullmatch(key):
                raise RestError("KEY_CONTAIN_WRONG_SYMBOLS", f"{where}.{key}")
            check(part, f"{where}.{key}")

    return check_all


class Structure:
    """The structure of activities on a portal with some languages; each method checks one part, or raises."""

    def __init__(self, languages: set[str]) -> None:
        self._languages = languages
        self._common: dict[str, Check] = {"scope": _one_of(SCOPES)}
        self._hidden = self._common | {"hideIfReadonly": _any}

    def text(self, value: Any, where: str) -> None:
        """A string, or one for each of some languages that are installed (docs: field-types.md)."""
        if isinstance(value, dict) and (not value or set(value) - self._languages):
            raise RestError("WRONG_LANG", f"{where} names a language that is not installed")

    def action(self, value: Any, where: str) -> None:
        """docs: action.md"""
        kinds: dict[str, dict[str, Check]] = {
            "redirect": {"uri": _any},
            "restEvent": {"id": _any, "actionParams": _map(20, _any), "animationType": _one_of({"loader", "disable"})},
            "openRestApp": {"actionParams": _map(20, _any), "sliderParams": self.slider},
        }
        kind = _kind(value, kinds, where)
        needed: dict[str, Check] = {"type": _any, **({"id": _any} if kind == "restEvent" else {})}
        _need(value, where, needed, kinds[kind])

    def slider(self, value: Any, where: str) -> None:
        """docs: action.md"""
        _need(value, where, {}, {"title": self.text, "width": _any, "leftBoundary": _any})

    def block(self, value: Any, where: str) -> None:
        """docs: content-block.md"""
        look: dict[str, Check] = dict.fromkeys(("multiline", "bold", "size", "color"), _any)
        kinds: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
            "text": ({"value": self.text}, {"title": self.text, **look}),
            "largeText": ({"value": self.text}, {}),
            "link": ({"text": self.text, "action": self.action}, {"bold": _any}),
            "withTitle": ({"title": self.text, "block": self.block}, {"inline": _any}),
            "lineOfBlocks": ({"blocks": _map(20, self.block)}, {}),
            "deadline": ({}, {"readonly": _any}),
        }
        needed, others = kinds[_kind(value, kinds, where)]
        properties: Check = lambda one, at: _need(one, at, needed, others | self._common)  # noqa: E731
        _need(value, where, {"type": _any, "properties": properties}, {})

    def blocks(self, value: Any, where: str) -> None:
        """At most 20."""
        _map(20, self.block)(value, where)

    def header(self, value: Any, where: str) -> None:
        """docs: header.md"""
        _need(value, where, {"title": self.text}, {"titleAction": self.action, "tags": _map(2, self.tag)})

    def tag(self, value: Any, where: str) -> None:
        """docs: header.md"""
        _need(value, where, {"title": self.text, "type": _one_of(COLOURS)}, {"action": self.action, **self._hidden})

    def body(self, value: Any, where: str) -> None:
        """docs: body.md"""
        logo: Check = lambda one, at: _need(one, at, {"code": _any}, {"action": self.action})  # noqa: E731
        _need(value, where, {"logo": logo}, {"blocks": self.blocks})

    def button(self, value: Any, where: str) -> None:
        """docs: footer.md"""
        kinds = _one_of({"primary", "secondary"})
        _need(value, where, {"title": self.text, "type": kinds, "action": self.action}, self._hidden)

    def item(self, value: Any, where: str) -> None:
        """docs: menu-item.md"""
        _need(value, where, {"title": self.text, "action": self.action}, self._hidden)

    def menu(self, value: Any, where: str) -> None:
        """docs: footer.md"""
        shows: dict[str, Check] = dict.fromkeys(("showPinItem", "showPostponeItem", "showDeleteItem"), _any)
        _need(value, where, {}, {**shows, "items": _map(10, self.item)})

    def footer(self, value: Any, where: str) -> None:
        """docs: footer.md"""
        _need(value, where, {}, {"buttons": _map(2, self.button), "menu": self.menu})

    def layout(self, value: Any, where: str) -> None:
        """docs: layout.md"""
        icon: Check = lambda one, at: _need(one, at, {"code": _any}, {})  # noqa: E731
        needed: dict[str, Check] = {"icon": icon, "header": self.header, "body": self.body}
        _need(value, where, needed, {"footer": self.footer})


def _kind(value: Any, kinds: dict[str, Any], where: str) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in kinds:
        raise RestError("ENUM_FIELD", f"{where}.type has no such value")
    return str(kind)


def check_layout(portal: "FakePortal", parameters: Parameters) -> dict[str, Any]:
    """The layout of an activity as it was sent; raises ``RestError``."""
    layout = parameters.get("layout")
    if not layout:
        raise RestError("ERROR_EMPTY_LAYOUT", "The layout field must be filled")
    Structure(portal.timeline.languages).layout(layout, "layout")
    return dict(layout)


def check_blocks(portal: "FakePortal", parameters: Parameters) -> dict[str, Any]:
    """Additional blocks as they were sent; raises ``RestError``."""
    blocks = (parameters.get("layout") or {}).get("blocks")
    if not blocks:
        raise RestError("FIELD_IS_REQUIRED", "The field layout.blocks is required")
    Structure(portal.timeline.languages).blocks(blocks, "layout.blocks")
    return dict(blocks)

"""Activities in the timeline of CRM cards."""

from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.methods.filters import PAGE, matches
from tests.fake_bitrix24.people import CRM_READ
from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError
from tests.fake_bitrix24.timeline import CALL, CONFIGURABLE, check_blocks, check_layout, find, owner_of

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

FIELDS = {"typeId", "completed", "deadline", "pingOffsets", "isIncomingChannel", "responsibleId", "badgeCode"}
FIELDS |= {"originatorId", "originId"}


def _need(parameters: Parameters, *names: str) -> None:
    for name in names:
        if not parameters.get(name):
            raise RestError("100", f"Could not find value for parameter {{{name}}}")


def _fields(portal: "FakePortal", parameters: Parameters) -> dict[str, Any]:
    fields = parameters["fields"]
    if not isinstance(fields, dict) or set(fields) - FIELDS:
        raise RestError("WRONG_FIELD_VALUE", "Incorrect field value")
    if fields.get("deadline") and str(fields.get("isIncomingChannel", "N")).upper() in ("Y", "1", "TRUE"):
        raise RestError("INCOMING_ACTIVITY_CAN_NOT_BE_WITH_DEADLINE", "Incoming activity cannot have a deadline")
    if fields.get("responsibleId") and int(fields["responsibleId"]) not in portal.users:
        raise RestError("WRONG_FIELD_VALUE", "Incorrect field value: responsibleId")
    return dict(fields)


def configurable_add(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: configurable/crm-activity-configurable-add.md; twice makes two"""
    _need(parameters, "ownerTypeId", "ownerId", "fields")
    card = owner_of(portal, asker, parameters["ownerTypeId"], parameters["ownerId"])
    fields, layout = _fields(portal, parameters), check_layout(portal, parameters)
    activity = portal.timeline.add(CONFIGURABLE, asker.app.client_id, card, fields)
    activity.layout = layout
    return {"activity": {"id": activity.id}}


def configurable_update(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: configurable/crm-activity-configurable-update.md; the layout is replaced as a whole"""
    _need(parameters, "id", "fields")
    activity = find(portal, asker, parameters["id"])
    if activity.provider != CONFIGURABLE or activity.client_id != asker.app.client_id:
        raise RestError(
            "ERROR_WRONG_APPLICATION", "The activity can only be updated by the application that created it"
        )
    fields, layout = _fields(portal, parameters), check_layout(portal, parameters)
    activity.fields |= fields
    activity.layout, activity.revision = layout, activity.revision + 1
    return {"activity": {"id": activity.id}}


def configurable_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: configurable/crm-activity-configurable-get.md"""
    activity = find(portal, asker, parameters.get("id"))
    place = {"id": activity.id, "ownerTypeId": activity.type_id, "ownerId": activity.entity_id}
    fields = {"typeId": "CONFIGURABLE", **activity.fields, "completed": activity.is_completed}
    return {"activity": {**place, "fields": fields, "layout": activity.layout}}


def activity_list(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: activity-base/crm-activity-list.md; an unknown condition is dropped."""
    if CRM_READ not in asker.user.rights:
        return []
    # Those that somebody else has written are told with the ways to reach a person, where these are selected.
    rows = [*(activity.row() for activity in portal.timeline.activities.values()), *portal.crm.activities.values()]
    wanted = {name: value for name, value in (parameters.get("filter") or {}).items() if not rows or name in rows[0]}
    names = parameters.get("select") or ["*"]
    shown = list(names.values() if isinstance(names, dict) else names)
    found = [row for row in rows if all(matches(row, name, value) for name, value in wanted.items())]
    return [
        {name: row.get(name) for name in (row.keys() - {"COMMUNICATIONS"} if "*" in shown else shown)} for row in found
    ][:PAGE]


def activity_delete(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: activity-base/crm-activity-delete.md"""
    del portal.timeline.activities[find(portal, asker, parameters.get("id")).id]
    return True


def _call_of(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    _need(parameters, "entityTypeId", "entityId", "activityId")
    card = owner_of(portal, asker, parameters["entityTypeId"], parameters["entityId"], "OWNER_NOT_FOUND")
    activity = find(portal, asker, parameters["activityId"])
    if (activity.type_id, activity.entity_id) != card:
        raise RestError("NOT_FOUND", "Not found.")
    if activity.provider != CALL:
        raise RestError("UNSUITABLE_ACTIVITY_TYPE_ERROR", "The type of this activity is not suitable")
    return activity


def blocks_set(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: layout-blocks/crm-activity-layout-blocks-set.md; replaces those of the same application"""
    activity = _call_of(portal, asker, parameters)
    activity.blocks[asker.app.client_id] = check_blocks(portal, parameters)
    return {"success": True}


def blocks_delete(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: layout-blocks/crm-activity-layout-blocks-delete.md"""
    _call_of(portal, asker, parameters).blocks.pop(asker.app.client_id, None)
    return {"success": True}


METHODS = {
    "crm.activity.configurable.add": Method("crm", configurable_add),
    "crm.activity.configurable.update": Method("crm", configurable_update),
    "crm.activity.configurable.get": Method("crm", configurable_get),
    "crm.activity.list": Method("crm", activity_list),
    "crm.activity.delete": Method("crm", activity_delete),
    "crm.activity.layout.blocks.set": Method("crm", blocks_set),
    "crm.activity.layout.blocks.delete": Method("crm", blocks_delete),
}

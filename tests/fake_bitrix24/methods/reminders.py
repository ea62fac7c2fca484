"""To-dos on cards of the CRM, and notifications in the messenger."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.methods import timeline
from tests.fake_bitrix24.methods.filters import PAGE, matches
from tests.fake_bitrix24.people import CRM_ADD, CRM_READ
from tests.fake_bitrix24.reminders import FakeNotification, FakeToDo
from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

MAX_ATTACH = 60_000


def _required(parameters: Parameters, *names: str) -> None:
    missing = [name for name in names if not parameters.get(name)]
    if missing:
        raise RestError("100", f"Could not find value for parameter {{{missing[0]}}}")


def _moment(value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise RestError("WRONG_DATETIME_FORMAT", "Incorrect date format") from None


def todo_add(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/timeline/activities/todo/crm-activity-todo-add.md: twice makes two."""
    _required(parameters, "ownerTypeId", "ownerId", "deadline")
    if CRM_ADD not in asker.user.rights:
        raise RestError("ACCESS_DENIED", "Access denied.")
    type_id = str(parameters["ownerTypeId"])
    if not type_id.isdigit() or portal.crm.item(int(type_id), parameters["ownerId"]) is None:
        raise RestError("OWNER_NOT_FOUND", "Owner of the entity not found")
    to_do = FakeToDo(
        id=next(portal.reminders.ids),
        owner=(int(parameters["ownerTypeId"]), int(parameters["ownerId"])),
        title=str(parameters.get("title") or ""),
        description=str(parameters.get("description") or ""),
        responsible=int(parameters.get("responsibleId") or asker.user.id),
        deadline=_moment(parameters["deadline"]),
    )
    portal.reminders.to_dos[to_do.id] = to_do
    return {"id": to_do.id}


def todo_update_deadline(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/timeline/activities/todo/crm-activity-todo-update-deadline.md"""
    _required(parameters, "id", "ownerTypeId", "ownerId", "value")
    if CRM_ADD not in asker.user.rights:
        raise RestError("ACCESS_DENIED", "Access denied.")
    to_do = portal.reminders.to_dos.get(int(parameters["id"]))
    if to_do is None:
        raise RestError("NOT_FOUND", "Not found.")
    if to_do.owner != (int(parameters["ownerTypeId"]), int(parameters["ownerId"])):
        raise RestError("OWNER_NOT_FOUND", "Owner of the entity not found")
    if to_do.completed:
        raise RestError("CAN_NOT_UPDATE_COMPLETED_TODO", "Completed activity cannot be modified")
    to_do.deadline = _moment(parameters["value"])
    return {"id": to_do.id}


def activity_list(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/timeline/activities/activity-base/crm-activity-list.md"""
    if (parameters.get("filter") or {}).get("PROVIDER_ID") != "CRM_TODO":
        return timeline.activity_list(portal, asker, parameters)
    if CRM_READ not in asker.user.rights:
        return []
    wanted, names = parameters.get("filter") or {}, parameters.get("select") or {}
    shown = list(names.values() if isinstance(names, dict) else names)
    rows = [one.row() for one in portal.reminders.to_dos.values()]
    rows = [row for row in rows if all(matches(row, key, value) for key, value in wanted.items())]
    if str((parameters.get("order") or {}).get("ID", "")).lower() == "desc":
        rows.reverse()
    return [{name: row.get(name) for name in shown} if shown else row for row in rows][:PAGE]


def _activity(portal: "FakePortal", asker: Asker, parameters: Parameters) -> FakeToDo:
    _required(parameters, "id")
    to_do = portal.reminders.to_dos.get(int(parameters["id"]))
    if to_do is None:
        raise RestError("", "Activity is not found")
    if CRM_ADD not in asker.user.rights:
        raise RestError("", "Access denied.")
    return to_do


def activity_update(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/timeline/activities/activity-base/crm-activity-update.md; COMPLETED: app-embedding/activity-app"""
    to_do = _activity(portal, asker, parameters)
    fields = parameters.get("fields") or {}
    to_do.completed = fields.get("COMPLETED", "Y" if to_do.completed else "N") == "Y"
    to_do.description = str(fields.get("DESCRIPTION", to_do.description))
    return True


def activity_delete(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/timeline/activities/activity-base/crm-activity-delete.md"""
    if int(parameters.get("id") or 0) not in portal.reminders.to_dos:
        return timeline.activity_delete(portal, asker, parameters)
    del portal.reminders.to_dos[_activity(portal, asker, parameters).id]
    return True


def notify_system_add(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: chats/notifications/im-notify-system-add.md: others with the same tag are removed."""
    user_id = str(parameters.get("USER_ID") or "")
    if not user_id.isdigit() or int(user_id) <= 0:
        raise RestError("USER_ID_EMPTY", "User ID can't be empty")
    message = str(parameters.get("MESSAGE") or "").strip()
    if not message:
        raise RestError("MESSAGE_EMPTY", "Message can't be empty")
    if len(json.dumps(parameters.get("ATTACH") or "")) > MAX_ATTACH:
        raise RestError("ATTACH_OVERSIZE", "You have exceeded the maximum allowable size of attach")
    user = portal.users.get(int(user_id))
    if user is None or user.dismissed:
        return False
    tag, box = str(parameters.get("TAG") or ""), portal.reminders
    if tag:
        _remove(portal, asker, tag)
    message_out = str(parameters.get("MESSAGE_OUT") or "")
    new = FakeNotification(next(box.ids), user.id, message, message_out, tag, asker.app.client_id)
    box.notifications.append(new)
    return new.id


def _remove(portal: "FakePortal", asker: Asker, tag: str) -> bool:
    box = portal.reminders
    kept = [one for one in box.notifications if (one.tag, one.client_id) != (tag, asker.app.client_id)]
    is_there = len(kept) < len(box.notifications)
    box.notifications[:] = kept
    return is_there


def notify_delete(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: chats/notifications/im-notify-delete.md"""
    if parameters.get("TAG"):
        return _remove(portal, asker, str(parameters["TAG"]))
    id = str(parameters.get("ID") or "")
    if not id.isdigit():
        raise RestError("PARAMS_ERROR", "Incorrect params")
    box = portal.reminders
    kept = [one for one in box.notifications if one.id != int(id)]
    is_there = len(kept) < len(box.notifications)
    box.notifications[:] = kept
    return is_there


METHODS = {
    "crm.activity.todo.add": Method("crm", todo_add),
    "crm.activity.todo.updatedeadline": Method("crm", todo_update_deadline),
    "crm.activity.list": Method("crm", activity_list),
    "crm.activity.update": Method("crm", activity_update),
    "crm.activity.delete": Method("crm", activity_delete),
    "im.notify.system.add": Method("im", notify_system_add),
    "im.notify.delete": Method("im", notify_delete),
}

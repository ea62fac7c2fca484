"""Automation rules: registering them, and the results that they wait for."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

TYPES = {"bool", "date", "datetime", "double", "file", "int", "select", "string", "text", "user"}
INVALID = "ERROR_ACTIVITY_VALIDATION_FAILURE"


def _check(fields: Parameters, app_hosts: set[str | None]) -> None:
    handler = str(fields.get("HANDLER") or "")
    parts = urlsplit(handler)
    if parts.scheme not in ("http", "https"):
        raise RestError("ERROR_UNSUPPORTED_PROTOCOL", "Unsupported protocol")
    if "." not in (parts.hostname or "") or parts.hostname not in app_hosts:
        raise RestError("ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    if not fields.get("NAME"):
        raise RestError(INVALID, "Empty activity NAME!")
    for kind in ("PROPERTIES", "RETURN_PROPERTIES"):
        properties = fields.get(kind) or {}
        if not isinstance(properties, dict):
            raise RestError(INVALID, "Wrong properties array!")
        for id, descriptor in properties.items():
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", id):
                raise RestError(INVALID, f"Wrong property key ({id})!")
            if not descriptor.get("Name"):
                raise RestError(INVALID, f"Empty property NAME ({id})!")
            if descriptor.get("Type", "string") not in TYPES:
                raise RestError(INVALID, f"Wrong property type ({id})!")


def _hosts(asker: Asker) -> set[str | None]:
    return {urlsplit(url).hostname for url in (asker.app.app_url, asker.app.install_url)}


def robot_add(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-robot/bizproc-robot-add.md"""
    asker.need_administrator()
    code = str(parameters.get("CODE") or "")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", code):
        raise RestError(INVALID, "Wrong activity code!")
    rules = portal.bindings_of(asker.app.client_id).rules
    if code in rules:
        raise RestError("ERROR_ACTIVITY_ALREADY_INSTALLED", "Activity or Robot already installed!")
    _check(parameters, _hosts(asker))
    rules[code] = {key: value for key, value in parameters.items() if key != "CODE"}
    return True


def robot_update(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-robot/bizproc-robot-update.md"""
    asker.need_administrator()
    rules = portal.bindings_of(asker.app.client_id).rules
    code, fields = str(parameters.get("CODE") or ""), parameters.get("FIELDS")
    if not isinstance(fields, dict) or not fields:
        raise RestError(INVALID, "No fields to update")
    if code not in rules:
        raise RestError("ERROR_ACTIVITY_NOT_FOUND", "Activity or Robot not found!")
    _check(rules[code] | fields, _hosts(asker))
    rules[code] |= fields
    return True


def robot_delete(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-robot/bizproc-robot-delete.md"""
    asker.need_administrator()
    if portal.bindings_of(asker.app.client_id).rules.pop(str(parameters.get("CODE")), None) is None:
        raise RestError("ERROR_ACTIVITY_NOT_FOUND", "Activity or Robot not found!")
    return True


def robot_list(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-robot/bizproc-robot-list.md: codes alone"""
    asker.need_administrator()
    return list(portal.bindings_of(asker.app.client_id).rules)


def event_send(portal: "FakePortal", _: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-event-send.md: the signature decides; a run that has ended answers true."""
    portal.automation.take_result(
        str(parameters.get("EVENT_TOKEN") or ""),
        parameters.get("RETURN_VALUES") or {},
        str(parameters.get("LOG_MESSAGE") or ""),
    )
    return True


def activity_log(portal: "FakePortal", _: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/bizproc/bizproc-activity/bizproc-activity-log.md: the token is looked at first."""
    token, words = str(parameters.get("EVENT_TOKEN") or ""), str(parameters.get("LOG_MESSAGE") or "")
    portal.automation.require_signed(token)
    if not words:
        raise RestError("ERROR_EMPTY_LOG_MESSAGE", "Empty log message!")
    portal.automation.take_line(token, words)
    return True


METHODS = {
    "bizproc.robot.add": Method("bizproc", robot_add),
    "bizproc.robot.update": Method("bizproc", robot_update),
    "bizproc.robot.delete": Method("bizproc", robot_delete),
    "bizproc.robot.list": Method("bizproc", robot_list),
    "bizproc.event.send": Method("bizproc", event_send),
    "bizproc.activity.log": Method("bizproc", activity_log),
}

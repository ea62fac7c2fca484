"""Placements and event handlers."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

PLACEMENT_SCOPES = {"CALL_CARD": "telephony", "TELEPHONY_ANALYTICS_MENU": "telephony", "REST_APP_URI": "placement"}
# docs: api-reference/widgets/crm; contacts and companies have no menu in the timeline.
CRM_PLACEMENTS = re.compile(
    r"CRM_(?:(?:LEAD|DEAL|CONTACT|COMPANY|QUOTE|SMART_INVOICE|DYNAMIC_(?P<type>\d+))"
    r"_(?:DETAIL_TAB|DETAIL_ACTIVITY|DETAIL_TOOLBAR|LIST_MENU|LIST_TOOLBAR)"
    r"|(?:LEAD|DEAL|QUOTE|SMART_INVOICE)_ACTIVITY_TIMELINE_MENU|ACTIVITY_LIST_MENU)"
)
EVENT_PREFIXES = {"ONVOXIMPLANT": "telephony", "ONAPP": "", "ONEXTERNAL": "telephony", "ONCRM": "crm"}


def _check_handler(url: str) -> None:
    host = urlsplit(url).hostname or ""
    if not url:
        raise RestError("EMPTY_ERROR_HANDLER_URL", "Handler URL is empty", 200)
    if "." not in host:
        raise RestError("ERROR_WRONG_HANDLER_URL", "Wrong handler URL", 400)


def placement_bind(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/widgets/placement-bind.md"""
    asker.need_administrator()
    code, handler = str(parameters.get("PLACEMENT") or ""), str(parameters.get("HANDLER") or "")
    of_crm = CRM_PLACEMENTS.fullmatch(code)
    scope = PLACEMENT_SCOPES.get(code, "crm" if of_crm else None)
    is_there = not of_crm or not of_crm["type"] or int(of_crm["type"]) in portal.crm.types
    if scope is None or scope not in asker.app.scopes or not is_there:
        raise RestError("ERROR_PLACEMENT_NOT_FOUND", "Placement not found", 400)
    _check_handler(handler)
    bound = portal.bindings_of(asker.app.client_id).placements
    if any((row["placement"], row["handler"]) == (code, handler) for row in bound):
        raise RestError("ERROR_CORE", "Unable to set placement handler: Handler already binded", 400)
    titles = parameters.get("LANG_ALL") or []
    title = str(parameters.get("TITLE") or asker.app.code)
    bound.append(
        {
            "placement": code,
            "userId": 0,
            "handler": handler,
            "options": [],
            "title": title,
            "description": "",
            "langAll": titles,
        }
    )
    return True


def placement_unbind(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/widgets/placement-unbind.md"""
    asker.need_administrator()
    bindings = portal.bindings_of(asker.app.client_id)
    before = len(bindings.placements)
    bindings.placements = [
        row
        for row in bindings.placements
        if row["placement"] != parameters.get("PLACEMENT")
        or (parameters.get("HANDLER") and row["handler"] != parameters["HANDLER"])
    ]
    return {"count": before - len(bindings.placements)}


def placement_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/widgets/placement-get.md"""
    asker.need_administrator()
    return list(portal.bindings_of(asker.app.client_id).placements)


def event_bind(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/events/event-bind.md"""
    asker.need_administrator()
    event, handler = str(parameters.get("event") or "").upper(), str(parameters.get("handler") or "")
    scope = next((scope for prefix, scope in EVENT_PREFIXES.items() if event.startswith(prefix)), None)
    if scope is None or (scope and scope not in asker.app.scopes):
        raise RestError("ERROR_EVENT_NOT_FOUND", "Event not found", 400)
    _check_handler(handler)
    bound = portal.bindings_of(asker.app.client_id).events
    if any((row["event"], row["handler"]) == (event, handler) for row in bound):
        raise RestError("ERROR_CORE", "Unable to set event handler: Handler already binded", 400)
    bound.append({"event": event, "handler": handler, "auth_type": "0", "offline": 0})
    return True


def event_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/events/event-get.md"""
    return list(portal.bindings_of(asker.app.client_id).events) if asker.user.admin else []


METHODS = {
    "placement.bind": Method("placement", placement_bind),
    "placement.unbind": Method("placement", placement_unbind),
    "placement.get": Method("placement", placement_get),
    "event.bind": Method("", event_bind),
    "event.get": Method("", event_get),
}

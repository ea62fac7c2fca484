"""The REST methods that the app uses, each as its documentation describes it."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.fake_bitrix24.clock import Clock
from tests.fake_bitrix24.people import CALL_ANY, CRM_ADD, CRM_READ, MANAGE_LINES, SEE_STATISTICS
from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal

PAGE = 50
PLACEMENT_SCOPES = {"CALL_CARD": "telephony", "TELEPHONY_ANALYTICS_MENU": "telephony"}
EVENT_PREFIXES = {"ONVOXIMPLANT": "telephony", "ONAPP": "", "ONEXTERNAL": "telephony", "ONCRM": "crm"}


def app_info(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/system/app-info.md; no client_id, no member_id."""
    return {
        "ID": portal.local_ids[asker.app.client_id],
        "CODE": asker.app.code,
        "VERSION": 1,
        "STATUS": portal.status,
        "INSTALLED": portal.is_finished(asker.app.client_id),
        "PAYMENT_EXPIRED": "N",
        "DAYS": None,
        "LANGUAGE_ID": portal.language,
        "LICENSE": "eu_pro",
        "LICENSE_TYPE": "pro",
        "LICENSE_FAMILY": "pro",
    }


def profile(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/users/profile.md"""
    user = asker.user
    return {
        "ID": str(user.id),
        "ADMIN": user.admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": user.time_zone,
    }


def line_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: voximplant/lines/voximplant-line-get.md; no lines: []."""
    asker.need_right(MANAGE_LINES)
    return {id: line.name for id, line in portal.lines.items()} or []


def voices_get(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: voximplant/voximplant-tts-voices-get.md; any user."""
    return dict(portal.voices)


def callback_start(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: voximplant/voximplant-callback-start.md; rings every time it is called."""
    asker.need_right(CALL_ANY)
    line_id = str(parameters.get("FROM_LINE") or "")
    line = portal.lines.get(line_id)
    if line is None:
        raise RestError("ERROR_CORE", f"Could not find line {line_id}")
    number = re.sub(r"[^\d+]", "", str(parameters.get("TO_NUMBER") or ""))
    if not number.strip("+"):
        raise RestError("ERROR_CORE", "Phone number is not correct")
    text = str(parameters.get("TEXT_TO_PRONOUNCE") or "")
    if not text:
        raise RestError("ERROR_CORE", "TEXT_TO_PRONOUNCE is not set")
    if line.type == "rest":
        portal.handed_over.append({"line": line_id, "number": number})
        return {"RESULT": True, "CALL_ID": None}
    voice = str(parameters.get("VOICE") or next(iter(portal.voices)))
    call = portal.telephony.dial(line_id, number, text, voice, asker.user)
    return {"RESULT": True, "CALL_ID": call.call_id}


def _matches(row: dict[str, object], key: str, wanted: Any) -> bool:
    operator, name = re.match(r"^([<>=!]*)(\w+)$", key).groups()  # type: ignore[union-attr]
    value = row.get(name)
    left, right = str(value), str(wanted)
    if operator in (">", "<", ">=", "<=") and left.isdigit() and right.isdigit():
        comparison = int(left) - int(right)
        return {">": comparison > 0, "<": comparison < 0, ">=": comparison >= 0, "<=": comparison <= 0}[operator]
    return (left == right) != operator.startswith("!")


def statistic_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: voximplant/voximplant-statistic-get.md"""
    asker.need_right(SEE_STATISTICS)
    wanted = parameters.get("FILTER") or {}
    rows = [row for row in portal.telephony.history if all(_matches(row, k, v) for k, v in wanted.items())]
    rows.sort(
        key=lambda row: int(str(row["ID"])) if str(row["ID"]).isdigit() else 0,
        reverse=str(parameters.get("ORDER", "ASC")).upper() == "DESC",
    )
    start = int(parameters.get("start") or 0)
    return rows[start : start + PAGE]


def entity_get(kind: str) -> Method:
    """``crm.<kind>.get``: an unknown id answers an empty code (docs: crm)."""

    def run(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
        found = portal.crm.find(kind, parameters.get("ID") or parameters.get("id"))
        if found is None:
            raise RestError("", "Not found", 404)
        return found

    return Method("crm", run)


FIELDS = {
    "LEAD": {"TITLE", "NAME", "PHONE"},
    "CONTACT": {"NAME", "LAST_NAME", "PHONE"},
    "DEAL": {"TITLE", "CONTACT_IDS"},
}
COMMON = {"SOURCE_ID", "SOURCE_DESCRIPTION", "COMMENTS", "ORIGINATOR_ID", "ORIGIN_ID"}
COMMON |= {f"UTM_{mark}" for mark in ("SOURCE", "MEDIUM", "CAMPAIGN", "CONTENT", "TERM")}
SAME_TYPE = 20


def entity_add(kind: str) -> Method:
    """``crm.<kind>.add`` (docs: crm-lead-add.md, crm-contact-add.md, crm-deal-add.md): twice makes two.

    A user without the right gets an empty code. Unknown fields are ignored.
    """

    def run(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
        if CRM_ADD not in asker.user.rights:
            raise RestError("", "Access denied.", 400)
        fields = parameters.get("fields") or parameters.get("FIELDS")
        if not isinstance(fields, dict):
            raise RestError("", "Parameter 'fields' must be array.", 400)
        known = FIELDS[kind] | COMMON
        return portal.crm.add_by_rest(kind, {name: value for name, value in fields.items() if name in known})

    return Method("crm", run)


def entity_list(kind: str) -> Method:
    """``crm.<kind>.list`` with ``filter`` and ``select`` (docs: crm-lead-list.md)."""

    def run(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
        if CRM_READ not in asker.user.rights:
            raise RestError("", "Access denied.", 400)
        wanted = parameters.get("filter") or {}
        names = parameters.get("select") or {}
        shown = list(names.values() if isinstance(names, dict) else names) or ["ID"]
        rows = [
            row for row in portal.crm.entities[kind].values() if all(_matches(row, k, v) for k, v in wanted.items())
        ]
        return [{name: row.get(name) for name in shown} for row in rows][:PAGE]

    return Method("crm", run)


def find_by_communication(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/duplicates/crm-duplicate-find-by-comm.md; nothing found: []. 20 hits hide the types after them."""
    if CRM_READ not in asker.user.rights:
        raise RestError("403", "Access denied", 403)
    if parameters.get("type") not in ("EMAIL", "PHONE"):
        raise RestError("Communication type is not defined", "Parameter 'type' is required.", 400)
    values = parameters.get("values") or []
    wanted = {re.sub(r"\D", "", str(v)) for v in (values.values() if isinstance(values, dict) else values)}
    kinds = [parameters["entity_type"]] if parameters.get("entity_type") else ["LEAD", "CONTACT", "COMPANY"]
    found: dict[str, list[int]] = {}
    for kind in kinds:
        found[kind] = [
            number
            for number, entity in portal.crm.entities[kind].items()
            if any(re.sub(r"\D", "", phone["VALUE"]) in wanted for phone in entity.get("PHONE", []))
        ][:SAME_TYPE]
        if len(found[kind]) == SAME_TYPE:
            break
    return {kind: numbers for kind, numbers in found.items() if numbers} or []


def crm_mode(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: crm.settings.mode.get: 1 with leads, 2 without."""
    return 2 if portal.crm.simple_mode else 1


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
    scope = PLACEMENT_SCOPES.get(code, "crm" if code.startswith("CRM_") else None)
    if scope is None or scope not in asker.app.scopes:
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


def user_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: api-reference/user/user-get.md, in the scope user_brief."""
    wanted = str(parameters.get("ID") or (parameters.get("FILTER") or {}).get("ID") or "")
    return [
        {"ID": str(user.id), "ACTIVE": not user.dismissed, "NAME": user.name, "LAST_NAME": user.last_name}
        for user in portal.users.values()
        if not wanted or str(user.id) == wanted
    ]


def server_time(portal: "FakePortal", asker: Asker, _: Parameters) -> Any:
    """docs: api-reference/common/system/server-time.md"""
    clock: Clock = portal.cloud.clock
    return clock.moment().isoformat(timespec="seconds")


METHODS: dict[str, Method] = {
    "app.info": Method("", app_info),
    "profile": Method("", profile),
    "scope": Method("", lambda portal, asker, _: list(asker.app.scopes)),
    "server.time": Method("", server_time),
    "user.get": Method("user_brief", user_get),
    "voximplant.line.get": Method("telephony", line_get),
    "voximplant.tts.voices.get": Method("telephony", voices_get),
    # The platform registers the dialling method in a scope of its own.
    "voximplant.callback.start": Method("call", callback_start),
    "voximplant.statistic.get": Method("telephony", statistic_get),
    "crm.lead.get": entity_get("LEAD"),
    "crm.deal.get": entity_get("DEAL"),
    "crm.contact.get": entity_get("CONTACT"),
    "crm.company.get": entity_get("COMPANY"),
    "crm.duplicate.findbycomm": Method("crm", find_by_communication),
    "crm.lead.add": entity_add("LEAD"),
    "crm.contact.add": entity_add("CONTACT"),
    "crm.deal.add": entity_add("DEAL"),
    "crm.lead.list": entity_list("LEAD"),
    "crm.contact.list": entity_list("CONTACT"),
    "crm.deal.list": entity_list("DEAL"),
    "crm.settings.mode.get": Method("crm", crm_mode),
    "placement.bind": Method("placement", placement_bind),
    "placement.unbind": Method("placement", placement_unbind),
    "placement.get": Method("placement", placement_get),
    "event.bind": Method("", event_bind),
    "event.get": Method("", event_get),
}

"""Leads, contacts, companies and deals."""

import re
from typing import TYPE_CHECKING, Any

from tests.fake_bitrix24.crm import CONTACTS, TYPE_IDS
from tests.fake_bitrix24.methods.filters import PAGE, matches
from tests.fake_bitrix24.people import CRM_ADD, CRM_READ
from tests.fake_bitrix24.rest import Asker, Method, Parameters, RestError

if TYPE_CHECKING:
    from tests.fake_bitrix24.portal import FakePortal


def entity_get(kind: str) -> Method:
    """``crm.<kind>.get``: an unknown id, and one that the user may not see, answer an empty code (docs: crm)."""

    def run(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
        if CRM_READ not in asker.user.rights:
            raise RestError("", "Access denied.", 400)
        found = portal.crm.find(kind, parameters.get("ID") or parameters.get("id"))
        if found is None:
            raise RestError("", "Not found", 404)
        return {name: value for name, value in found.items() if name != CONTACTS}

    return Method("crm", run)


def contact_items(kind: str) -> Method:
    """``crm.<kind>.contact.items.get`` (docs: crm-deal-contact-items-get.md)."""

    def run(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
        found = portal.crm.find(kind, parameters.get("id") or parameters.get("ID"))
        if found is None:
            raise RestError("", "Not found", 404)
        contacts = found.get(CONTACTS, [])
        return [
            {"CONTACT_ID": contact, "SORT": 10 * place, "ROLE_ID": 0, "IS_PRIMARY": "Y" if place == 1 else "N"}
            for place, contact in enumerate(contacts, start=1)
        ]

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
        rows = [row for row in portal.crm.entities[kind].values() if all(matches(row, k, v) for k, v in wanted.items())]
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


def _needs_reader(asker: Asker) -> None:
    if CRM_READ not in asker.user.rights:
        raise RestError("ACCESS_DENIED", "You do not have permission to view this item", 400)


def item_get(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/universal/crm-item-get.md"""
    type_id = str(parameters.get("entityTypeId") or "")
    known = type_id.isdigit() and (int(type_id) in TYPE_IDS or int(type_id) in portal.crm.types)
    if not known:
        raise RestError("NOT_FOUND", "SPA not found", 400)
    _needs_reader(asker)
    found = portal.crm.item(int(type_id), parameters.get("id"))
    if found is None:
        raise RestError("NOT_FOUND", "Item not found", 400)
    return {"item": found}


def type_list(portal: "FakePortal", asker: Asker, parameters: Parameters) -> Any:
    """docs: crm/universal/user-defined-object-types/crm-type-list.md: 50 a page, for administrators of the CRM."""
    if not asker.user.admin:
        raise RestError("ACCESS_DENIED", "Access denied", 400)
    wanted = parameters.get("filter") or {}
    if any(name != "@entityTypeId" for name in wanted):
        raise RestError("INVALID_ARG_VALUE", "Invalid filter: field is not allowed in filter", 400)
    ids = wanted.get("@entityTypeId")
    chosen = {str(id) for id in (ids.values() if isinstance(ids, dict) else ids or [])}
    rows = [row for row in portal.crm.types.values() if not wanted or str(row["entityTypeId"]) in chosen]
    start = int(parameters.get("start") or 0)
    return {"types": rows[start : start + PAGE]}


METHODS = {
    "crm.item.get": Method("crm", item_get),
    "crm.type.list": Method("crm", type_list),
    "crm.lead.get": entity_get("LEAD"),
    "crm.deal.get": entity_get("DEAL"),
    "crm.contact.get": entity_get("CONTACT"),
    "crm.company.get": entity_get("COMPANY"),
    "crm.lead.contact.items.get": contact_items("LEAD"),
    "crm.deal.contact.items.get": contact_items("DEAL"),
    "crm.company.contact.items.get": contact_items("COMPANY"),
    "crm.duplicate.findbycomm": Method("crm", find_by_communication),
    "crm.lead.add": entity_add("LEAD"),
    "crm.contact.add": entity_add("CONTACT"),
    "crm.deal.add": entity_add("DEAL"),
    "crm.lead.list": entity_list("LEAD"),
    "crm.contact.list": entity_list("CONTACT"),
    "crm.deal.list": entity_list("DEAL"),
    "crm.settings.mode.get": Method("crm", crm_mode),
}

"""The CRM of a portal: leads, deals, contacts and companies with their numbers."""

from collections.abc import Sequence
from typing import Any

Entity = dict[str, Any]
TYPES = ("LEAD", "DEAL", "CONTACT", "COMPANY")
# docs: crm/data-types.md
TYPE_IDS = {1: "LEAD", 2: "DEAL", 3: "CONTACT", 4: "COMPANY"}
# Kept with a card, but told by a method of its own.
CONTACTS = "_contacts"


def _phones(phones: list[str] | list[tuple[str, str]]) -> list[dict[str, str]]:
    """Multifields as the CRM writes them (docs: crm-multifield)."""
    pairs = [(phone, "WORK") if isinstance(phone, str) else phone for phone in phones]
    return [
        {"ID": str(900 + number), "VALUE_TYPE": kind, "VALUE": value, "TYPE_ID": "PHONE"}
        for number, (value, kind) in enumerate(pairs)
    ]


def _links(contacts: Sequence[int]) -> Entity:
    """The contacts of a card: the first one in the card itself, all of them in a list of their own."""
    return {"CONTACT_ID": str(contacts[0]) if contacts else None, CONTACTS: list(contacts)}


class CRM:
    """Entities by type and id; ids are counted from 1 in each type."""

    def __init__(self) -> None:
        # Without leads: docs: crm.settings.mode.get.
        self.simple_mode = False
        self.entities: dict[str, dict[int, Entity]] = {kind: {} for kind in TYPES}
        # Smart processes by their type, and the items of each.
        self.types: dict[int, Entity] = {}
        self.items: dict[int, dict[int, Entity]] = {}
        self.activities: dict[int, Entity] = {}

    def _add(self, kind: str, fields: Entity, phones: Any = ()) -> int:
        number = len(self.entities[kind]) + 1
        entity = {"ID": str(number), **fields}
        if kind != "DEAL":
            # A card without numbers has no PHONE at all.
            entity |= {"HAS_PHONE": "Y", "PHONE": _phones(list(phones))} if phones else {"HAS_PHONE": "N"}
        self.entities[kind][number] = entity
        return number

    def add_lead(
        self, title: str, name: str = "", phones: Any = (), contacts: tuple[int, ...] = (), company_id: int = 0
    ) -> int:
        """Add a lead; phones are numbers or (number, kind). One of a known customer points to them."""
        own = {"TITLE": title, "NAME": name, "LAST_NAME": None, "COMPANY_ID": str(company_id) if company_id else None}
        return self._add("LEAD", own | _links(contacts), phones)

    def add_contact(self, name: str, last_name: str = "", phones: Any = (), company_id: int = 0) -> int:
        """Add a contact, perhaps of a company."""
        own = {"NAME": name, "LAST_NAME": last_name, "COMPANY_ID": str(company_id) if company_id else None}
        number = self._add("CONTACT", own, phones)
        company = self.entities["COMPANY"].get(company_id)
        if company is not None:
            company.setdefault(CONTACTS, []).append(number)
        return number

    def add_company(self, title: str, phones: Any = ()) -> int:
        """Add a company."""
        return self._add("COMPANY", {"TITLE": title}, phones)

    def add_deal(self, title: str, contact_id: int = 0, company_id: int = 0, more: tuple[int, ...] = ()) -> int:
        """Add a deal of a contact, with ``more`` contacts, or of a company."""
        contacts = (contact_id, *more) if contact_id else more
        fields = {"TITLE": title, "COMPANY_ID": str(company_id or 0), **_links(contacts)}
        fields["CONTACT_ID"] = fields["CONTACT_ID"] or "0"
        return self._add("DEAL", fields)

    def add_type(self, type_id: int, title: str, *, client: bool = True) -> int:
        """Make a smart process; its own id is another number than its type."""
        self.types[type_id] = {
            "id": 20 + len(self.types),
            "title": title,
            "entityTypeId": type_id,
            "isClientEnabled": "Y" if client else "N",
            "isAutomationEnabled": "Y",
        }
        self.items[type_id] = {}
        return type_id

    def delete_type(self, type_id: int) -> None:
        """Delete a smart process with its cards."""
        del self.types[type_id], self.items[type_id]

    def add_item(self, type_id: int, title: str, contacts: tuple[int, ...] = (), company_id: int = 0) -> int:
        """Add a card of a smart process."""
        number = len(self.items[type_id]) + 1
        self.items[type_id][number] = {
            "id": number,
            "title": title,
            "entityTypeId": type_id,
            "companyId": company_id,
            "contactId": contacts[0] if contacts else 0,
            "contactIds": list(contacts),
            "assignedById": 0,
        }
        return number

    def add_activity(self, owner_type: int, owner_id: int, number: str = "", subject: str = "Missed call") -> int:
        """Add an activity of a card, a call where there is a ``number``."""
        id = 8000 + len(self.activities)
        spoken = [{"ID": "1", "ACTIVITY_ID": str(id), "ENTITY_ID": "1", "ENTITY_TYPE_ID": "3", "TYPE": "PHONE"}]
        self.activities[id] = {
            "ID": str(id),
            "OWNER_ID": str(owner_id),
            "OWNER_TYPE_ID": str(owner_type),
            "TYPE_ID": "2",
            "PROVIDER_ID": "VOXIMPLANT_CALL",
            "SUBJECT": subject,
            "COMMUNICATIONS": [row | {"VALUE": number} for row in spoken] if number else [],
        }
        return id

    def item(self, type_id: int, number: object) -> Entity | None:
        """A card of any type as an item (docs: crm/universal/crm-item-get.md); None where there is none."""
        text = str(number)
        if type_id not in TYPE_IDS:
            return self.items.get(type_id, {}).get(int(text) if text.isdigit() else 0)
        found = self.find(TYPE_IDS[type_id], number)
        if found is None:
            return None
        phones = [
            {"id": int(row["ID"]), "valueType": row["VALUE_TYPE"], "value": row["VALUE"], "typeId": "PHONE"}
            for row in found.get("PHONE", [])
        ]
        return {
            "id": int(found["ID"]),
            "title": found.get("TITLE"),
            "name": found.get("NAME"),
            "lastName": found.get("LAST_NAME"),
            "companyId": int(found.get("COMPANY_ID") or 0),
            "contactId": int(found.get("CONTACT_ID") or 0),
            "contactIds": list(found.get(CONTACTS, [])),
            "entityTypeId": type_id,
            "fm": phones,
        }

    def add_by_rest(self, kind: str, fields: Entity) -> int:
        """Add what ``crm.<kind>.add`` was given; ids are numbers, multifields lists of values."""
        phones = [(str(row.get("VALUE")), str(row.get("VALUE_TYPE") or "WORK")) for row in fields.get("PHONE") or []]
        contacts = fields.get("CONTACT_IDS") or []
        links = {"COMPANY_ID": "0", **_links(contacts)} if kind == "DEAL" else {}
        plain = {name: value for name, value in fields.items() if name not in ("PHONE", "CONTACT_IDS")}
        return self._add(kind, {**plain, **links}, phones)

    def find(self, kind: str, number: object) -> Entity | None:
        """An entity, or None."""
        text = str(number)
        return self.entities[kind].get(int(text)) if text.isdigit() else None
